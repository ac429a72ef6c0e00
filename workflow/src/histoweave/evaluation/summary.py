"""From the sums of all folds to tidy tables of metrics, folds and draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from histoweave.errors import counted
from histoweave.evaluation.calibration import (
    CalibrationSettings,
    calibration_slope,
    d_calibration_of,
    observed_over_expected,
)
from histoweave.evaluation.censoring import survival_curve
from histoweave.evaluation.intervals import BootstrapSettings, percentile_interval
from histoweave.evaluation.panel import FoldPrediction, Panel, Predictions
from histoweave.evaluation.scores import NO_HORIZON, FoldScores, Key, ScoreSettings, pool, score_predictions
from histoweave.evaluation.support import choose_horizons, split_times

REFERENCE = "kaplan_meier"
_CALIBRATION = ("observed_expected", "calibration_slope")
BY_HORIZON = ("auc", "brier", "ipa")
_OF_REFERENCE = {"brier", "ibs"}


@dataclass(frozen=True)
class Evaluated:
    """One model: its scores by fold, the pooled draws (draw,) of each score, and what could not be scored.

    intervals : estimate, lower and upper of what has an interval without draws; last_day : end of the integral of
    the Brier score
    """

    predictions: Predictions
    scores: Sequence[FoldScores]
    draws: Mapping[Key, np.ndarray]
    reasons: Mapping[Key, str]
    intervals: Mapping[Key, tuple[float, float, float]] = field(default_factory=dict)
    last_day: float = np.nan


def evaluate(predictions: Predictions, weights: np.ndarray, *, settings: ScoreSettings) -> Evaluated:
    """Score a model on all folds and draws; weights : (draw, patient of the panel)."""
    times = predictions.times_days
    wanted = choose_horizons(times, settings.horizons_days) if len(times) else []
    grid, late = split_times(predictions, times, min_at_risk=settings.min_at_risk)
    horizons = [day for day in wanted if day in grid]
    scores = score_predictions(predictions, weights, horizons=horizons, grid=grid, tau_quantile=settings.tau_quantile)
    reasons = {(metric, day): late[day] for metric in BY_HORIZON for day in wanted if day in late}
    if len(grid) < 2:
        reasons["ibs", NO_HORIZON] = f"{counted(len(grid), 'horizon')} within follow-up; the integral needs two"
    draws = pool(scores)
    reasons |= {key: "no comparable pair of patients" for key, values in draws.items() if not np.isfinite(values[0])}
    shown = {key: values for key, values in draws.items() if not key[0].endswith(REFERENCE)}
    return Evaluated(predictions, scores, shown, reasons, last_day=grid[-1] if len(grid) > 1 else np.nan)


@dataclass(frozen=True)
class AssessSettings:
    """What an assessment needs of the config section ``evaluation``."""

    metrics: ScoreSettings
    bootstrap: BootstrapSettings
    calibration: CalibrationSettings


def assess(predictions: Predictions, weights: np.ndarray, settings: AssessSettings) -> Evaluated:
    """Score a model and its calibration; weights : (draw, patient of the panel)."""
    done = evaluate(predictions, weights, settings=settings.metrics)
    if predictions.model == REFERENCE:
        return done
    return calibrate(done, weights, bins=settings.calibration.bins, confidence=settings.bootstrap.confidence)


def calibrate(done: Evaluated, weights: np.ndarray, *, bins: int, confidence: float) -> Evaluated:
    """Add the calibration of a model: observed / expected and slope at the horizons, p-value of D-calibration.

    weights : (draw, patient of the panel)
    """
    model = done.predictions
    horizons = [horizon for metric, horizon in done.draws if metric == "brier"]
    draws, intervals, reasons = dict(done.draws), dict(done.intervals), dict(done.reasons)
    for horizon, values in zip(horizons, observed_over_expected(model, weights, horizons).T, strict=True):
        draws["observed_expected", horizon] = values
        slope = calibration_slope(model, horizon, confidence=confidence)
        intervals["calibration_slope", horizon] = slope
        if not np.isfinite(slope[0]):
            reasons["calibration_slope", horizon] = (
                "the predicted risks do not differ, or separate the events completely"
            )
    for metric, horizon in done.reasons:
        if metric == "brier":
            reasons |= {(name, horizon): done.reasons["brier", horizon] for name in _CALIBRATION}
    if len(model.times_days):
        _, p_value = d_calibration_of(model, bins=bins)
        intervals["d_calibration_p", NO_HORIZON] = (p_value, np.nan, np.nan)
    return replace(done, draws=draws, intervals=intervals, reasons=reasons)


def reference_predictions(panel: Panel, times_days: np.ndarray) -> Predictions:
    """Return the Kaplan-Meier curve of each training part as if it were a prediction for all; times_days : (time,)."""
    parts = []
    for fold in panel.folds:
        curve = survival_curve(fold.train_time, fold.train_event, confidence=0.95)
        survival = np.tile(curve.at(times_days), (len(fold.time), 1))
        parts.append(FoldPrediction(fold, np.zeros(len(fold.time)), survival, np.nan))
    return Predictions(REFERENCE, times_days, tuple(parts))


def metric_rows(panel: Panel, done: Evaluated, *, settings: BootstrapSettings) -> pd.DataFrame:
    """Table of one model's metrics: estimate, interval, number of patients and events, or the reason for none."""
    who = done.predictions.patients()
    taus = [fold.tau_days for fold in done.scores if np.isfinite(fold.tau_days)]
    size = {"n_patients": len(who), "n_events": int(panel.event[who].sum())}
    rows = []
    for metric, horizon in sorted({*done.draws, *done.intervals, *done.reasons}):
        estimate, lower, upper = done.intervals.get((metric, horizon), (np.nan,) * 3)
        if (metric, horizon) in done.draws:
            values = done.draws[metric, horizon]
            estimate, (lower, upper) = values[0], percentile_interval(values[1:], confidence=settings.confidence)
        row = {"model": done.predictions.model, "metric": metric, "horizon_days": horizon or np.nan}
        row |= {"estimate": estimate, "lower": lower, "upper": upper} | size
        row |= {"reason": done.reasons.get((metric, horizon), "")}
        until = {"c_index_ipcw": np.median(taus) if taus else np.nan, "ibs": done.last_day}
        rows.append(row | {"tau_days": until.get(metric, np.nan)})
    frame = pd.DataFrame(rows)
    if done.predictions.model == REFERENCE:
        frame = frame[frame["metric"].isin(_OF_REFERENCE)]
    return frame


def fold_rows(done: Evaluated) -> pd.DataFrame:
    """Table of one model's scores in each fold."""
    rows = []
    for part, fold in zip(done.predictions.folds, done.scores, strict=True):
        size = {"n_patients": len(part.risk), "n_events": int(part.fold.event.sum())}
        for (metric, horizon), sums in sorted(fold.sums.items()):
            if metric.endswith(REFERENCE):
                continue
            value = float(sums.ratio()[0])
            row = {"repeat": fold.repeat, "fold": fold.fold, "model": done.predictions.model, "metric": metric}
            row |= {"horizon_days": horizon or np.nan, "estimate": value} | size
            row |= {"reason": "" if np.isfinite(value) else "no comparable pair of patients in this fold"}
            tau = fold.tau_days if metric == "c_index_ipcw" else np.nan
            rows.append(row | {"n_train": len(part.fold.train_time), "tau_days": tau})
    return pd.DataFrame(rows)


def draw_rows(done: Evaluated) -> pd.DataFrame:
    """Table of one model's bootstrap draws."""
    parts = []
    for (metric, horizon), values in sorted(done.draws.items()):
        part = {"model": done.predictions.model, "metric": metric, "horizon_days": horizon or np.nan}
        parts.append(pd.DataFrame(part | {"draw": np.arange(1, len(values)), "value": values[1:]}))
    return pd.concat(parts, ignore_index=True)
