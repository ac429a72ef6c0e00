"""Whether predicted probabilities come true.

Sources: calibration at a horizon, observed by Kaplan-Meier, and slope on the complementary log-log scale: Austin,
Harrell and van Klaveren (2020), doi:10.1002/sim.8570; observed/expected: McLernon et al. (2023),
doi:10.7326/M22-0844; D-calibration: Haider et al. (2020), JMLR 21(85), section 3.5, Definition 6 and appendix B.

| symbol | name here | axes | meaning |
|---|---|---|---|
| S(t, x_i) | survival | (patient, time) | predicted survival |
| log(-log S) | cloglog | (patient,) | risk on the scale of a proportional hazards model |
| S_i(Y_i) | at_end | (patient,) | predicted survival at the patient's own last day |

Survival between two horizons is interpolated with a constant hazard; after the last horizon nothing is known, so
follow-up is cut there for D-calibration (our choice). Results are averaged over repeats, the p-value is the median.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import stats

from histoweave.evaluation.censoring import survival_curve
from histoweave.evaluation.cox import fit_cox
from histoweave.evaluation.intervals import normal_quantile
from histoweave.evaluation.panel import Predictions

_INSIDE = 1e-9


@dataclass(frozen=True)
class CalibrationSettings:
    """How calibration is shown.

    groups : groups of equal size along the predicted risk; bins : bins of D-calibration
    """

    section: ClassVar[str] = "evaluation.calibration"
    groups: int
    bins: int


@dataclass(frozen=True)
class Repeat:
    """All test patients of one repeat.

    patients : (row,) positions in the panel; time, event, stratum : (row,); survival : (row, time)
    """

    patients: np.ndarray
    time: np.ndarray
    event: np.ndarray
    stratum: np.ndarray
    risk: np.ndarray
    survival: np.ndarray


def repeats_of(predictions: Predictions) -> Iterator[Repeat]:
    """Yield the test patients of each repeat, folds one after the other."""
    for number in sorted({part.fold.repeat for part in predictions.folds}):
        parts = [part for part in predictions.folds if part.fold.repeat == number]
        yield Repeat(
            patients=np.concatenate([part.fold.patients for part in parts]),
            time=np.concatenate([part.fold.time for part in parts]),
            event=np.concatenate([part.fold.event for part in parts]),
            stratum=np.repeat([part.fold.fold for part in parts], [len(part.risk) for part in parts]),
            risk=np.concatenate([part.risk for part in parts]),
            survival=np.concatenate([part.survival for part in parts]),
        )


def observed_events(time: np.ndarray, event: np.ndarray, weights: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Share of patients with the event by each of `days`, by Kaplan-Meier, for each draw: (draw, day).

    time, event : (patient,); weights : (draw, patient)
    """
    order = np.argsort(time, kind="stable")
    steps, first = np.unique(time[order], return_index=True)
    drawn = weights[:, order]
    leaving = np.add.reduceat(drawn, first, axis=1)  # (draw, step)
    deaths = np.add.reduceat(drawn * event[order], first, axis=1)
    at_risk = np.cumsum(leaving[:, ::-1], axis=1)[:, ::-1]
    staying = 1 - np.divide(deaths, at_risk, out=np.zeros_like(deaths), where=at_risk > 0)
    surviving = np.concatenate([np.ones((len(weights), 1)), np.cumprod(staying, axis=1)], axis=1)
    return 1 - surviving[:, np.searchsorted(steps, days, side="right")]


def observed_over_expected(predictions: Predictions, weights: np.ndarray, horizons: list[float]) -> np.ndarray:
    """Events seen by each horizon over those predicted, mean over the repeats, for each draw: (draw, horizon).

    weights : (draw, patient of the panel)
    """
    columns = [int(np.flatnonzero(predictions.times_days == day)[0]) for day in horizons]
    found = []
    for data in repeats_of(predictions):
        drawn = weights[:, data.patients]
        expected = (drawn @ (1 - data.survival[:, columns])) / drawn.sum(axis=1, keepdims=True)
        observed = observed_events(data.time, data.event, drawn, np.array(horizons))
        found.append(np.divide(observed, expected, out=np.full_like(observed, np.nan), where=expected > 0))
    return np.mean(found, axis=0)


def calibration_slope(predictions: Predictions, horizon: float, *, confidence: float) -> tuple[float, float, float]:
    """Slope of the seen on the predicted risk up to `horizon` days (1 is right, below 1 too extreme), with interval.

    Cox regression on log(-log S), stratified by fold, follow-up cut at the horizon. Standard errors are averaged
    over repeats, which are the same patients again. NaN if predictions do not differ or nobody has the event.
    """
    column = int(np.flatnonzero(predictions.times_days == horizon)[0])
    slopes, errors = [], []
    for data in repeats_of(predictions):
        survival = np.clip(data.survival[:, column], _INSIDE, 1 - _INSIDE)
        cloglog = np.log(-np.log(survival))
        event = data.event & (data.time <= horizon)
        if np.ptp(cloglog) < _INSIDE or not event.any():
            return np.nan, np.nan, np.nan
        fit = fit_cox(cloglog[:, None], np.minimum(data.time, horizon), event, stratum=data.stratum)
        slopes.append(fit.coefficients[0] if fit.converged else np.nan)
        errors.append(fit.errors[0])
    slope, spread = float(np.mean(slopes)), normal_quantile(confidence) * float(np.mean(errors))
    return slope, slope - spread, slope + spread


def calibration_rows(predictions: Predictions, horizon: float, *, groups: int, confidence: float) -> pd.DataFrame:
    """Calibration curve: risk of an event by `horizon` days, predicted (mean) and seen, in groups of equal size."""
    column = int(np.flatnonzero(predictions.times_days == horizon)[0])
    repeats = list(repeats_of(predictions))
    time, event, predicted = (
        np.concatenate(values)
        for values in zip(*((d.time, d.event, 1 - d.survival[:, column]) for d in repeats), strict=True)
    )
    weight = np.full(len(time), 1 / len(repeats))
    group = np.searchsorted(np.quantile(predicted, np.arange(1, groups) / groups), predicted, side="left")
    rows = []
    for number in np.unique(group):
        here = group == number
        row = {"model": predictions.model, "horizon_days": horizon, "group": int(number) + 1}
        row |= {"predicted": float(predicted[here].mean()), "n_patients": float(weight[here].sum())}
        rows.append(row | _observed(time[here], event[here], weight[here], horizon, confidence))
    return pd.DataFrame(rows)


def _observed(time: np.ndarray, event: np.ndarray, weight: np.ndarray, horizon: float, confidence: float) -> dict:
    if not (time >= horizon).any():
        reason = f"nobody in the group is followed to day {horizon:g}"
        return {"observed": np.nan, "lower": np.nan, "upper": np.nan, "reason": reason}
    curve = survival_curve(time, event, confidence=confidence, weight=weight)
    step = np.searchsorted(curve.time_days, horizon, side="right") - 1
    if step < 0:
        return {"observed": 0.0, "lower": 0.0, "upper": 0.0, "reason": ""}
    limits = {"lower": 1 - float(curve.upper[step]), "upper": 1 - float(curve.lower[step])}
    return {"observed": 1 - float(curve.value[step])} | limits | {"reason": ""}


def survival_at(times_days: np.ndarray, survival: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Predicted survival of each patient at the own `time` (patient,), with a constant hazard between the horizons.

    times_days : (time,); survival : (patient, time). Times after the last horizon count as the last horizon.
    """
    grid = np.concatenate([[0.0], times_days])
    logs = np.concatenate([np.zeros((len(time), 1)), np.log(np.maximum(survival, 1e-300))], axis=1)
    time = np.minimum(time, grid[-1])
    right = np.clip(np.searchsorted(grid, time, side="left"), 1, len(grid) - 1)
    rows = np.arange(len(time))
    share = (time - grid[right - 1]) / (grid[right] - grid[right - 1])
    return np.exp(logs[rows, right - 1] * (1 - share) + logs[rows, right] * share)


def d_calibration(at_end: np.ndarray, event: np.ndarray, *, bins: int) -> tuple[np.ndarray, float]:
    """Spread of predicted survival at the own last day over `bins` (uniform if calibrated), and the test's p-value.

    at_end, event : (patient,). A censored patient counts in each bin with the chance that the event falls there
    (Haider et al., appendix B). Returns shares (bin,), from low to high survival, and p.
    """
    edges = np.linspace(0, 1, bins + 1)
    own = np.clip(np.searchsorted(edges, at_end, side="right") - 1, 0, bins - 1)
    survival, inside = np.maximum(at_end[~event], 1e-300), own[~event]
    share = np.bincount(own[event], minlength=bins).astype(float)
    share += np.bincount(inside, weights=np.clip((survival - edges[inside]) / survival, 0, 1), minlength=bins)
    lower = np.arange(bins) < inside[:, None]  # (censored, bin)
    share += (lower / (bins * survival[:, None])).sum(axis=0)
    expected = len(at_end) / bins
    return share / len(at_end), float(stats.chi2.sf(((share - expected) ** 2 / expected).sum(), bins - 1))


def d_calibration_of(predictions: Predictions, *, bins: int) -> tuple[np.ndarray, float]:
    """D-calibration of a model: shares (bin,), mean over repeats, and the median p-value."""
    last = predictions.times_days[-1]
    shares, p_values = [], []
    for data in repeats_of(predictions):
        at_end = survival_at(predictions.times_days, data.survival, data.time)
        share, p_value = d_calibration(at_end, data.event & (data.time <= last), bins=bins)
        shares.append(share)
        p_values.append(p_value)
    return np.mean(shares, axis=0), float(np.median(p_values))


def d_calibration_rows(predictions: Predictions, *, bins: int) -> pd.DataFrame:
    """Table of the shares of D-calibration, from low to high predicted survival."""
    share, _ = d_calibration_of(predictions, bins=bins)
    edges = np.linspace(0, 1, bins + 1)
    columns = {"model": predictions.model, "bin": np.arange(1, bins + 1), "share": share}
    return pd.DataFrame(columns | {"from_survival": edges[:-1], "to_survival": edges[1:]})
