import numpy as np
import pytest
from lifelines import CoxPHFitter
from scipy import stats
from statsmodels.duration.hazard_regression import PHReg

from histoweave.evaluation.cox import fit_cox


def data(seed=0, n=250, grain=40.0):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, 2)) * [1, 30] + [0, 500]
    time = np.ceil(generator.exponential(300 * np.exp(-x[:, 0])) / grain) * grain
    return x, time, generator.random(n) < 0.6, generator.integers(0, 4, n)


def test_equal_to_statsmodels_with_ties_and_strata():
    x, time, event, stratum = data()
    theirs = PHReg(time, x, status=event, strata=stratum, ties="efron").fit()
    ours = fit_cox(x, time, event, stratum=stratum)
    assert ours.converged
    assert ours.coefficients == pytest.approx(theirs.params, abs=1e-8)
    assert ours.errors == pytest.approx(theirs.bse, abs=1e-8)
    assert ours.log_likelihood == pytest.approx(theirs.llf, abs=1e-8)


def test_equal_to_lifelines_without_strata():
    import pandas as pd

    x, time, event, _ = data(1, grain=1)
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "time": time, "event": event})
    theirs = CoxPHFitter().fit(frame, "time", "event", fit_options={"precision": 1e-12})
    ours = fit_cox(x, time, event, stratum=np.zeros(len(time)))
    assert ours.coefficients == pytest.approx(theirs.params_.to_numpy(), abs=1e-6)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood_, abs=1e-8)


def test_likelihood_ratio_and_wald_test_agree_for_a_small_effect():
    x, time, event, _ = data(2, grain=1)
    group = (np.random.default_rng(0).random(len(time)) < 0.5)[:, None] * 1.0
    fit = fit_cox(group, time, event, stratum=np.zeros(len(time)))
    ratio = 2 * (fit.log_likelihood - fit.at_zero)
    assert ratio >= 0
    assert stats.chi2.sf(ratio, 1) == pytest.approx(
        2 * stats.norm.sf(abs(fit.coefficients[0] / fit.errors[0])), abs=0.01
    )


def test_scaling_a_covariate_scales_the_coefficient():
    x, time, event, stratum = data(3)
    one, ten = (fit_cox(x * scale, time, event, stratum=stratum) for scale in (1.0, 10.0))
    assert ten.coefficients * 10 == pytest.approx(one.coefficients)
    assert ten.log_likelihood == pytest.approx(one.log_likelihood)


def test_order_of_the_patients_does_not_matter():
    x, time, event, stratum = data(4)
    mixed = np.random.default_rng(0).permutation(len(time))
    one, other = (
        fit_cox(x, time, event, stratum=stratum),
        fit_cox(x[mixed], time[mixed], event[mixed], stratum=stratum[mixed]),
    )
    assert other.coefficients == pytest.approx(one.coefficients, abs=1e-10)


def test_complete_separation_does_not_converge():
    time = np.arange(1.0, 41)
    fit = fit_cox((time <= 20)[:, None] * 1.0, time, time <= 20, stratum=np.zeros(40))
    assert not fit.converged


def test_a_constant_covariate_does_not_converge():
    x, time, event, stratum = data(5)
    assert not fit_cox(np.ones((len(time), 1)), time, event, stratum=stratum).converged


def test_without_events_nothing_is_estimated():
    x, time, event, stratum = data(6)
    assert not fit_cox(x, time, event & False, stratum=stratum).converged
