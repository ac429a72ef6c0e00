import numpy as np
import pytest

from histoweave.errors import InputError
from histoweave.expression.cscore import cscore
from histoweave.expression.cscore_covariates import cscore_with_covariates


def test_equals_the_r_package(golden, synth_a):
    counts, depth, _ = synth_a
    covariates = golden("inputs/synthA_covariates").to_numpy()
    result = cscore_with_covariates(counts[:, :40], depth, covariates, convergence="q95")
    np.testing.assert_allclose(result.correlation, golden("cscore/cscore_synthA40_covar_est"), atol=1e-9)
    np.testing.assert_allclose(result.statistic, golden("cscore/cscore_synthA40_covar_test_stat"), atol=1e-9)
    np.testing.assert_allclose(result.p_value, golden("cscore/cscore_synthA40_covar_p_value"), rtol=1e-6)


def test_without_columns_it_is_the_plain_method(synth_a):
    counts, depth, _ = synth_a
    plain = cscore(counts[:, :30], depth, convergence="max")
    result = cscore_with_covariates(counts[:, :30], depth, np.zeros((300, 0)), convergence="max")
    np.testing.assert_allclose(result.correlation, plain.correlation, atol=1e-9)
    np.testing.assert_allclose(result.statistic, plain.statistic, rtol=1e-9)


def test_units_of_the_covariates_do_not_matter(golden, synth_a):
    counts, depth, _ = synth_a
    covariates = golden("inputs/synthA_covariates").to_numpy()
    one, other = (
        cscore_with_covariates(counts[:, :20], depth, values, convergence="max").correlation
        for values in (covariates, covariates * 40 - 3)
    )
    np.testing.assert_allclose(one, other, atol=1e-8)


def test_two_groups_that_differ_in_level_no_longer_correlate(draw):
    depth = draw.integers(800, 3000, 400).astype(float)
    group = np.repeat([0.0, 1.0], 200)
    level = 0.004 * (1 + group[:, None]) * draw.gamma(8.0, 1 / 8, (400, 12))
    counts = draw.poisson(depth[:, None] * level)
    pairs = np.triu_indices(12, 1)
    raw = cscore(counts, depth, convergence="max").correlation[pairs]
    freed = cscore_with_covariates(counts, depth, group[:, None], convergence="max").correlation[pairs]
    assert raw.mean() > 0.2
    assert abs(freed.mean()) < 0.08


def test_covariates_that_cannot_be_used_are_refused(synth_a):
    counts, depth, _ = synth_a
    with pytest.raises(InputError, match="constant or depend on each other"):
        cscore_with_covariates(counts[:, :5], depth, np.ones((300, 1)), convergence="max")
    bad = np.arange(300.0)[:, None]
    bad[3] = np.nan
    with pytest.raises(InputError, match="1 cells lack a covariate value.*expression.cscore.covariates"):
        cscore_with_covariates(counts[:, :5], depth, bad, convergence="max")
