"""Low and high risk groups, cut at the median risk of the training part: curves and log-rank test.

Source: Mantel (1966); stratified form in Kalbfleisch and Prentice (2002), section 1.5, eq. 1.20.

| symbol | name here | axes | meaning |
|---|---|---|---|
| d_l, n_l | deaths, at_risk | (time,) | events and patients at risk at each event time of a stratum |
| n_1l | high_at_risk | (time,) | those at risk in the high group |

The cut is fixed before the test patients are seen; an optimal cut on them is never sought. With repeated
cross-validation a patient is tested once per repeat: the curves give each repeat the weight 1 / repeats, the test is
made per repeat and the median repeat is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import stats

from histoweave.evaluation.censoring import at_risk_table, survival_curve
from histoweave.evaluation.panel import Panel, Predictions

GROUPS = ("low", "high")


@dataclass(frozen=True)
class CurveSettings:
    """How the curves are shown.

    at_risk_every_days : spacing of the at-risk table
    """

    section: ClassVar[str] = "evaluation.curves"
    at_risk_every_days: float


@dataclass(frozen=True)
class Grouped:
    """Every patient of every test fold with a group.

    time, event, high, weight : (row,); stratum : (row,) number of the fold; repeat : (row,)
    """

    time: np.ndarray
    event: np.ndarray
    high: np.ndarray
    weight: np.ndarray
    stratum: np.ndarray
    repeat: np.ndarray


def group_by_training_median(predictions: Predictions) -> Grouped:
    """Put each test patient in the high group if the risk is above the training median of the fold."""
    folds = [part for part in predictions.folds if len(part.risk)]
    repeats = np.unique([part.fold.repeat for part in folds])
    return Grouped(
        time=np.concatenate([part.fold.time for part in folds]),
        event=np.concatenate([part.fold.event for part in folds]),
        high=np.concatenate([part.risk > part.train_median for part in folds]),
        weight=np.full(sum(len(part.risk) for part in folds), 1 / len(repeats)),
        stratum=np.repeat(np.arange(len(folds)), [len(part.risk) for part in folds]),
        repeat=np.repeat([part.fold.repeat for part in folds], [len(part.risk) for part in folds]),
    )


def stratified_log_rank(time: np.ndarray, event: np.ndarray, high: np.ndarray, stratum: np.ndarray) -> float:
    """Chi-square statistic (1 degree of freedom) of two groups; NaN if no stratum can tell them apart.

    time, event, high, stratum : (patient,)
    """
    excess = variance = 0.0
    for number in np.unique(stratum):
        here = stratum == number
        o_minus_e, v = _log_rank_terms(time[here], event[here], high[here])
        excess, variance = excess + o_minus_e, variance + v
    return excess**2 / variance if variance > 0 else np.nan


def _log_rank_terms(time: np.ndarray, event: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    steps, index = np.unique(time, return_inverse=True)
    at_risk = np.cumsum(np.bincount(index, minlength=len(steps))[::-1])[::-1].astype(float)
    high_at_risk = np.cumsum(np.bincount(index, weights=high, minlength=len(steps))[::-1])[::-1]
    deaths = np.bincount(index, weights=event, minlength=len(steps))
    high_deaths = np.bincount(index, weights=event & high, minlength=len(steps))
    share = high_at_risk / at_risk
    variance = deaths * share * (1 - share) * (at_risk - deaths) / np.maximum(at_risk - 1, 1)  # eq. 1.20
    return float((high_deaths - deaths * share).sum()), float(variance.sum())


def log_rank_row(predictions: Predictions, *, confidence: float) -> dict:
    """Row of the log-rank table for one model."""
    data = group_by_training_median(predictions)
    row: dict = {"model": predictions.model}
    for name, inside in zip(GROUPS, (~data.high, data.high), strict=True):
        row[f"n_{name}"] = float(data.weight[inside].sum())
        row[f"events_{name}"] = float(data.weight[inside & data.event].sum())
        row[f"median_days_{name}"] = np.nan
        if inside.any():
            curve = survival_curve(data.time[inside], data.event[inside], confidence=confidence)
            row[f"median_days_{name}"] = curve.median_days()
    row["statistic"] = _median_statistic(data)
    row["p_value"] = float(stats.chi2.sf(row["statistic"], 1))
    return row | {"reason": _why_no_test(predictions, data, row["statistic"])}


def _median_statistic(data: Grouped) -> float:
    found = []
    for repeat in np.unique(data.repeat):
        here = data.repeat == repeat
        found.append(stratified_log_rank(data.time[here], data.event[here], data.high[here], data.stratum[here]))
    return float(np.median(found))


def _why_no_test(predictions: Predictions, data: Grouped, statistic: float) -> str:
    if not all(np.isfinite(part.train_median) for part in predictions.folds if len(part.risk)):
        return "no median risk of the training part"
    if data.high.all() or not data.high.any():
        return f"all patients are in the {GROUPS[int(data.high.all())]} group"
    return "" if np.isfinite(statistic) else "no event while both groups are followed"


def curve_rows(
    panel: Panel, predictions: Sequence[Predictions], *, every_days: float, confidence: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of the Kaplan-Meier steps and of the numbers at risk: all patients, then each model's groups."""
    groups = [("kaplan_meier", "all", panel.time, panel.event, np.ones(len(panel.time)))]
    for model in predictions:
        data = group_by_training_median(model)
        for name, inside in zip(GROUPS, (~data.high, data.high), strict=True):
            if inside.any():
                groups.append((model.model, name, data.time[inside], data.event[inside], data.weight[inside]))
    times = np.arange(0.0, panel.time.max() + every_days, every_days)
    curves, at_risk = [], []
    for model_name, group, time, event, weight in groups:
        label = {"model": model_name, "group": group}
        curve = survival_curve(time, event, confidence=confidence, weight=weight)
        steps = {"time_days": [0.0, *curve.time_days], "survival": [1.0, *curve.value]}
        curves.append(pd.DataFrame(label | steps | {"lower": [1.0, *curve.lower], "upper": [1.0, *curve.upper]}))
        at_risk.append(pd.DataFrame(label | at_risk_table(time, event, times, weight=weight)))
    return pd.concat(curves, ignore_index=True), pd.concat(at_risk, ignore_index=True)
