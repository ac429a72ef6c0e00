import numpy as np
import pytest

from histoweave.evaluation.intervals import patient_weights, percentile_interval, two_sided_p


def test_row_zero_is_the_cohort_and_every_draw_keeps_the_size_of_each_stratum():
    strata = np.array([0, 0, 0, 1, 1, 2])
    weights = patient_weights(strata, draws=50, generator=np.random.default_rng(0))
    assert (weights[0] == 1).all()
    for stratum, size in [(0, 3), (1, 2), (2, 1)]:
        assert (weights[:, strata == stratum].sum(axis=1) == size).all()
    assert len(np.unique(weights, axis=0)) > 10


def test_weights_depend_on_the_seed_alone():
    strata = np.arange(40) % 4
    one, same = (patient_weights(strata, draws=9, generator=np.random.default_rng(3)) for _ in range(2))
    assert (one == same).all()


def test_the_bootstrap_of_a_mean_has_the_standard_error_of_a_mean():
    generator = np.random.default_rng(1)
    values = generator.standard_normal(400)
    weights = patient_weights(np.zeros(400), draws=4000, generator=generator)
    means = weights[1:] @ values / 400
    assert means.std() == pytest.approx(values.std() / 20, rel=0.05)
    lower, upper = percentile_interval(means, confidence=0.95)
    assert upper - lower == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)
    assert lower < values.mean() < upper


def test_draws_that_mostly_fail_give_no_interval():
    assert np.isnan(percentile_interval(np.array([1.0, 2, np.nan]), confidence=0.9)).all()
    assert np.isnan(two_sided_p(1.0, np.array([1.0, 2, np.nan])))
    assert np.isnan(two_sided_p(np.nan, np.arange(10.0)))


def test_p_values():
    draws = np.random.default_rng(0).standard_normal(100_000)
    assert two_sided_p(1.96, draws) == pytest.approx(0.05, abs=0.002)
    assert two_sided_p(0.0, draws) == 1
    assert two_sided_p(0.0, np.zeros(5)) == 1
    assert two_sided_p(0.2, np.full(5, 0.2)) == 0
