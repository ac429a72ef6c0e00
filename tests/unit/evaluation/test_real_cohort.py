"""Published splits of a public cohort give the numbers that others get on them."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from histoweave.evaluation.cox import fit_cox
from histoweave.evaluation.panel import align, make_panel
from histoweave.evaluation.scores import NO_HORIZON, pool, score_predictions

FOLDER = os.environ.get("HISTOWEAVE_DATA")
pytestmark = pytest.mark.skipif(not FOLDER, reason="HISTOWEAVE_DATA does not name a folder with public cohorts")


def kirc():
    table = pd.read_csv(Path(FOLDER) / "reference/kirc_clinical_15splits.csv")
    cohort = table.rename(columns={"case_id": "patient", "OS_month": "time_days"})
    cohort["time_days"] = cohort["time_days"].clip(lower=0.01)
    splits = [
        pd.DataFrame({"patient": table["case_id"], "repeat": k, "fold": 0, "role": table[f"split_{k}"].str.lower()})
        for k in range(1, 16)
    ]
    return cohort, pd.concat(splits, ignore_index=True)


@pytest.mark.parametrize(("covariates", "expected"), [(["Age", "Sex"], 0.6300), (["Grade"], 0.6754)])
def test_clinical_cox_on_the_fifteen_splits_of_kirc(covariates, expected):
    cohort, folds = kirc()
    panel = make_panel(cohort, folds)
    ordered = cohort.sort_values("patient", ignore_index=True)
    x = ordered[covariates].to_numpy(float)
    time, event = panel.time, panel.event
    rows = []
    for (repeat, _), part in folds.groupby(["repeat", "fold"]):
        train = ordered["patient"].isin(part["patient"][part["role"] == "train"]).to_numpy()
        fit = fit_cox(x[train], time[train], event[train], stratum=np.zeros(train.sum()))
        names = part["patient"][part["role"] == "test"]
        risk = x[ordered["patient"].isin(names)] @ fit.coefficients
        tested = ordered["patient"][ordered["patient"].isin(names)]
        rows.append(pd.DataFrame({"patient": tested, "repeat": repeat, "fold": 0, "risk": risk, "train_median": 0.0}))
    model = align(panel, pd.concat(rows, ignore_index=True), model="cox")
    scores = score_predictions(model, np.ones((1, len(cohort))), horizons=[], grid=[], tau_quantile=0.9)
    assert len(model.folds) == 15
    assert pool(scores)["c_index", NO_HORIZON][0] == pytest.approx(expected, abs=5e-5)
