"""Regression of counts on sequencing depth, for many genes at once.

Poisson and negative binomial models whose only covariate is the depth, as sctransform fits them in its
first step: version 1 by a Poisson regression and the maximum-likelihood theta of R's MASS, version 2 by
the offset model of glmGamPoi (doi:10.1093/bioinformatics/btaa1009). Arrays are (gene, cell); the counts
come as CSC (cell, gene) and only their non-zero entries enter terms that contain them.

Newton's method runs for all genes of a block together; genes that have converged leave the block.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse, special

_SERIES_FROM = 20.0


@dataclass(frozen=True)
class GeneBlock:
    """Non-zero counts of some genes, ready for sums.

    genes : number; cells : number; gene, cell, count : (nonzero,) positions and values
    pair_gene, pair_count, pair_cells : (pair,) each different (gene, count > 0) and its number of cells
    """

    genes: int
    cells: int
    gene: np.ndarray
    cell: np.ndarray
    count: np.ndarray
    pair_gene: np.ndarray
    pair_count: np.ndarray
    pair_cells: np.ndarray

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sum (gene,) of `values` (nonzero,)."""
        return np.bincount(self.gene, values, minlength=self.genes)

    def sum_pairs(self, values: np.ndarray) -> np.ndarray:
        """Sum (gene,) over all non-zero counts of `values` (pair,), given once per different count."""
        return np.bincount(self.pair_gene, values * self.pair_cells, minlength=self.genes)

    def at(self, dense: np.ndarray) -> np.ndarray:
        """Entries (nonzero,) of `dense` (gene, cell) where a count is."""
        return dense[self.gene, self.cell]

    def subset(self, genes: np.ndarray) -> "GeneBlock":
        """Block of the genes (sorted positions)."""
        number = np.full(self.genes, -1)
        number[genes] = np.arange(len(genes))
        entries, pairs = number[self.gene] >= 0, number[self.pair_gene] >= 0
        return GeneBlock(
            len(genes),
            self.cells,
            number[self.gene[entries]],
            self.cell[entries],
            self.count[entries],
            number[self.pair_gene[pairs]],
            self.pair_count[pairs],
            self.pair_cells[pairs],
        )


def gene_block(counts: sparse.csc_matrix, genes: np.ndarray) -> GeneBlock:
    """Block of the columns `genes` of `counts` (cell, gene)."""
    part = counts[:, genes]
    gene = np.repeat(np.arange(len(genes)), np.diff(part.indptr))
    count = part.data.astype(np.float64)
    top = int(count.max(initial=0)) + 1
    keys, cells = np.unique(gene * top + count.astype(np.int64), return_counts=True)
    pairs = (keys // top, (keys % top).astype(np.float64), cells.astype(np.float64))
    return GeneBlock(len(genes), counts.shape[0], gene, part.indices, count, *pairs)


def digamma_gain(count: np.ndarray, a: np.ndarray) -> np.ndarray:
    """psi(a + count) - psi(a), accurate also for large `a`, where the difference would cancel."""
    series = a >= _SERIES_FROM
    low = np.where(series, _SERIES_FROM, a)
    gain = special.psi(low + count) - special.psi(low)
    if series.any():
        gain = np.where(series, _digamma_series(count, np.where(series, a, _SERIES_FROM)), gain)
    return gain


def _digamma_series(count: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Difference of the asymptotic series ln a - 1/2a - 1/12a^2 + 1/120a^4 - 1/252a^6, term by term."""
    u, v = 1 / a, 1 / (a + count)
    first = -count * u * v  # v - u
    square = first * (u + v)
    fourth = square * (u**2 + v**2)
    sixth = square * (u**4 + u**2 * v**2 + v**4)
    return np.log1p(count * u) - first / 2 - square / 12 + fourth / 120 - sixth / 252


def trigamma(x: np.ndarray) -> np.ndarray:
    """Second derivative of log gamma."""
    return special.zeta(2.0, x)


def poisson_regression(
    block: GeneBlock, x: np.ndarray, *, tolerance: float, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope (gene,) of ``log E y = b0 + b1 x`` for each gene; x : (cell,).

    Newton's method from (log mean, 0) until the step's absolute sum is <= `tolerance`, at most `most` steps.
    """
    b0 = np.log(block.sum(block.count) / block.cells)
    b1 = np.zeros(block.genes)
    y0, y1 = block.sum(block.count), block.sum(block.count * x[block.cell])
    active = np.arange(block.genes)
    for _ in range(most):
        mu = np.exp(b0[active, None] + b1[active, None] * x)  # (gene, cell)
        m0, m1, m2 = mu.sum(axis=1), mu @ x, mu @ x**2
        g0, g1 = y0[active] - m0, y1[active] - m1
        det = m0 * m2 - m1 * m1
        d0, d1 = (m2 * g0 - m1 * g1) / det, (m0 * g1 - m1 * g0) / det
        b0[active] += d0
        b1[active] += d1
        active = active[np.abs(d0) + np.abs(d1) > tolerance]
        if not len(active):
            break
    return b0, b1


def theta_ml(block: GeneBlock, mu: np.ndarray, *, limit: int, tolerance: float) -> np.ndarray:
    """Maximum-likelihood theta (gene,) of a negative binomial with means `mu` (gene, cell), as MASS does it.

    At most ``limit - 1`` Newton steps, used as they are if they did not converge; a negative theta becomes 0.
    """
    n = block.cells
    # sum (y/mu - 1)^2 over all cells: the zeros add 1 each
    ratio = block.count / block.at(mu)
    theta = n / (n + block.sum(ratio**2 - 2 * ratio))
    active, part = np.arange(block.genes), block
    for _ in range(limit - 1):
        t = np.abs(theta[active])
        step = _theta_step(part, mu, t)
        theta[active] = t + step
        stay = np.flatnonzero(np.abs(step) > tolerance)
        if not len(stay):
            break
        if len(stay) < len(active):
            active, part, mu = active[stay], part.subset(stay), mu[stay]
    return np.where(theta < 0, 0.0, theta)


def _theta_step(block: GeneBlock, mu: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Score over information of theta."""
    n = block.cells
    total = mu + t[:, None]
    inverse = 1 / total  # (gene, cell)
    log_sum = np.log(total, out=total).sum(axis=1)
    i1, i2 = inverse.sum(axis=1), np.einsum("gc,gc->g", inverse, inverse)
    at = block.at(inverse)
    y1, y2 = block.sum(block.count * at), block.sum(block.count * at * at)
    of_pair = t[block.pair_gene]
    gain = block.sum_pairs(digamma_gain(block.pair_count, of_pair))
    curve = block.sum_pairs(trigamma(of_pair) - trigamma(of_pair + block.pair_count))
    score = gain + n * np.log(t) + n - log_sum - y1 - t * i1
    information = curve - n / t + 2 * i1 - y2 - t * i2
    return score / information
