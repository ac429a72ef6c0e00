import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis

from histoweave.errors import InputError
from histoweave.survival.baseline import Baseline
from histoweave.survival.discrete import TimeBins
from histoweave.survival.linear import outcome


def draw(n=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    time = np.ceil(rng.exponential(1.0, n) * np.exp(-x) * 500 + 1)
    return x, time, (rng.random(n) < 0.7).astype(int)


def test_equals_scikit_survival():
    x, time, event = draw()
    model = CoxPHSurvivalAnalysis(ties="breslow").fit(x[:, None], outcome(time, event))
    risk = model.predict(x[:, None])
    theirs = np.array([[f(day) for day in (200, 700)] for f in model.predict_survival_function(x[:20, None])])
    ours = Baseline.fitted(time, event, risk).survival(risk[:20], [200, 700])
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_equal_risks_give_nelson_aalen_and_shifts_do_not_matter():
    _, time, event = draw()
    flat = Baseline.fitted(time, event, np.zeros(200))
    at_risk = (time[None, :] >= flat.times[:, None]).sum(axis=1)
    deaths = ((time[None, :] == flat.times[:, None]) & (event > 0)).sum(axis=1)
    np.testing.assert_allclose(flat.cumulative, np.cumsum(deaths / at_risk))
    shifted = Baseline.fitted(time, event, np.full(200, 500.0))
    np.testing.assert_allclose(shifted.survival(np.full(1, 500.0), [300]), flat.survival(np.zeros(1), [300]))


def test_curves_fall_from_one_and_higher_risk_lies_below():
    x, time, event = draw()
    curves = Baseline.fitted(time, event, x).survival(np.array([-1.0, 1.0, 1e6]), [0, 100, 500, 10**6])
    assert (curves[:, 0] == 1).all()
    assert (np.diff(curves, axis=1) <= 0).all()
    assert (curves[1] <= curves[0]).all()
    assert np.isfinite(curves).all()


def test_state_restores():
    x, time, event = draw()
    base = Baseline.fitted(time, event, x)
    again = Baseline.restored(*base.state())
    np.testing.assert_array_equal(base.survival(x, [365]), again.survival(x, [365]))


def test_no_events():
    with pytest.raises(InputError, match="none of the 3 training patients had an event"):
        Baseline.fitted(np.ones(3), np.zeros(3), np.zeros(3))


def test_bins_hold_equal_shares_of_events():
    _, time, event = draw(400)
    bins = TimeBins.fitted(time, event, bins=4)
    counts = np.bincount(bins.assign(time[event > 0]))
    assert counts.max() - counts.min() <= 2
    assert bins.assign(np.array([0.5, 1e9])).tolist() == [0, 3]


def test_bins_do_not_see_censored_patients():
    _, time, event = draw(400)
    longer = np.where(event > 0, time, time * 3)
    np.testing.assert_array_equal(
        TimeBins.fitted(time, event, bins=4).edges[:-1], TimeBins.fitted(longer, event, bins=4).edges[:-1]
    )


def test_bin_curve_passes_through_the_products():
    bins = TimeBins(np.array([0.0, 100, 200, 300]))
    hazards = np.array([[0.5, 0.2, 0.1]])
    curve = bins.survival(hazards, [0, 100, 150, 200, 300, 900])
    np.testing.assert_allclose(curve[0, [0, 1, 3, 4, 5]], [1, 0.5, 0.4, 0.36, 0.36], rtol=1e-6)
    assert curve[0, 2] == pytest.approx(np.sqrt(0.5 * 0.4), rel=1e-6)


def test_too_few_events_for_bins():
    with pytest.raises(InputError, match="2 training events cannot make 4 time bins"):
        TimeBins.fitted(np.arange(1.0, 6.0), np.array([1, 1, 0, 0, 0]), bins=4)
