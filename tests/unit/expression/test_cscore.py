import numpy as np
import pytest

from histoweave.errors import InputError
from histoweave.expression.blocks import InMemory
from histoweave.expression.cscore import EdgeSettings, cscore, fit_moments, upper_triangle


def assert_same(found: np.ndarray, expected: np.ndarray, **tolerance) -> None:
    """Equal up to `tolerance`, with NaN and infinities in the same places."""
    np.testing.assert_allclose(found, expected, equal_nan=True, **tolerance)


@pytest.mark.parametrize("name", ["synthA", "tiny"])
def test_equals_the_r_package(name, golden, synth_a, tiny):
    counts, depth = synth_a[:2] if name == "synthA" else tiny
    result = cscore(counts, depth, convergence="max")
    assert_same(result.correlation, golden(f"cscore/cscore_{name}_est"), rtol=0, atol=1e-9)
    assert_same(result.raw, golden(f"cscore/cscore_{name}_est_raw"), rtol=1e-9, atol=1e-9)
    assert_same(result.statistic, golden(f"cscore/cscore_{name}_test_stat"), rtol=0, atol=1e-9)
    assert_same(result.p_value, golden(f"cscore/cscore_{name}_p_value"), rtol=1e-6, atol=0)
    genes = golden(f"cscore/cscore_{name}_genes")
    assert_same(result.moments.mean, genes["mu"], rtol=1e-11, atol=0)
    assert_same(result.moments.variance, genes["sigma2"], rtol=1e-10, atol=1e-300)


@pytest.mark.parametrize("name", ["synthA", "tiny"])
def test_equals_r_with_the_looser_convergence_rule(name, golden, synth_a, tiny):
    counts, depth = synth_a[:2] if name == "synthA" else tiny
    result = cscore(counts, depth, convergence="q95")
    assert_same(result.correlation, golden(f"cscore/cscore_{name}_est_convq95"), rtol=0, atol=1e-9)


def test_every_update_equals_the_trace_of_r(golden, synth_a, monkeypatch):
    counts, depth, genes = synth_a
    trace = golden("cscore/cscore_synthA_irls_trace").reset_index()
    for most, part in trace.groupby("n_iter"):
        monkeypatch.setattr("histoweave.expression.cscore.MOST_UPDATES", most + 1)
        moments = fit_moments(InMemory(counts, cells=64), depth, convergence="max")
        expected = part.set_index("gene").loc[genes]
        assert_same(moments.mean, expected["mu"], rtol=1e-11, atol=0)
        assert_same(moments.variance, expected["sigma2"], rtol=1e-10, atol=1e-300)


@pytest.mark.parametrize("name", ["synthA", "tiny"])
def test_q_values_are_those_of_the_upper_triangle(name, golden, synth_a, tiny):
    counts, depth = synth_a[:2] if name == "synthA" else tiny
    result = cscore(counts, depth, convergence="max")
    pairs = upper_triangle(result, edges=EdgeSettings("p", 0.005, 0.0))
    expected = golden(f"cscore/cscore_{name}_bh_upper").to_numpy()[pairs["a"], pairs["b"]]
    assert_same(pairs["q_value"], expected, rtol=1e-6, atol=0)


def test_a_gene_and_its_copy_correlate_fully(synth_a):
    counts, depth, genes = synth_a
    result = cscore(counts, depth, convergence="max")
    first, copy = np.flatnonzero(np.isin(genes, ["g000", "g102"]))
    assert result.correlation[first, copy] == pytest.approx(1)


def test_result_does_not_depend_on_the_unit_of_depth(synth_a):
    counts, depth, _ = synth_a
    one, thousand = (cscore(counts, depth * unit, convergence="max") for unit in (1, 1000))
    np.testing.assert_allclose(one.correlation, thousand.correlation, atol=1e-9)
    np.testing.assert_allclose(one.moments.mean, 1000 * thousand.moments.mean)


def test_independent_genes_are_rejected_at_the_nominal_rate(draw):
    depth = draw.integers(500, 5000, 400).astype(float)
    latent = draw.gamma(5.0, 0.001 / 5, (400, 60))
    result = cscore(draw.poisson(depth[:, None] * latent), depth, convergence="max")
    p = result.p_value[np.triu_indices(60, 1)]
    assert 0.03 < np.mean(p < 0.05) < 0.075
    assert np.abs(result.correlation[np.triu_indices(60, 1)]).mean() < 0.15


def test_genes_without_positive_variance_are_flagged_and_uncorrelated(tiny):
    counts, depth = tiny
    result = cscore(counts, depth, convergence="max")
    assert result.flags[3] == "no counts"
    assert result.flags[1] == "variance not positive"
    assert result.correlation[1].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    pairs = upper_triangle(result, edges=EdgeSettings("p", 0.5, 0.0))
    touched = np.isin(pairs["a"], [1, 3]) | np.isin(pairs["b"], [1, 3])
    assert not pairs["defined"][touched].any()
    assert not pairs["edge"][(pairs["a"] == 3) | (pairs["b"] == 3)].any()


def test_edge_rule_takes_p_or_q_and_a_least_correlation(synth_a):
    counts, depth, _ = synth_a
    result = cscore(counts, depth, convergence="max")
    by_p, by_q, strong = (
        upper_triangle(result, edges=EdgeSettings(*rule))["edge"]
        for rule in [("p", 0.005, 0.0), ("q", 0.005, 0.0), ("p", 0.005, 0.3)]
    )
    assert by_q.sum() < by_p.sum()
    assert not (by_q & ~by_p).any()
    assert strong.sum() < by_p.sum()
    assert np.abs(upper_triangle(result, edges=EdgeSettings("p", 0.005, 0.3))["correlation"][strong]).min() >= 0.3


def test_a_cell_without_depth_is_refused(synth_a):
    counts, depth, _ = synth_a
    depth = depth.copy()
    depth[7] = 0
    with pytest.raises(InputError, match=r"1 of 300 cells have no counts \(first: row 7\).*min_counts"):
        cscore(counts, depth, convergence="max")


def by_definition(counts, depth):
    """CS-CORE as the paper writes it, every sum over all cells."""
    x, s = counts.astype(float), depth[:, None]
    mu = (s * x).sum(axis=0) / (s**2).sum()
    fitted = s * mu
    sigma = (s**2 * ((x - fitted) ** 2 - fitted)).sum(axis=0) / (s**4).sum()
    theta, change, updates = mu**2 / sigma, np.inf, 0
    while change > 0.05 and updates <= 10:
        t = np.median(theta[theta > 0])
        w = fitted + (s * mu) ** 2 / t
        mu = (s * x / w).sum(axis=0) / (s**2 / w).sum(axis=0)
        fitted = s * mu
        h = (fitted**2 / t + fitted) ** 2
        sigma = (s**2 * ((x - fitted) ** 2 - fitted) / h).sum(axis=0) / (s**4 / h).sum(axis=0)
        before, theta = theta, mu**2 / sigma
        both = (theta > 0) & (before > 0)
        change, updates = np.abs(np.log(theta[both] / before[both])).max(), updates + 1
    t = np.median(theta[theta > 0])
    w, v = fitted + (s * mu) ** 2 / t, fitted + s**2 * sigma
    a, b, c, d = s * (x - fitted) / w, s**2 / w, s * (x - fitted) / v, s**2 / v
    with np.errstate(invalid="ignore"):
        return mu, sigma, (a.T @ a) / (b.T @ b), (c.T @ c) / np.sqrt(d.T @ d)


@pytest.mark.parametrize("spread", [0.0, 0.5, 2.5])
def test_sums_over_few_depths_equal_the_sums_over_all_cells(spread, draw):
    depth = np.round(draw.lognormal(8, spread, 350)) + 50
    latent = draw.gamma(1.5, 1 / 1.5, (350, 1)) ** draw.choice([0, 1], 40) * draw.gamma(0.8, 0.002, 40)
    counts = draw.poisson(depth[:, None] * latent)
    counts = counts[:, counts.any(axis=0)]
    mean, variance, covariance, statistic = by_definition(counts, depth)
    result = cscore(InMemory(counts, cells=37), depth, convergence="max")
    np.testing.assert_allclose(result.moments.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(result.moments.variance, variance, rtol=1e-8, atol=1e-10 * (mean**2).max())
    np.testing.assert_allclose(result.statistic, statistic, rtol=1e-8, atol=1e-9, equal_nan=True)
    sd = np.sqrt(np.maximum(variance, 0))
    good = np.flatnonzero(variance > 0)
    raw = covariance[np.ix_(good, good)] / np.outer(sd[good], sd[good])
    np.testing.assert_allclose(result.raw[np.ix_(good, good)], raw, rtol=1e-8, atol=1e-9)


def test_genes_with_negative_variance_keep_their_statistic(draw):
    depth = draw.integers(200, 4000, 300).astype(float)
    counts = draw.binomial(1, np.minimum(1, depth[:, None] * np.full(25, 2e-4)))  # less noise than Poisson
    counts[:, :5] = draw.poisson(depth[:, None] * 0.003 * draw.gamma(2, 0.5, (300, 1)))
    result = cscore(counts, depth, convergence="max")
    odd = result.flags == "variance not positive"
    assert odd.sum() >= 10
    statistic = by_definition(counts, depth)[3]
    assert np.isfinite(statistic[odd]).any()
    np.testing.assert_allclose(result.statistic, statistic, rtol=1e-8, atol=1e-9, equal_nan=True)
    assert (result.correlation[odd][:, ~odd] == 0).all()


def test_matrices_are_symmetric_also_beyond_one_strip(draw):
    depth = draw.integers(500, 5000, 60).astype(float)
    result = cscore(draw.poisson(2.0, (60, 300)), depth, convergence="q95")
    for matrix in (result.correlation, result.raw, result.statistic, result.p_value):
        np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(result.correlation), 1)


@pytest.mark.parametrize("cells", [1, 50, 300])
def test_blocks_of_cells_do_not_matter(cells, synth_a):
    counts, depth, _ = synth_a
    whole, parts = (cscore(InMemory(counts, cells=c), depth, convergence="max") for c in (None, cells))
    np.testing.assert_allclose(whole.statistic, parts.statistic, atol=1e-10, equal_nan=True)
    assert whole.moments.updates == parts.moments.updates


def test_no_gene_with_a_variance_gives_zeros_and_flags(draw):
    depth = draw.integers(50, 90, 40).astype(float)
    counts = np.ones((40, 4))
    result = cscore(counts, depth, convergence="max")
    assert set(result.flags) == {"variance not positive"}
    np.testing.assert_array_equal(result.correlation, np.eye(4))
    assert np.isfinite(result.moments.mean).all()
