import numpy as np
import pytest
from scipy import sparse

from histoweave.errors import InputError
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
        moments = fit_moments(sparse.csc_matrix(counts), depth, convergence="max")
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
