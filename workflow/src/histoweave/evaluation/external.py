"""External validation: patients of another cohort, scored by models that were trained without them.

Source: TRIPOD+AI (Collins et al. 2024), doi:10.1136/bmj-2023-078378, items on evaluation in other settings.

Nothing is fitted to the external cohort: the model, the cut between the groups, the weights of censoring, tau and the
Kaplan-Meier reference all come from the training cohort. The external patients make one test part without folds, so
the same scores apply as within the cohort.
"""

import numpy as np
import pandas as pd

from histoweave.errors import InputError, shorten
from histoweave.evaluation.groups import log_rank_row
from histoweave.evaluation.hazards import hazard_ratio_row
from histoweave.evaluation.panel import Fold, FoldPrediction, Panel, Predictions, survival_columns


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

    prediction : ``patient, risk, survival_<days>`` with risks centred at the training median, which is the cut.
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
    part = FoldPrediction(panel.folds[0].only(keep), table["risk"].to_numpy(float), values, 0.0)
    return Predictions(model, times, (part,))


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
