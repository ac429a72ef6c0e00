"""Clinical covariates as numbers: scaled, one column per level, gaps filled, all with numbers of the training part."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from histoweave.errors import InputError


@dataclass(frozen=True)
class CovariateScale:
    """How each covariate becomes columns.

    numeric : name -> (median, mean, SD); levels : name -> levels that get a column (all but the most frequent)
    """

    numeric: dict[str, tuple[float, float, float]]
    levels: dict[str, tuple[str, ...]]

    @classmethod
    def fitted(cls, clinical: pd.DataFrame) -> "CovariateScale":
        """Fit on the training part's (patient, covariate)."""
        numeric, levels = {}, {}
        for name in clinical.columns:
            column = clinical[name]
            if pd.api.types.is_numeric_dtype(column):
                if column.notna().any() and column.std(ddof=0) > 0:
                    filled = column.fillna(column.median())
                    numeric[name] = (float(column.median()), float(filled.mean()), float(filled.std(ddof=0)))
            else:
                seen = column.dropna().astype(str).value_counts()
                ordered = sorted(seen.index, key=lambda level: (-seen[level], level))
                levels[name] = tuple(ordered[1:])
        if not numeric and not any(levels.values()):
            msg = "no clinical covariate varies between the training patients. Name others in inputs.covariates."
            raise InputError(msg)
        return cls(numeric, levels)

    @property
    def columns(self) -> list[str]:
        """Names of the columns made."""
        return [*self.numeric, *(f"{name}={level}" for name, levels in self.levels.items() for level in levels)]

    def __call__(self, clinical: pd.DataFrame) -> np.ndarray:
        """(patient, column) float64; an unknown number becomes the training median, an unknown level the usual one."""
        missing = [name for name in [*self.numeric, *self.levels] if name not in clinical]
        if missing:
            msg = f"the patients table has no column '{missing[0]}', which the model uses. Add it."
            raise InputError(msg)
        made = [
            (clinical[name].astype(float).fillna(median).to_numpy() - mean) / (sd or 1.0)
            for name, (median, mean, sd) in self.numeric.items()
        ]
        for name, levels in self.levels.items():
            text = clinical[name].astype("string")
            made += [(text == level).fillna(value=False).to_numpy(dtype=float) for level in levels]
        return np.stack(made, axis=1)

    def state(self) -> dict:
        """JSON-able content."""
        return {"numeric": self.numeric, "levels": {name: list(levels) for name, levels in self.levels.items()}}

    @classmethod
    def restored(cls, meta: dict) -> "CovariateScale":
        """Inverse of `state`."""
        numeric = {name: tuple(values) for name, values in meta["numeric"].items()}
        return cls(numeric, {name: tuple(levels) for name, levels in meta["levels"].items()})
