"""Performance of risks and survival probabilities on test folds, for all bootstrap draws at once.

Sources: Harrell et al. (1996); Uno et al. (2011), doi:10.1002/sim.4154, eq. 6; time-dependent AUC with
inverse-probability-of-censoring weights: Uno et al. (2007), doi:10.1198/016214507000000149; Brier score:
Graf et al. (1999), doi:10.1002/(SICI)1097-0258(19990915)18:17/18<2529::AID-SIM274>3.0.CO;2-5;
index of prediction accuracy: Kattan and Gerds (2018), doi:10.1186/s41512-018-0029-2.

| symbol | name here | axes | meaning |
|---|---|---|---|
| w | weights | (draw, patient) | how often a draw holds the patient; row 0 is all ones |
| G | censoring | (step,) | being uncensored, estimated in the training part of the fold |
| tau | tau | () | quantile of the event times of the training part; later events are not used by Uno's c |
| S(t, x_i) | survival | (patient, time) | predicted survival |

Every score of a fold is a ratio of two sums over patients or pairs. Sums are added over the folds of a repeat and
divided, and the repeats are averaged. So patients of different folds, whose risks come from different models,
are never compared with each other (our choice; pooling the risks would mix their scales).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from histoweave.evaluation.censoring import Curve, censoring_curve, survival_curve
from histoweave.evaluation.concordance import TIED, comparable_after
from histoweave.evaluation.panel import FoldPrediction, Predictions

Key = tuple[str, float]
"""A metric and its horizon in days (NaN for none is written as 0 here)."""

NO_HORIZON = 0.0


@dataclass(frozen=True)
class ScoreSettings:
    """Which metrics.

    horizons_days : horizons to report, each one of ``survival.horizons_days``; empty for all of them
    min_at_risk : patients of the test folds who must still be followed at a horizon for it to be reported
    tau_quantile : Uno's c counts events up to this quantile of the event times of the training part
    """

    section: ClassVar[str] = "evaluation.metrics"
    horizons_days: tuple[float, ...]
    min_at_risk: int
    tau_quantile: float


@dataclass(frozen=True)
class Sums:
    """A score is numerator / denominator.

    numerator, denominator : (draw,)
    """

    numerator: np.ndarray
    denominator: np.ndarray

    def ratio(self) -> np.ndarray:
        """Return the score of each draw (draw,), NaN where nothing was counted."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.denominator > 0, self.numerator / self.denominator, np.nan)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.numerator + other.numerator, self.denominator + other.denominator)


@dataclass(frozen=True)
class FoldScores:
    """The sums of one fold, by metric and horizon; tau in days."""

    repeat: int
    fold: int
    sums: Mapping[Key, Sums]
    tau_days: float


def tau_of(train_time: np.ndarray, train_event: np.ndarray, *, quantile: float) -> float:
    """Quantile of the event times (days) of a training part; NaN without events."""
    times = train_time[np.asarray(train_event, bool)]
    return float(np.quantile(times, quantile)) if len(times) else np.nan


def score_fold(
    part: FoldPrediction,
    weights: np.ndarray,
    *,
    times_days: np.ndarray,
    horizons: Sequence[float],
    grid: Sequence[float],
    tau_quantile: float,
) -> FoldScores:
    """Return all sums of one fold.

    weights : (draw, patient) of this fold's patients; times_days : (time,) of ``part.survival``
    horizons : days for AUC and Brier score; grid : days over which the Brier score is integrated
    """
    fold = part.fold
    tau = tau_of(fold.train_time, fold.train_event, quantile=tau_quantile)
    censoring = censoring_curve(fold.train_time, fold.train_event)
    sums = concordance_sums(part, weights, censoring=censoring, tau=tau)
    for horizon in horizons:
        sums["auc", horizon] = auc_sums(part, weights, censoring=censoring, horizon=horizon)
    reference = survival_curve(fold.train_time, fold.train_event, confidence=0.95)
    columns = {day: part.survival[:, index] for index, day in enumerate(times_days)}
    known = np.ones(len(fold.time))
    errors = {t: squared_errors(fold.time, fold.event, columns[t], t, censoring) for t in {*horizons, *grid}}
    plain = {t: squared_errors(fold.time, fold.event, reference.at(t) * known, t, censoring) for t in errors}
    total = weights.sum(axis=1)
    for horizon in horizons:
        sums["brier", horizon] = Sums(weights @ errors[horizon], total)
        sums["brier_kaplan_meier", horizon] = Sums(weights @ plain[horizon], total)
    if len(grid) > 1:
        sums["ibs", NO_HORIZON] = Sums(weights @ _integrate(errors, grid), total)
        sums["ibs_kaplan_meier", NO_HORIZON] = Sums(weights @ _integrate(plain, grid), total)
    return FoldScores(fold.repeat, fold.fold, sums, tau)


def _integrate(errors: Mapping[float, np.ndarray], grid: Sequence[float]) -> np.ndarray:
    return np.trapezoid(np.stack([errors[t] for t in grid]), grid, axis=0) / (grid[-1] - grid[0])


def concordance_sums(part: FoldPrediction, weights: np.ndarray, *, censoring: Curve, tau: float) -> dict[Key, Sums]:
    """Sums of Harrell's c and of Uno's c (eq. 6) for each draw.

    weights : (draw, patient); censoring : G of the training part; tau : days
    """
    fold = part.fold
    order, first_later = comparable_after(fold.time, fold.event)
    time, event, risk, drawn = fold.time[order], fold.event[order], part.risk[order], weights[:, order]
    cases = np.flatnonzero(event)
    later = np.arange(len(time))[:, None] >= first_later[cases]  # (patient, case)
    wins = ordered(risk[cases], risk) * later  # (patient, case)
    tail = np.concatenate([np.cumsum(drawn[:, ::-1], axis=1)[:, ::-1], np.zeros((len(drawn), 1))], axis=1)
    won = (drawn @ wins) * drawn[:, cases]  # (draw, case)
    compared = tail[:, first_later[cases]] * drawn[:, cases]  # (draw, case)
    early = time[cases] < tau
    weight = np.zeros(len(cases))
    weight[early] = censoring.at(time[cases][early]) ** -2.0
    return {
        ("c_index", NO_HORIZON): Sums(won.sum(axis=1), compared.sum(axis=1)),
        ("c_index_ipcw", NO_HORIZON): Sums(won @ weight, compared @ weight),
    }


def ordered(case_risk: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """1 where the case has the higher risk, one half where risks are tied, else 0: (patient, case)."""
    difference = case_risk[None, :] - risk[:, None]
    return (difference > TIED) + 0.5 * (np.abs(difference) <= TIED)


def auc_sums(part: FoldPrediction, weights: np.ndarray, *, censoring: Curve, horizon: float) -> Sums:
    """Sums of the cumulative/dynamic AUC at `horizon` days for each draw of `weights` (draw, patient)."""
    fold = part.fold
    cases = np.flatnonzero((fold.time <= horizon) & fold.event)
    controls = np.flatnonzero(fold.time > horizon)
    weight = weights[:, cases] / censoring.at(fold.time[cases])  # (draw, case)
    wins = ordered(part.risk[cases], part.risk[controls])  # (control, case)
    won = ((weights[:, controls] @ wins) * weight).sum(axis=1)
    return Sums(won, weight.sum(axis=1) * weights[:, controls].sum(axis=1))


def squared_errors(
    time: np.ndarray, event: np.ndarray, survival: np.ndarray, horizon: float, censoring: Curve
) -> np.ndarray:
    """Each patient's part of the Brier score at `horizon` days (Graf et al. 1999): (patient,)."""
    died, alive = (time <= horizon) & event, time > horizon
    error = np.zeros(len(time))
    error[died] = survival[died] ** 2 / censoring.at(time[died])
    error[alive] = (1 - survival[alive]) ** 2 / censoring.at(horizon)
    return error


def score_predictions(
    predictions: Predictions,
    weights: np.ndarray,
    *,
    horizons: Sequence[float],
    grid: Sequence[float],
    tau_quantile: float,
) -> list[FoldScores]:
    """Score every fold of a model; weights : (draw, patient of the panel)."""
    return [
        score_fold(
            part,
            weights[:, part.fold.patients],
            times_days=predictions.times_days,
            horizons=horizons,
            grid=grid,
            tau_quantile=tau_quantile,
        )
        for part in predictions.folds
    ]


def pool(scores: Sequence[FoldScores]) -> dict[Key, np.ndarray]:
    """Draws (draw,) of each score: sums over the folds of a repeat, mean over the repeats.

    Adds ``ipa`` = 1 - Brier score / Brier score of the Kaplan-Meier reference.
    """
    pooled = {}
    for key in scores[0].sums:
        by_repeat: dict[int, Sums] = {}
        for fold in scores:
            by_repeat[fold.repeat] = (
                by_repeat[fold.repeat] + fold.sums[key] if fold.repeat in by_repeat else fold.sums[key]
            )
        pooled[key] = np.mean([sums.ratio() for sums in by_repeat.values()], axis=0)
    for metric, horizon in list(pooled):
        if metric == "brier":
            pooled["ipa", horizon] = 1 - pooled["brier", horizon] / pooled["brier_kaplan_meier", horizon]
    return pooled
