"""What the Cox models share: a matrix from patients, a coefficient per column, a baseline hazard."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from histoweave.errors import InputError
from histoweave.survival.baseline import Baseline
from histoweave.survival.interface import Patients, Prediction


def joined(train: Patients, validation: Patients) -> Patients:
    """Return the whole outer training part: models without a training loop tune inside it themselves."""
    import pandas as pd

    def stack(name: str) -> np.ndarray | None:
        parts = getattr(train, name), getattr(validation, name)
        return None if parts[0] is None else np.concatenate(parts)

    arrays = {name: stack(name) for name in ("time_days", "event", "expression", "alterations")}
    ids, bags = train.ids + validation.ids, [*train.bags, *validation.bags]
    clinical = pd.concat([train.clinical, validation.clinical], ignore_index=True)
    return replace(train, ids=ids, bags=bags, clinical=clinical, **arrays)


def require_events(patients: Patients, *, method: str) -> None:
    """Raise InputError if nobody had an event."""
    if not (np.asarray(patients.event) > 0).any():
        msg = f"{method}: none of the {len(patients)} training patients had an event. Use other folds."
        raise InputError(msg)


def cox_score(values: np.ndarray, time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Absolute score statistic of a Cox model with one column, at zero: values (patient, column) -> (column,)."""
    order = np.argsort(-np.asarray(time), kind="stable")
    x = values[order] - values.mean(axis=0)
    at_risk = np.arange(1, len(x) + 1)[:, None]
    mean, square = np.cumsum(x, axis=0) / at_risk, np.cumsum(x**2, axis=0) / at_risk
    died = np.asarray(event)[order] > 0
    information = (square - mean**2)[died].sum(axis=0)
    return np.abs((x - mean)[died].sum(axis=0)) / np.sqrt(np.maximum(information, 1e-12))


def slide_means(patients: Patients) -> np.ndarray:
    """(patient, feature) mean over all tiles of all slides; rows of NaN for patients without one."""
    width = len(patients.feature_names)
    empty = np.full(width, np.nan)
    rows = [
        empty if bag is None or not bag.shape[0] else np.asarray(bag, dtype=np.float64).mean(axis=0)
        for bag in patients.bags
    ]
    return np.stack(rows) if rows else np.empty((0, width))


@dataclass(frozen=True)
class CoxFitted:
    """A linear predictor with its baseline hazard.

    method, needs : name and what a patient must have; columns : names of the columns
    design : patients -> (patient, column), standardised with numbers of the training part
    coefficients : (column,); extra : arrays and settings of `design` for the bundle
    """

    method: str
    needs: frozenset[str]
    columns: tuple[str, ...]
    design: Callable[[Patients], np.ndarray]
    coefficients: np.ndarray
    baseline: Baseline
    extra: tuple[dict[str, np.ndarray], dict]
    history: Sequence[Mapping] = field(default_factory=list)

    def predict(self, patients: Patients, horizons_days: Sequence[float]) -> Prediction:
        """Return risks and curves of every patient; raises InputError if one lacks what the model needs."""
        patients.require(self.needs, method=self.method)
        risk = self.design(patients) @ self.coefficients
        return Prediction(risk, self.baseline.survival(risk, horizons_days))

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Coefficients, baseline and what `design` learned."""
        arrays, meta = self.baseline.state()
        tensors = {"coefficients": self.coefficients, **arrays, **self.extra[0]}
        return tensors, {"columns": list(self.columns), "baseline": meta, "design": self.extra[1]}


def finished(
    method: str,
    needs: frozenset[str],
    columns: Sequence[str],
    design: Callable[[Patients], np.ndarray],
    coefficients: np.ndarray,
    patients: Patients,
    extra: tuple[dict[str, np.ndarray], dict],
) -> CoxFitted:
    """Add the baseline hazard of the training `patients`."""
    baseline = Baseline.fitted(patients.time_days, patients.event, design(patients) @ coefficients)
    return CoxFitted(method, needs, tuple(columns), design, coefficients, baseline, extra)


def restored(
    method: str,
    needs: frozenset[str],
    design: Callable[[Patients], np.ndarray],
    tensors: dict[str, np.ndarray],
    meta: dict,
) -> CoxFitted:
    """Return the model of a bundle."""
    baseline = Baseline.restored(tensors, meta["baseline"])
    extra = ({}, meta["design"])
    return CoxFitted(method, needs, tuple(meta["columns"]), design, tensors["coefficients"], baseline, extra)
