import numpy as np
import pandas as pd
import pytest
from lifelines.statistics import logrank_test
from statsmodels.duration.survfunc import survdiff

from evaluation.cohorts import panel_of
from histoweave.evaluation.groups import curve_rows, group_by_training_median, log_rank_row, stratified_log_rank
from histoweave.evaluation.panel import FoldPrediction


def two_groups(seed=0, n=200):
    generator = np.random.default_rng(seed)
    high = generator.random(n) < 0.4
    time = np.ceil(generator.exponential(np.where(high, 60, 100)) / 5) * 5
    return time, generator.random(n) < 0.6, high, generator.integers(0, 4, n)


def test_one_stratum_equals_lifelines():
    time, event, high, _ = two_groups()
    expected = logrank_test(time[high], time[~high], event[high], event[~high]).test_statistic
    assert stratified_log_rank(time, event, high, np.zeros(len(time))) == pytest.approx(expected, abs=1e-10)


def test_strata_equal_statsmodels():
    time, event, high, stratum = two_groups(1)
    expected, _ = survdiff(time, event, high.astype(int), strata=stratum)
    assert stratified_log_rank(time, event, high, stratum) == pytest.approx(expected, abs=1e-10)


def test_a_stratum_of_one_group_tells_nothing():
    time, event, high, stratum = two_groups(2)
    more = stratified_log_rank(
        np.r_[time, time], np.r_[event, event], np.r_[high, high | True], np.r_[stratum, stratum * 0 + 9]
    )
    assert more == pytest.approx(stratified_log_rank(time, event, high, stratum))
    assert np.isnan(stratified_log_rank(time, event, high | True, stratum))


def test_groups_are_cut_at_the_training_median_of_the_fold():
    _, _, (model,) = panel_of(0)
    parts = tuple(FoldPrediction(p.fold, p.risk, p.survival, k - 1.0) for k, p in enumerate(model.folds))
    data = group_by_training_median(type(model)("m", model.times_days, parts))
    assert data.high.tolist() == np.concatenate([p.risk > k - 1.0 for k, p in enumerate(model.folds)]).tolist()
    assert data.weight.sum() == pytest.approx(120)


def test_row_of_a_good_model():
    _, _, (model,) = panel_of(0, n=200, noise=0.1)
    row = log_rank_row(model, confidence=0.95)
    assert row["p_value"] < 0.001
    assert row["median_days_high"] < row["median_days_low"]
    assert row["n_low"] + row["n_high"] == pytest.approx(200)
    assert row["reason"] == ""


def test_constant_risks_make_one_group_and_no_test():
    _, _, (model,) = panel_of(0)
    parts = tuple(FoldPrediction(p.fold, p.risk * 0, p.survival, 0.0) for p in model.folds)
    row = log_rank_row(type(model)("m", model.times_days, parts), confidence=0.95)
    assert np.isnan(row["statistic"])
    assert row["reason"] == "all patients are in the low group"


def test_repeats_of_the_same_fold_leave_curve_interval_and_numbers_as_they_are():
    panel, _, (model,) = panel_of(1, repeats=1)
    again = [
        FoldPrediction(type(p.fold)(**{**vars(p.fold), "repeat": 1}), p.risk, p.survival, p.train_median)
        for p in model.folds
    ]
    double = type(model)("m0", model.times_days, (*model.folds, *again))
    once, twice = (curve_rows(panel, [m], every_days=365, confidence=0.95) for m in (model, double))
    pd.testing.assert_frame_equal(once[0], twice[0])
    pd.testing.assert_frame_equal(once[1], twice[1])


def test_curves_begin_at_one_and_the_groups_add_up_to_all():
    panel, _, (model,) = panel_of(1)
    curves, at_risk = curve_rows(panel, [model], every_days=500, confidence=0.9)
    begin = curves[curves["time_days"] == 0]
    assert begin["group"].tolist() == ["all", "low", "high"]
    assert (begin["survival"] == 1).all()
    numbers = at_risk.pivot(index="time_days", columns="group", values="at_risk")
    assert (numbers["low"] + numbers["high"]).tolist() == pytest.approx(numbers["all"].tolist())
