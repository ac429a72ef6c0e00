"""External validation: patients of another cohort, scored by models that were trained without them.

Source: TRIPOD+AI (Collins et al. 2024), doi:10.1136/bmj-2023-078378, items on evaluation in other settings.

Nothing is fitted to the external cohort: the model, the cut between the groups, the weights of censoring, tau and the
Kaplan-Meier reference all come from the training cohort. The external patients make one test part without folds, so
the same scores apply as within the cohort.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from histoweave.errors import InputError, shorten
from histoweave.evaluation.calibration import CalibrationSettings, calibration_rows
from histoweave.evaluation.censoring import survival_curve
from histoweave.evaluation.comparison import CompareSettings, compare_all
from histoweave.evaluation.groups import CurveSettings, curve_rows, log_rank_row
from histoweave.evaluation.hazards import hazard_ratio_row
from histoweave.evaluation.intervals import BootstrapSettings
from histoweave.evaluation.panel import Fold, FoldPrediction, Panel, Predictions, survival_columns
from histoweave.evaluation.scores import ScoreSettings
from histoweave.evaluation.summary import AssessSettings, assess, metric_rows, reference_predictions
from histoweave.evaluation.support import usable_horizons


@dataclass(frozen=True)
class ExternalSettings:
    """What validation needs of the config section ``evaluation``."""

    metrics: ScoreSettings
    bootstrap: BootstrapSettings
    calibration: CalibrationSettings
    compare: CompareSettings
    curves: CurveSettings


def external_panel(patients: pd.DataFrame, training: pd.DataFrame) -> Panel:
    """Make one test part of `patients`, with the follow-up of `training` behind it.

    patients, training : columns ``patient, time_days, event``. Raises InputError if a patient is in both.
    """
    patients = patients.sort_values("patient", ignore_index=True)
    if shared := sorted(set(patients["patient"]) & set(training["patient"])):
        msg = (
            f"{len(shared)} patient(s) of an external cohort were in the training cohort: {shorten(shared)}. "
            "Remove them from its table, or the validation is none."
        )
        raise InputError(msg)
    names, time = patients["patient"].to_numpy(str), patients["time_days"].to_numpy(float)
    event = patients["event"].to_numpy().astype(bool)
    behind = training["time_days"].to_numpy(float), training["event"].to_numpy().astype(bool)
    return Panel(names, time, event, (Fold(0, 0, np.arange(len(names)), time, event, *behind),))


def external_predictions(panel: Panel, prediction: pd.DataFrame, *, model: str) -> Predictions:
    """Put the table of predictions in the order of `panel`; patients without a row are left out.

    prediction : ``patient, risk, survival_<days>`` and perhaps ``train_median``, the cut; without it risks are centred
        there.
    """
    columns = [name for name in prediction if not name.endswith(("_lower", "_upper"))]
    table = prediction[columns].set_index("patient")
    times, survival = survival_columns(table)
    keep = np.isin(panel.names, table.index.to_numpy(str))
    table = table.loc[panel.names[keep]]
    if not np.isfinite(table[["risk", *survival]].to_numpy(float)).all():
        msg = f"predictions of model '{model}' hold NaN or infinite values. Run the target 'predict' again."
        raise InputError(msg)
    values = table[survival].to_numpy(float).reshape(len(table), len(survival))
    cut = float(table["train_median"].iloc[0]) if "train_median" in table and len(table) else 0.0
    part = FoldPrediction(panel.folds[0].only(keep), table["risk"].to_numpy(float), values, cut)
    return Predictions(model, times, (part,))


def validate(
    panel: Panel, models: Mapping[str, Predictions], weights: np.ndarray, settings: ExternalSettings
) -> dict[str, pd.DataFrame]:
    """All tables of one external cohort: ``metrics, calibration, comparisons, curves, at_risk``.

    models : model -> predictions for the panel; weights : (draw, patient of the panel)
    """
    confidence = settings.bootstrap.confidence
    scored = [reference_predictions(panel, next(iter(models.values())).times_days), *models.values()]
    wanted = AssessSettings(settings.metrics, settings.bootstrap, settings.calibration)
    rows = [metric_rows(panel, assess(model, weights, wanted), settings=settings.bootstrap) for model in scored]
    rows += [group_metrics(panel, model, confidence=confidence) for model in models.values()]
    options = {"groups": settings.calibration.groups, "confidence": confidence}
    limits = {"min_at_risk": settings.metrics.min_at_risk}
    curves = [
        calibration_rows(model, day, **options)
        for model in models.values()
        for day in usable_horizons(model, settings.metrics.horizons_days, **limits)
    ]
    bases = tuple(name for name in settings.compare.baselines if name in models)
    pairs = tuple(pair for pair in settings.compare.pairs if set(pair) <= set(models))
    chosen = replace(settings.compare, baselines=bases, pairs=pairs)
    shared = {"score_settings": settings.metrics, "confidence": confidence}
    steps, at_risk = curve_rows(
        panel, list(models.values()), every_days=settings.curves.at_risk_every_days, confidence=confidence
    )
    return {
        "metrics": pd.concat([cohort_metrics(panel, confidence=confidence), *rows], ignore_index=True),
        "calibration": pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(),
        "comparisons": compare_all(panel, models, weights, compare_settings=chosen, **shared),
        "curves": steps,
        "at_risk": at_risk,
    }


def cohort_metrics(panel: Panel, *, confidence: float) -> pd.DataFrame:
    """Rows of metrics that no model has a part in: share of patients with the event, and median follow-up in days."""
    curve = survival_curve(panel.time, ~panel.event, confidence=confidence)
    row = {"model": "", "horizon_days": np.nan, "tau_days": np.nan, "lower": np.nan, "upper": np.nan, "reason": ""}
    row |= {"n_patients": len(panel.names), "n_events": int(panel.event.sum())}
    values = {"event_rate": float(panel.event.mean()), "median_follow_up_days": curve.median_days()}
    return pd.DataFrame([row | {"metric": name, "estimate": value} for name, value in values.items()])


def group_metrics(panel: Panel, predictions: Predictions, *, confidence: float) -> pd.DataFrame:
    """Rows of metrics: hazard ratio per standard deviation, and p-value of the log-rank test of the two groups."""
    ratio = hazard_ratio_row(panel, predictions, None, confidence=confidence)
    test = log_rank_row(predictions, confidence=confidence)
    shared = {name: ratio[name] for name in ("model", "n_patients", "n_events")}
    shared |= {"horizon_days": np.nan, "tau_days": np.nan}
    hazard = {"metric": "hazard_ratio", "estimate": ratio["hazard_ratio"], "reason": ratio["reason"]}
    log_rank = {"metric": "log_rank_p", "estimate": test["p_value"], "reason": test["reason"]}
    hazard |= {name: ratio[name] for name in ("lower", "upper")}
    return pd.DataFrame([shared | hazard, shared | log_rank | {"lower": np.nan, "upper": np.nan}])
