import mpmath
import numpy as np
import pytest

from histoweave.expression.gamma_sums import count_table


def table_of(counts):
    """counts : (cell, gene)."""
    cell, gene = np.nonzero(counts)
    return count_table(gene, counts[cell, gene].astype(float), genes=counts.shape[1])


@pytest.mark.parametrize("phi", [1e-16, 1e-8, 1e-3, 0.7, 40.0, 1e9])
@pytest.mark.parametrize("count", [1, 7, 255, 256, 257, 300, 4000, 10**6])
def test_differences_keep_their_digits(phi, count):
    table = table_of(np.array([[count]]))
    with mpmath.workdps(60):
        a = 1 / mpmath.mpf(phi)
        gain = float(mpmath.digamma(a + count) - mpmath.digamma(a))
        curve = float((mpmath.psi(1, a) - mpmath.psi(1, a + count)) / mpmath.mpf(phi) ** 2)
    assert table.digamma(np.array([phi]))[0] == pytest.approx(gain, rel=1e-12)
    assert table.trigamma(np.array([phi]))[0] == pytest.approx(curve, rel=1e-12)


def test_sums_go_over_the_cells_of_each_gene(draw):
    counts = np.column_stack([draw.poisson(3.0, 50), np.zeros(50, int), draw.poisson(250.0, 50)])
    phi = np.array([0.5, 1.0, 2.0])
    found = table_of(counts).digamma(phi)
    each = [[sum(1 / (1 / p + k) for k in range(y)) for y in column] for p, column in zip(phi, counts.T, strict=True)]
    np.testing.assert_allclose(found, np.sum(each, axis=1), rtol=1e-12)
    assert found[1] == 0


def test_a_subset_gives_the_same_sums(draw):
    counts = draw.negative_binomial(0.3, 0.001, (40, 6))  # many beyond 256
    phi = draw.uniform(0.1, 2, 6)
    table, kept = table_of(counts), np.array([1, 3, 4])
    number = np.full(6, -1)
    number[kept] = np.arange(3)
    part = table.subset(number, 3)
    np.testing.assert_allclose(part.digamma(phi[kept]), table.digamma(phi)[kept], rtol=1e-13)
    np.testing.assert_allclose(part.trigamma(phi[kept]), table.trigamma(phi)[kept], rtol=1e-13)


def test_no_counts_at_all_give_zero():
    table = table_of(np.zeros((5, 2), int))
    np.testing.assert_array_equal(table.digamma(np.ones(2)), [0, 0])
    np.testing.assert_array_equal(table.trigamma(np.ones(2)), [0, 0])
