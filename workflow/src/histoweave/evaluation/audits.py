"""Checks of the cohort, the folds and the models that a reader should not have to take on trust.

Sources: REMARK (Altman et al. 2012), doi:10.1371/journal.pmed.1001216; median follow-up by reverse Kaplan-Meier:
Schemper and Smith (1996), doi:10.1016/0197-2456(96)00075-X.

Each row has a verdict: ``ok``, ``look`` (a reader should know this before believing the numbers) or ``fact``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from histoweave.evaluation.censoring import survival_curve
from histoweave.evaluation.panel import Panel, Predictions, missing
from histoweave.evaluation.probe import ProbeResult
from histoweave.evaluation.scores import NO_HORIZON, pool, score_predictions

_FEWEST_TRAINING_EVENTS = 30  # fewer are an error of the survival stage unless overridden
_USUAL_EVENT_RATE = (0.02, 0.95)  # outside, the event column is often flipped


@dataclass(frozen=True)
class AuditSettings:
    """What is audited.

    read_slide_features : whether mean tile features are read (all slides) to ask if they tell the site
    permutations : permutations of the sites that show what chance gives
    """

    section: ClassVar[str] = "evaluation.audits"
    read_slide_features: bool
    permutations: int


def row(
    check: str, subject: str, value: float, verdict: str, sentence: str, *, within: tuple[float, float] | None = None
) -> dict:
    """One row of the table of audits; within : a range that belongs to the value."""
    lower, upper = within or (np.nan, np.nan)
    made = {"check": check, "subject": subject, "value": float(value), "lower": lower, "upper": upper}
    return made | {"verdict": verdict, "sentence": sentence}


def cohort_rows(panel: Panel, *, confidence: float) -> list[dict]:
    """Number of patients and events, event rate and follow-up of the cohort."""
    n, events = len(panel.time), int(panel.event.sum())
    low, high = _USUAL_EVENT_RATE
    odd = "" if low <= events / n <= high else " Check that event = 1 means that the event was seen."
    rate = f"{events} of {n} patients ({100 * events / n:.0f} %) have the event.{odd}"
    curve = survival_curve(panel.time, ~panel.event, confidence=confidence)
    median = curve.median_days()
    limits = [_first_below(curve.time_days, values) for values in (curve.lower, curve.upper)]
    follow_up = f"Median follow-up by reverse Kaplan-Meier: {median:.0f} days."
    return [
        row("event rate", "cohort", events / n, "look" if odd else "ok", rate),
        row("follow-up", "cohort", median, "fact", follow_up, within=(limits[0], limits[1])),
    ]


def _first_below(time_days: np.ndarray, values: np.ndarray) -> float:
    below = np.flatnonzero(values <= 0.5)
    return float(time_days[below[0]]) if len(below) else np.nan


def fold_rows(panel: Panel, folds: pd.DataFrame, sites: pd.Series) -> list[dict]:
    """Roles, sites on both sides, events of the folds; sites : patient -> site, missing where unknown."""
    count = len(panel.folds)
    events = [int(fold.train_event.sum()) for fold in panel.folds]
    silent = sum(not fold.event.any() for fold in panel.folds)
    never = int((panel.strata() < 0).sum())
    few = min(events) < _FEWEST_TRAINING_EVENTS
    return [
        row("roles", "folds", 0, "ok", f"No patient has two roles in any of the {count} folds."),
        row(
            "tested",
            "folds",
            len(panel.names) - never,
            "look" if never else "ok",
            f"{never} of {len(panel.names)} patients are in no test part." if never else "Every patient is tested.",
        ),
        _site_row(folds, sites, count),
        row(
            "training events",
            "folds",
            min(events),
            "look" if few else "ok",
            f"Training parts hold {min(events)} to {max(events)} events.",
            within=(min(events), max(events)),
        ),
        row(
            "silent folds",
            "folds",
            silent,
            "look" if silent else "ok",
            f"{silent} of {count} test parts hold no event and add nothing to the c-index." if silent
            else "Every test part holds events.",
        ),
    ]  # fmt: skip


def _site_row(folds: pd.DataFrame, sites: pd.Series, count: int) -> dict:
    named = folds.assign(site=folds["patient"].map(sites)).dropna(subset="site")
    if named["site"].nunique() < 2:
        return row("sites", "folds", np.nan, "look", "One site only: performance elsewhere cannot be judged.")
    roles = named.assign(test=named["role"] == "test").groupby(["repeat", "fold", "site"])["test"].nunique()
    shared = int((roles > 1).groupby(["repeat", "fold"]).any().sum())
    if not shared:
        return row("sites", "folds", 0, "ok", "No site stands in both the training and the test part of a fold.")
    sentence = f"In {shared} of {count} folds a site stands in both parts; a model may recognise it."
    return row("sites", "folds", shared, "look", sentence)


def served_rows(panel: Panel, models: Sequence[Predictions], has: Mapping[str, np.ndarray]) -> list[dict]:
    """Patients with and without a prediction, per model; has : modality -> (patient,) whether it is there."""
    complete = np.logical_and.reduce(list(has.values())) if has else np.ones(len(panel.names), bool)
    tested = panel.strata() >= 0
    rows = []
    for model in models:
        gone = np.isin(panel.names, missing(panel, model))
        unexplained = int((gone & complete).sum())
        served = f"{int((tested & ~gone).sum())} of {int(tested.sum())} test patients have a prediction"
        why = (
            f"; {int(gone.sum())} have not, {unexplained} of them although all their data are there."
            if gone.any()
            else "."
        )
        verdict = "look" if unexplained else "ok"
        rows.append(row("patients in = out", model.model, int((tested & ~gone).sum()), verdict, served + why))
    return rows


def repeat_rows(models: Sequence[Predictions]) -> list[dict]:
    """Spread of the c-index over the repeats, which differ in folds and seeds."""
    rows = []
    for model in models:
        ones = np.ones((1, 1 + max(part.fold.patients.max(initial=0) for part in model.folds)))
        scores = score_predictions(model, ones, horizons=[], grid=[], tau_quantile=1.0)
        repeats = sorted({score.repeat for score in scores})
        values = [pool([s for s in scores if s.repeat == r])["c_index", NO_HORIZON][0] for r in repeats]
        if len(values) < 2 or not np.isfinite(values).all():
            sentence = (
                "One repeat: what the seed changes cannot be seen." if len(values) < 2 else "No c-index in a repeat."
            )
            rows.append(row("seeds", model.model, np.nan, "look", sentence))
            continue
        sentence = f"Over {len(values)} repeats (other folds and seeds) c is {min(values):.3f} to {max(values):.3f}."
        rows.append(
            row("seeds", model.model, np.std(values, ddof=1), "fact", sentence, within=(min(values), max(values)))
        )
    return rows


def probe_row(subject: str, result: ProbeResult) -> dict:
    """Row of a probe for the site."""
    if result.reason:
        return row("site probe", subject, np.nan, "look", f"Not probed: {result.reason}.")
    within = (result.chance_lower, result.chance_upper)
    tells = "more than" if result.tells else "no more than"
    sentence = f"AUC {result.auc:.2f} for the site, {tells} chance gives ({within[0]:.2f} to {within[1]:.2f})."
    return row("site probe", subject, result.auc, "look" if result.tells else "ok", sentence, within=within)
