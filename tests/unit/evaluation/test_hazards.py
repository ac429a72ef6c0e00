import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from evaluation.cohorts import cohort_frame, panel_of
from histoweave.errors import InputError
from histoweave.evaluation.calibration import repeats_of
from histoweave.evaluation.hazards import (
    Covariates,
    added_value_row,
    hazard_ratio_row,
    make_covariates,
    scaled_risks,
)
from histoweave.evaluation.intervals import BootstrapSettings
from histoweave.evaluation.panel import FoldPrediction

BOOTSTRAP = BootstrapSettings(draws=100, confidence=0.95)
TABLE = pd.DataFrame({"age": [40.0, 60, 80, np.nan], "stage": ["I", "II", None, "III"], "same": [1.0, 1, 1, 1]})


def age(panel, seed=99, effect=0.0):
    generator = np.random.default_rng(seed)
    values = generator.standard_normal(len(panel.time)) - effect * np.log(panel.time)
    return make_covariates(pd.DataFrame({"age": values}), ())


def changed(model, change):
    parts = tuple(FoldPrediction(p.fold, change(p.risk), p.survival, p.train_median) for p in model.folds)
    return type(model)(model.model, model.times_days, parts)


def test_covariates_become_numbers_and_constant_ones_go():
    made = make_covariates(TABLE, ())
    assert made.names == ("age", "stage")
    assert made.values.shape == (4, 3)  # age, stage II, stage III
    assert made.values[:3, 0] == pytest.approx([-np.sqrt(1.5), 0, np.sqrt(1.5)])
    assert made.values[1, 1:].tolist() == [1, 0]
    assert made.known().tolist() == [True, True, False, False]


def test_covariates_are_the_wanted_ones():
    assert make_covariates(TABLE, ("stage",)).names == ("stage",)
    with pytest.raises(InputError, match="evaluation.hazards.adjust_for: 'grade' is not in inputs.covariates"):
        make_covariates(TABLE, ("grade",))


def test_risks_are_scaled_within_their_fold():
    _, _, (model,) = panel_of(0)
    for data in repeats_of(changed(model, lambda risk: 1e6 * risk + 7)):
        scaled = scaled_risks(data)
        for fold in range(3):
            assert scaled[data.stratum == fold].mean() == pytest.approx(0)
            assert scaled[data.stratum == fold].std() == pytest.approx(1)


def test_hazard_ratio_equals_lifelines():
    panel, _, (model,) = panel_of(0, repeats=1)
    data = next(repeats_of(model))
    covariates = age(panel)
    frame = pd.DataFrame({"z": scaled_risks(data), "age": covariates.values[data.patients, 0]})
    frame["time"], frame["event"], frame["fold"] = data.time, data.event, data.stratum
    for adjust, columns in ((None, ["z"]), (covariates, ["z", "age"])):
        fit = CoxPHFitter().fit(
            frame[[*columns, "time", "event", "fold"]],
            "time",
            "event",
            strata=["fold"],
            fit_options={"precision": 1e-12},
        )
        row = hazard_ratio_row(panel, model, adjust, confidence=0.95)
        assert row["hazard_ratio"] == pytest.approx(fit.hazard_ratios_["z"], abs=1e-6)
        assert [row["lower"], row["upper"]] == pytest.approx(np.exp(fit.confidence_intervals_.loc["z"]), abs=1e-5)
        assert row["p_value"] == pytest.approx(fit.summary.loc["z", "p"], abs=1e-8)


def test_repeating_the_same_fold_changes_nothing():
    panel, _, (model,) = panel_of(0, repeats=1)
    again = [
        FoldPrediction(type(p.fold)(**{**vars(p.fold), "repeat": 1}), p.risk, p.survival, 0.0) for p in model.folds
    ]
    double = type(model)("m0", model.times_days, (*model.folds, *again))
    one, two = (hazard_ratio_row(panel, m, None, confidence=0.95) for m in (model, double))
    assert one == pytest.approx(two)


def test_constant_risks_have_no_hazard_ratio():
    panel, weights, (model,) = panel_of(0, draws=10)
    flat = changed(model, lambda risk: risk * 0)
    row = hazard_ratio_row(panel, flat, None, confidence=0.95)
    assert np.isnan(row["hazard_ratio"])
    assert row["reason"].startswith("risks that do not differ")
    assert np.isnan(added_value_row(panel, flat, age(panel), weights, settings=BOOTSTRAP)["change"])


def test_patients_with_unknown_covariates_are_left_out_and_counted():
    panel, _, (model,) = panel_of(0)
    covariates = age(panel)
    values = covariates.values.copy()
    values[:7] = np.nan
    row = hazard_ratio_row(panel, model, Covariates(("age",), values), confidence=0.95)
    assert row["n_patients"] == 113
    assert row["reason"] == "7 patients with an unknown covariate left out"
    assert np.isfinite(row["hazard_ratio"])


def test_a_good_risk_adds_to_a_covariate_of_chance():
    panel, weights, (model,) = panel_of(0, n=300, noise=0.2, draws=100)
    row = added_value_row(panel, model, age(panel), weights, settings=BOOTSTRAP)
    assert row["p_value"] < 1e-6
    assert row["lower"] > 0
    assert row["c_covariates"] == pytest.approx(0.5, abs=0.06)
    assert row["c_with_risk"] > 0.65


def test_a_risk_of_chance_adds_nothing_to_a_good_covariate():
    panel, weights, (model,) = panel_of(0, n=300, draws=100)
    noise = np.random.default_rng(1)
    row = added_value_row(
        panel,
        changed(model, lambda risk: noise.standard_normal(len(risk))),
        age(panel, effect=2.0),
        weights,
        settings=BOOTSTRAP,
    )
    assert row["p_value"] > 0.05
    assert row["lower"] < 0 < row["upper"]
    assert row["c_covariates"] > 0.8


def test_no_covariates_is_said():
    panel, weights, (model,) = panel_of(0, draws=10)
    none = make_covariates(cohort_frame(np.random.default_rng(0), 120)[0][[]], ())
    row = added_value_row(panel, model, none, weights, settings=BOOTSTRAP)
    assert row["reason"].startswith("no covariate is given")
