import numpy as np
import pytest
from scipy import sparse

from histoweave.expression.count_glm import gene_block, poisson_regression, theta_ml


@pytest.fixture
def block(synth_a, golden):
    counts, _, names = synth_a
    genes = np.flatnonzero(np.isin(names, golden("units/unit_poisson_thetaml").index))
    return gene_block(sparse.csc_matrix(counts), genes), np.log10(counts.sum(axis=1))


def test_regression_and_theta_equal_r(block, golden):
    genes, log_depth = block
    expected = golden("units/unit_poisson_thetaml")
    b0, b1 = poisson_regression(genes, log_depth, tolerance=1e-9, most=98)
    np.testing.assert_allclose(b0, expected["intercept"], rtol=1e-10)
    np.testing.assert_allclose(b1, expected["slope"], rtol=1e-10)
    mu = np.exp(b0[:, None] + b1[:, None] * log_depth)
    theta = theta_ml(genes, mu, limit=10, tolerance=np.finfo(float).eps ** 0.25)
    np.testing.assert_allclose(theta, expected["theta_ml"], rtol=1e-6)


def test_regression_solves_the_score_equations(block):
    genes, log_depth = block
    b0, b1 = poisson_regression(genes, log_depth, tolerance=1e-9, most=98)
    mu = np.exp(b0[:, None] + b1[:, None] * log_depth)
    np.testing.assert_allclose(mu.sum(axis=1), genes.sum(genes.count), rtol=1e-9)
    np.testing.assert_allclose(mu @ log_depth, genes.sum(genes.count * log_depth[genes.cell]), rtol=1e-9)


def test_block_sums_and_subsets(draw):
    dense = draw.poisson(0.7, (30, 6)).astype(float)
    genes = gene_block(sparse.csc_matrix(dense), np.array([4, 1, 2]))
    np.testing.assert_allclose(genes.sum(genes.count), dense[:, [4, 1, 2]].sum(axis=0))
    np.testing.assert_array_equal(genes.at(dense[:, [4, 1, 2]].T), genes.count)
    part = genes.subset(np.array([0, 2]))
    np.testing.assert_allclose(part.sum(part.count), dense[:, [4, 2]].sum(axis=0))
    # with phi = 0 each count adds itself
    np.testing.assert_allclose(part.table.trigamma(np.zeros(2)), dense[:, [4, 2]].sum(axis=0))
