"""From the sums of all folds to tidy tables of metrics, folds and draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from histoweave.evaluation.censoring import survival_curve
from histoweave.evaluation.intervals import BootstrapSettings, percentile_interval
from histoweave.evaluation.panel import FoldPrediction, Panel, Predictions
from histoweave.evaluation.scores import NO_HORIZON, FoldScores, Key, ScoreSettings, pool, score_predictions
from histoweave.evaluation.support import choose_horizons, split_times

REFERENCE = "kaplan_meier"
BY_HORIZON = ("auc", "brier", "ipa")
_OF_REFERENCE = {"brier", "ibs"}


@dataclass(frozen=True)
class Evaluated:
    """One model: its scores by fold, the pooled draws (draw,) of each score, and what could not be scored."""

    predictions: Predictions
    scores: Sequence[FoldScores]
    draws: Mapping[Key, np.ndarray]
    reasons: Mapping[Key, str]


def evaluate(predictions: Predictions, weights: np.ndarray, *, settings: ScoreSettings) -> Evaluated:
    """Score a model on all folds and draws; weights : (draw, patient of the panel)."""
    times = predictions.times_days
    wanted = choose_horizons(times, settings.horizons_days) if len(times) else []
    grid, late = split_times(predictions, times, min_at_risk=settings.min_at_risk)
    horizons = [day for day in wanted if day in grid]
    scores = score_predictions(predictions, weights, horizons=horizons, grid=grid, tau_quantile=settings.tau_quantile)
    reasons = {(metric, day): late[day] for metric in BY_HORIZON for day in wanted if day in late}
    if len(grid) < 2:
        reasons["ibs", NO_HORIZON] = f"{len(grid)} horizon(s) within follow-up; the integral needs two"
    draws = pool(scores)
    reasons |= {key: "no comparable pair of patients" for key, values in draws.items() if not np.isfinite(values[0])}
    shown = {key: values for key, values in draws.items() if not key[0].endswith(REFERENCE)}
    return Evaluated(predictions, scores, shown, reasons)


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
    for metric, horizon in sorted({*done.draws, *done.reasons}):
        values = done.draws.get((metric, horizon), np.full(2, np.nan))
        lower, upper = percentile_interval(values[1:], confidence=settings.confidence)
        row = {"model": done.predictions.model, "metric": metric, "horizon_days": horizon or np.nan}
        row |= {"estimate": values[0], "lower": lower, "upper": upper} | size
        row |= {"reason": done.reasons.get((metric, horizon), "")}
        rows.append(row | {"tau_days": np.median(taus) if metric == "c_index_ipcw" and taus else np.nan})
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
