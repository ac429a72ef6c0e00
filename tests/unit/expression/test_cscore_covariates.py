import numpy as np
import pytest

from histoweave.errors import InputError
from histoweave.expression import cscore_covariates
from histoweave.expression.blocks import InMemory
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


def assert_equal(one, other):
    for name in ("correlation", "raw", "statistic", "p_value"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-8, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("cells", [13, 100])
def test_blocks_of_cells_do_not_matter(cells, golden, synth_a):
    counts, depth, _ = synth_a
    covariates = golden("inputs/synthA_covariates").to_numpy()
    whole, parts = (
        cscore_with_covariates(InMemory(counts[:, :30], cells=c), depth, covariates, convergence="max")
        for c in (None, cells)
    )
    assert_equal(whole, parts)
    assert whole.moments.updates == parts.moments.updates


def test_strips_of_genes_do_not_matter(golden, synth_a, monkeypatch):
    counts, depth, _ = synth_a
    covariates = golden("inputs/synthA_covariates").to_numpy()
    whole = cscore_with_covariates(counts[:, :30], depth, covariates, convergence="max")
    monkeypatch.setattr(cscore_covariates, "_BYTES_OF_SYSTEMS", 7 * 8 * 9 * 30)  # 7 genes in a strip
    assert_equal(whole, cscore_with_covariates(counts[:, :30], depth, covariates, convergence="max"))


def test_an_empty_gene_is_flagged_and_spoils_no_other(golden, synth_a):
    counts, depth, genes = synth_a
    covariates = golden("inputs/synthA_covariates").to_numpy()
    empty = int(np.flatnonzero(counts.sum(axis=0) == 0)[0])
    with_it = cscore_with_covariates(counts[:, [0, 1, empty, 2]], depth, covariates, convergence="max")
    without = cscore_with_covariates(counts[:, [0, 1, 2]], depth, covariates, convergence="max")
    assert with_it.flags.tolist() == ["", "", "no counts", ""]
    assert np.isnan(with_it.p_value[2]).all()
    assert with_it.correlation[2].tolist() == [0, 0, 1, 0]
    rest = np.ix_([0, 1, 3], [0, 1, 3])
    np.testing.assert_allclose(with_it.statistic[rest], without.statistic, rtol=1e-9)
