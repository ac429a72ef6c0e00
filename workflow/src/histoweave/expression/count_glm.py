"""Regression of counts on sequencing depth, for many genes at once.

Poisson and negative binomial models whose only covariate is the depth, as sctransform fits them in its
first step: version 1 by a Poisson regression and the maximum-likelihood theta of R's MASS, version 2 by
the offset model of glmGamPoi (doi:10.1093/bioinformatics/btaa1009). Arrays are (gene, cell); the counts
come as CSC (cell, gene) and only their non-zero entries enter terms that contain them.

Newton's method runs for all genes of a block together; genes that have converged leave the block.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from histoweave.expression.gamma_sums import CountTable, count_table


@dataclass(frozen=True)
class GeneBlock:
    """Non-zero counts of some genes, ready for sums.

    genes : number; cells : number; gene, cell, count : (nonzero,) positions and values
    table : the same counts by size
    """

    genes: int
    cells: int
    gene: np.ndarray
    cell: np.ndarray
    count: np.ndarray
    table: CountTable

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sum (gene,) of `values` (nonzero,)."""
        return np.bincount(self.gene, values, minlength=self.genes)

    def at(self, dense: np.ndarray) -> np.ndarray:
        """Entries (nonzero,) of `dense` (gene, cell) where a count is."""
        return dense[self.gene, self.cell]

    def subset(self, genes: np.ndarray) -> "GeneBlock":
        """Block of the genes (sorted positions)."""
        number = np.full(self.genes, -1)
        number[genes] = np.arange(len(genes))
        kept = number[self.gene] >= 0
        table = self.table.subset(number, len(genes))
        return GeneBlock(len(genes), self.cells, number[self.gene[kept]], self.cell[kept], self.count[kept], table)


def gene_block(counts: sparse.csc_matrix, genes: np.ndarray) -> GeneBlock:
    """Block of the columns `genes` of `counts` (cell, gene)."""
    part = counts[:, genes]
    gene = np.repeat(np.arange(len(genes)), np.diff(part.indptr))
    count = part.data.astype(np.float64)
    table = count_table(gene, count, genes=len(genes))
    return GeneBlock(len(genes), counts.shape[0], gene, part.indices, count, table)


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
    gain, curve = block.table.digamma(1 / t), block.table.trigamma(1 / t) / t**2
    score = gain + n * np.log(t) + n - log_sum - y1 - t * i1
    information = curve - n / t + 2 * i1 - y2 - t * i2
    return score / information
