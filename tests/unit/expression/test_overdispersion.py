import numpy as np
import pytest
from scipy import sparse, stats

from histoweave.expression.count_glm import gene_block
from histoweave.expression.depth_basis import depth_basis
from histoweave.expression.overdispersion import (
    depth_sums,
    fit_intercept,
    fit_offset_model,
    fit_overdispersion,
    overdispersion_trend,
)


def prepared(counts, genes, depth):
    block, basis = gene_block(sparse.csc_matrix(counts), np.asarray(genes)), depth_basis(depth)
    return block, depth, depth_sums(block, depth, basis, basis.at(depth))


def test_model_equals_glmgampoi(golden, synth_a):
    counts, _, names = synth_a
    expected = golden("units/unit_glmgampoi_offset")
    genes = np.flatnonzero(np.isin(names, expected.index))
    model = fit_offset_model(*prepared(counts, genes, counts.sum(axis=1)))
    np.testing.assert_allclose(model.intercept, expected["beta"], atol=1e-8)
    np.testing.assert_allclose(model.trend, expected["disp_trend"], rtol=1e-6)
    small = expected["overdispersion"].to_numpy() < 1e-5
    np.testing.assert_allclose(model.overdispersion[~small], expected["overdispersion"][~small], rtol=1e-2)
    assert np.median(np.abs(model.overdispersion / expected["overdispersion"] - 1)[~small]) < 1e-8
    assert model.overdispersion[small].max() < 1e-5


def test_overdispersion_is_where_the_adjusted_likelihood_is_highest(draw):
    depth = draw.integers(200, 2000, 400).astype(float)
    counts = draw.negative_binomial(2.0, 2.0 / (2.0 + depth[:, None] * np.array([0.002, 0.01])))
    sums = prepared(counts, np.arange(2), depth)[2]
    intercept = np.log(np.array([0.002, 0.01]))
    phi = fit_overdispersion(sums, intercept, start=np.zeros(2))

    def likelihood(gene: int, value: float) -> float:
        mu = np.exp(intercept[gene]) * depth
        log_p = stats.nbinom.logpmf(counts[:, gene], 1 / value, 1 / (1 + mu * value)).sum()
        return log_p - 0.495 * np.log(np.sum(1 / (1 / mu + value)))

    for gene in range(2):
        best = likelihood(gene, phi[gene])
        assert best > likelihood(gene, phi[gene] * 1.01)
        assert best > likelihood(gene, phi[gene] / 1.01)
    np.testing.assert_allclose(phi, 0.5, atol=0.2)


def test_poisson_counts_have_no_overdispersion():
    depth = np.full(50, 100.0)
    counts = np.tile([2.0, 3.0], 25)[:, None]  # varies less than a Poisson count
    phi = fit_overdispersion(prepared(counts, [0], depth)[2], np.log([0.025]), start=np.zeros(1))
    assert phi.tolist() == [0.0]


@pytest.mark.parametrize("n", [20, 300])
def test_trend_of_a_constant_is_that_constant(n, draw):
    np.testing.assert_allclose(overdispersion_trend(draw.uniform(1, 5, n), np.full(n, 0.4)), 0.4)


def test_trend_follows_the_mean_and_ignores_an_outlier(draw):
    mean = np.linspace(1, 10, 400)
    phi = 1 / mean
    phi[200] = 50
    trend = overdispersion_trend(mean, phi)
    np.testing.assert_allclose(trend[100:300], 1 / mean[100:300], rtol=0.05)


@pytest.mark.parametrize("spread", [0.0, 0.4, 2.0])
def test_intercept_solves_the_score_equation_over_all_cells(spread, draw):
    depth = np.round(draw.lognormal(8, spread, 300)) + 20
    counts = draw.negative_binomial(1.5, 1.5 / (1.5 + depth[:, None] * np.array([1e-4, 2e-3, 0.05])))
    phi = np.array([0.0, 0.6, 3.0])
    b = fit_intercept(prepared(counts, range(3), depth)[2], phi, start=np.log((counts / depth[:, None]).mean(axis=0)))
    mu = np.exp(b) * depth[:, None]
    score = ((counts - mu) / (1 + mu * phi)).sum(axis=0)
    np.testing.assert_allclose(score / counts.sum(axis=0), 0, atol=1e-9)


def test_counts_of_full_length_protocols_are_fitted_too(draw):
    depth = np.round(draw.lognormal(14, 0.5, 500))
    counts = draw.negative_binomial(2.0, 2.0 / (2.0 + depth[:, None] * np.array([5e-4, 0.02])))  # up to 1e5
    model = fit_offset_model(*prepared(counts, range(2), depth))
    np.testing.assert_allclose(model.overdispersion, 0.5, atol=0.1)
    np.testing.assert_allclose(np.exp(model.intercept), [5e-4, 0.02], rtol=0.1)
