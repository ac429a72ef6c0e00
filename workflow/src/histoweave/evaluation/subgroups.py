"""Performance within subgroups of patients, and without each site in turn.

Source: TRIPOD+AI (Collins et al. 2024), doi:10.1136/bmj-2023-078378, items on fairness and heterogeneity.

Comparisons stay within the fold. A subgroup with few events is suppressed: its c-index would be a matter of chance and
could be read as a fact about those people (our choice; the threshold is a setting).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from histoweave.evaluation.intervals import BootstrapSettings, percentile_interval
from histoweave.evaluation.panel import Panel, Predictions
from histoweave.evaluation.scores import NO_HORIZON, pool, score_predictions

WITHOUT_SITE = "all but site"


@dataclass(frozen=True)
class SubgroupSettings:
    """Which subgroups.

    min_events : fewer events and a subgroup is suppressed; age_bands : ages (years) at which the column `age` is cut;
    other numeric covariates are cut at their median
    """

    section: ClassVar[str] = "evaluation.subgroups"
    min_events: int
    age_bands: tuple[float, ...]


def subgroup_levels(
    cohort: pd.DataFrame, covariates: list[str], *, age_bands: tuple[float, ...]
) -> dict[str, pd.Series]:
    """Level of every patient in each variable: site, modalities and covariates.

    cohort : rows in the order of the panel. Returns variable -> (patient,) text, missing where unknown. A variable
    with one level, or (text) with more than one level per five patients, is no subgroup and is left out.
    """
    found = {}
    for name in ["site", "has_slide", "has_expression", *covariates]:
        if name in cohort:
            bands = age_bands if name == "age" else ()
            found[name] = _levels(cohort[name], bands)
    return {name: levels for name, levels in found.items() if 1 < levels.nunique() <= max(2, len(cohort) / 5)}


def _levels(column: pd.Series, bands: tuple[float, ...]) -> pd.Series:
    if pd.api.types.is_bool_dtype(column):
        return column.map({True: "yes", False: "no"})
    if not pd.api.types.is_numeric_dtype(column) or (not bands and column.nunique() <= 5):
        return column.map(lambda value: f"{value:g}" if isinstance(value, float) else str(value), na_action="ignore")
    cuts = np.array(bands or [column.median()], float)
    names = [f"below {cuts[0]:g}", *(f"{a:g} to below {b:g}" for a, b in zip(cuts[:-1], cuts[1:], strict=True))]
    names.append(f"{cuts[-1]:g} and above")
    codes = np.where(column.isna(), -1, np.searchsorted(cuts, column.fillna(cuts[0]), side="right"))
    return pd.Series(pd.Categorical.from_codes(codes, names, ordered=True), index=column.index)


def subgroup_rows(
    panel: Panel,
    predictions: Predictions,
    levels: Mapping[str, pd.Series],
    weights: np.ndarray,
    *,
    settings: SubgroupSettings,
    bootstrap: BootstrapSettings,
) -> pd.DataFrame:
    """Table of the c-index in each subgroup, and of the c-index without each site; weights : (draw, patient)."""
    rows = []
    for variable, column in levels.items():
        for level in column.dropna().sort_values().unique():
            inside = np.flatnonzero((column == level).to_numpy())
            row = {"variable": variable, "level": level}
            rows.append(
                row | _score(panel, predictions.only(inside), weights, settings.min_events, bootstrap.confidence)
            )
            if variable == "site":
                outside = np.flatnonzero((column != level).to_numpy())
                row = {"variable": WITHOUT_SITE, "level": level}
                rows.append(row | _score(panel, predictions.only(outside), weights[:1], settings.min_events, None))
    return pd.DataFrame([{"model": predictions.model, "metric": "c_index"} | row for row in rows])


def _score(panel: Panel, part: Predictions, weights: np.ndarray, min_events: int, confidence: float | None) -> dict:
    who = part.patients()
    events = int(panel.event[who].sum())
    row = {"estimate": np.nan, "lower": np.nan, "upper": np.nan, "n_patients": len(who), "n_events": events}
    if events < min_events:
        return row | {"reason": f"suppressed: {events} events, fewer than {min_events}"}
    draws = pool(score_predictions(part, weights, horizons=[], grid=[], tau_quantile=1.0))["c_index", NO_HORIZON]
    if not np.isfinite(draws[0]):
        return row | {"reason": "no comparable pair of patients within a fold"}
    row |= {"estimate": float(draws[0]), "reason": ""}
    if confidence is not None:
        row["lower"], row["upper"] = percentile_interval(draws[1:], confidence=confidence)
    return row
