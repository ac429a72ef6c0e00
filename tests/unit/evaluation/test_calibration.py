import numpy as np
import pytest
from lifelines import CoxPHFitter

from evaluation.cohorts import panel_of
from histoweave.evaluation.calibration import (
    calibration_rows,
    calibration_slope,
    d_calibration,
    d_calibration_rows,
    observed_events,
    observed_over_expected,
    repeats_of,
    survival_at,
)
from histoweave.evaluation.censoring import survival_curve
from histoweave.evaluation.panel import FoldPrediction


def changed(model, change):
    parts = tuple(FoldPrediction(p.fold, p.risk, change(p.survival), p.train_median) for p in model.folds)
    return type(model)(model.model, model.times_days, parts)


@pytest.fixture(scope="module")
def right():
    """A model that knows the hazard."""
    panel, weights, (model,) = panel_of(1, n=1500, noise=0.0, draws=30)
    return panel, weights, model


def test_observed_events_are_one_minus_kaplan_meier_for_every_draw():
    panel, weights, _ = panel_of(0, draws=3, grain=60.0)
    days = np.array([59.0, 60, 365, 900])
    found = observed_events(panel.time, panel.event, weights, days)
    for row, drawn in zip(found, weights, strict=True):
        some = drawn > 0
        curve = survival_curve(panel.time[some], panel.event[some], confidence=0.9, weight=drawn[some])
        assert row == pytest.approx(1 - curve.at(days), abs=1e-12)


def test_a_right_model_is_calibrated(right):
    _, weights, model = right
    values = observed_over_expected(model, weights, [365.0, 730.0])
    assert values[0] == pytest.approx([1, 1], abs=0.12)  # two standard errors
    slope, lower, upper = calibration_slope(model, 730.0, confidence=0.95)
    assert lower < 1 < upper
    assert slope == pytest.approx(1, abs=0.1)
    rows = calibration_rows(model, 730.0, groups=5, confidence=0.99)
    assert ((rows["lower"] < rows["predicted"]) & (rows["predicted"] < rows["upper"])).sum() >= 4
    assert rows["n_patients"].sum() == pytest.approx(1500)
    assert np.diff(rows["observed"]).min() > 0


def test_too_high_risks_give_observed_over_expected_below_one(right):
    _, weights, model = right
    assert observed_over_expected(changed(model, np.square), weights, [730.0])[0, 0] < 0.85


def test_a_model_of_half_the_spread_has_twice_the_slope(right):
    _, _, model = right
    timid = changed(model, lambda s: np.exp(-np.sqrt(-np.log(s))))  # halves log(-log S)
    one, two = (calibration_slope(m, 730.0, confidence=0.95)[0] for m in (model, timid))
    assert two == pytest.approx(2 * one, rel=1e-6)


def test_slope_equals_lifelines():
    import pandas as pd

    _, _, (model,) = panel_of(2, n=150, repeats=1)
    data = next(repeats_of(model))
    frame = pd.DataFrame({"x": np.log(-np.log(data.survival[:, 2])), "fold": data.stratum})
    frame["time"], frame["event"] = np.minimum(data.time, 730), data.event & (data.time <= 730)
    fit = CoxPHFitter().fit(frame, "time", "event", strata=["fold"], fit_options={"precision": 1e-12})
    slope, lower, _ = calibration_slope(model, 730.0, confidence=0.95)
    assert slope == pytest.approx(fit.params_["x"], abs=1e-6)
    assert lower == pytest.approx(fit.confidence_intervals_.iloc[0, 0], abs=1e-5)


def test_equal_predictions_have_no_slope():
    _, _, (model,) = panel_of(2)
    assert np.isnan(calibration_slope(changed(model, lambda s: s * 0 + 0.5), 730.0, confidence=0.95)).all()


def test_equal_predictions_make_one_group():
    _, _, (model,) = panel_of(2)
    rows = calibration_rows(changed(model, lambda s: s * 0 + 0.5), 730.0, groups=5, confidence=0.95)
    assert rows["n_patients"].tolist() == pytest.approx([120])


def test_a_group_that_is_not_followed_to_the_horizon_has_a_reason():
    _, _, (model,) = panel_of(2)
    late = type(model)("m", np.array([180.0, 365, 730, 9000]), model.folds)
    rows = calibration_rows(late, 9000.0, groups=3, confidence=0.95)
    assert rows["observed"].isna().all()
    assert set(rows["reason"]) == {"nobody in the group is followed to day 9000"}


def test_survival_between_horizons_has_a_constant_hazard():
    days, hazard = np.array([100.0, 200]), 0.003
    time = np.array([0.0, 50, 100, 130, 200, 500])
    survival = np.tile(np.exp(-hazard * days), (6, 1))
    assert survival_at(days, survival, time) == pytest.approx(np.exp(-hazard * np.minimum(time, 200)))


def test_d_calibration_by_hand():
    """Haider et al., appendix B: a censored patient at 0.45 is spread over [0, 0.45]."""
    share, _ = d_calibration(np.array([0.95, 0.45]), np.array([True, False]), bins=5)
    assert share * 2 == pytest.approx([0.2 / 0.45, 0.2 / 0.45, 0.05 / 0.45, 0, 1])


def test_d_calibration_of_uniform_values_passes_and_of_others_fails():
    generator = np.random.default_rng(0)
    uniform, event = generator.random(500), np.ones(500, bool)
    assert d_calibration(uniform, event, bins=10)[1] > 0.05
    assert d_calibration(uniform**2, event, bins=10)[1] < 1e-6


def test_d_calibration_shares_add_up_at_the_edges():
    at_end, event = np.array([0.0, 0.0, 1.0, 1.0, 0.3]), np.array([True, False, True, False, False])
    share, _ = d_calibration(at_end, event, bins=4)
    assert share.sum() == pytest.approx(1)


def test_d_calibration_of_a_right_model_is_flat(right):
    _, _, model = right
    rows = d_calibration_rows(model, bins=5)
    assert rows["share"].to_numpy() == pytest.approx(0.2, abs=0.03)
    assert rows["from_survival"].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
