from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from evaluation.cohorts import panel_of
from histoweave.evaluation.calibration import CalibrationSettings
from histoweave.evaluation.intervals import BootstrapSettings
from histoweave.evaluation.scores import ScoreSettings
from histoweave.evaluation.sites import ANOTHER, MEAN, random_effects, site_table
from histoweave.evaluation.summary import AssessSettings

SETTINGS = AssessSettings(ScoreSettings((365.0,), 5, 0.9), BootstrapSettings(60, 0.95), CalibrationSettings(3, 5))


def logit(c):
    return np.log(c / (1 - c))


def test_equal_errors_have_a_closed_form():
    """With one variance v for all, Paule and Mandel's tau^2 is the variance of the effects less v."""
    values, v = np.array([0.6, 0.7, 0.65, 0.8]), 0.01
    errors = np.sqrt(v) * values * (1 - values)
    effect = logit(values)
    (mean, low, high), (again, wide_low, wide_high) = random_effects(values, errors, confidence=0.95)
    assert logit(mean) == pytest.approx(effect.mean(), abs=1e-8)
    assert again == mean
    error = effect.std(ddof=1) / 2
    assert [logit(low), logit(high)] == pytest.approx(effect.mean() + np.array([-1, 1]) * stats.t.ppf(0.975, 3) * error)
    spread = stats.t.ppf(0.975, 2) * np.sqrt(effect.var(ddof=1) - v + error**2)
    assert [logit(wide_low), logit(wide_high)] == pytest.approx(effect.mean() + np.array([-spread, spread]), rel=1e-6)


def test_sites_that_agree_leave_only_the_error_of_the_mean():
    values, errors = np.full(5, 0.7), np.full(5, 0.05)
    (mean, low, high), (_, wide_low, wide_high) = random_effects(values, errors, confidence=0.95)
    assert mean == pytest.approx(0.7)
    error = 0.05 / 0.21 / np.sqrt(5)
    assert logit(high) - logit(mean) == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert logit(wide_high) - logit(mean) == pytest.approx(stats.t.ppf(0.975, 3) * error)
    assert wide_low < low < high < wide_high


def test_two_sites_are_too_few():
    assert np.isnan(random_effects(np.array([0.6, 0.7]), np.array([0.1, 0.1]), confidence=0.95)).all()


def test_each_site_stands_with_its_patients_and_pairs_stay_within_it():
    panel, weights, (model,) = panel_of(2, repeats=1, folds=4, draws=60)
    table = site_table(panel, model, list("ABCD"), weights, SETTINGS)
    c = table[table["metric"] == "c_index"].set_index("kind")
    sites = c.loc["site"]
    assert sites["site"].tolist() == list("ABCD")
    assert sites["n_patients"].tolist() == [30] * 4
    assert sites["lower"].lt(sites["estimate"]).all()
    assert sites["estimate"].min() < c.loc["all sites", "estimate"] < sites["estimate"].max()
    assert sites["estimate"].min() < c.loc[MEAN, "estimate"] < sites["estimate"].max()
    assert c.loc[ANOTHER, "lower"] < c.loc[MEAN, "lower"]


def test_few_sites_give_the_reason():
    panel, weights, (model,) = panel_of(3, repeats=1, folds=3, draws=30)
    table = site_table(panel, replace(model, folds=model.folds[:2]), ["A", "B"], weights, SETTINGS)
    rows = table[table["kind"].isin([MEAN, ANOTHER])]
    assert rows["reason"].tolist() == ["2 sites with a c-index; 3 are needed"] * 2
    assert rows["estimate"].isna().all()
