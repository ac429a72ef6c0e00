import numpy as np
import pytest

from evaluation.cohorts import panel_of
from histoweave.evaluation.decision import DecisionSettings, decision_rows, net_benefit, reference_rows

SETTINGS = DecisionSettings(lowest=0.1, highest=0.5, steps=5)


def test_net_benefit_by_hand_without_censoring():
    time, event = np.array([100.0, 100, 900, 900]), np.ones(4, bool)
    acted = np.array([True, False, True, False])
    # one true and one false positive among four, odds 1/4
    assert net_benefit(time, event, acted, horizon=500, threshold=0.2) == pytest.approx(1 / 4 - 1 / 4 * 0.25)
    assert net_benefit(time, event, ~acted & acted, horizon=500, threshold=0.2) == 0


def test_censored_patients_count_by_kaplan_meier():
    time, event = np.array([100.0, 200, 300, 900]), np.array([True, False, True, False])
    dying = 1 - 3 / 4 * 1 / 2
    expected = dying - (1 - dying) * 0.25 / 0.75
    assert net_benefit(time, event, np.ones(4, bool), horizon=500, threshold=0.25) == pytest.approx(expected)


def test_nobody_followed_to_the_horizon_is_no_number():
    time, event = np.array([100.0, 200]), np.array([True, False])
    assert np.isnan(net_benefit(time, event, np.ones(2, bool), horizon=500, threshold=0.2))
    assert net_benefit(time, np.ones(2, bool), np.ones(2, bool), horizon=500, threshold=0.2) == 1


def test_the_right_model_beats_acting_on_all_and_on_none():
    panel, _, (model,) = panel_of(1, n=900, noise=0.0)
    model_rows = decision_rows(model, 730.0, SETTINGS).set_index("threshold")["net_benefit"]
    others = reference_rows(panel, 730.0, SETTINGS).pivot(index="threshold", columns="model", values="net_benefit")
    assert (model_rows > others["treat none"]).all()
    assert (model_rows >= others["treat all"] - 0.01).all()
    assert model_rows.iloc[-1] > others["treat all"].iloc[-1] + 0.05


def test_thresholds_are_evenly_spaced():
    assert SETTINGS.thresholds().tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
