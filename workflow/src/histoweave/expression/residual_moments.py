"""Mean and variance of every gene's Pearson residuals, visiting only the counts that are not zero.

| symbol   | name here  | axes          | meaning                                                          |
|----------|------------|---------------|------------------------------------------------------------------|
| z_ij     | z          | (cell, gene)  | (y - mu)/sqrt(V), cut at +-clip; mu, V as in `sctransform`       |
| z0_j(s)  | z0         | (gene, depth) | the residual of a zero count at depth s: -mu/sqrt(V)             |
| s'_j     | `_kinks`   | (gene,)       | depth below which V is the floor; z0 is smooth on either side    |
| L_ik     | at         | (cell, node)  | weights of `DepthBasis`                                          |

    sum_i z_ij = sum_i z0_j(s_i) + sum over non-zero counts of z_ij - z0_j(s_i),   and the same of squares.

z0 is a function of the depth, so its sum over all cells takes a few nodes on either side of the kink, with
the weights summed over the cells in the order of their depth. Genes whose z0 is cut, or depends steeply on
depth, are summed over the cells. The work grows with the non-zero counts, not with cells x genes.
"""

import numpy as np

from histoweave.expression.blocks import Blocks, Subset
from histoweave.expression.depth_basis import depth_basis
from histoweave.expression.sctransform import Model

# Slopes on log10 depth, in units of ln 10 (proportional to depth), for which the nodes are dense enough
_STEEPEST = 2.0
_GENES_AT_ONCE = 32


def residual_moments(
    counts: Blocks, depth: np.ndarray, model: Model, *, clip: float, floor: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (ddof 1), (gene,) each, of the clipped residuals of every gene of the model.

    counts : (cell, gene), read once; depth : (cell,), > 0; floor : least variance V
    """
    n, curves = counts.shape[0], _Curves(model, clip, floor)
    total, squares = _sums_of_zeros(curves, depth)
    log_depth = np.log10(depth)
    for rows, block in Subset(counts, cells=None, genes=model.genes):
        gene = block.indices
        cell = np.repeat(log_depth[rows], np.diff(block.indptr))
        mu, sd = curves.at(gene, cell)
        z0, z = np.maximum(-mu / sd, -clip), np.clip((block.data - mu) / sd, -clip, clip)
        total += np.bincount(gene, z - z0, minlength=len(total))
        squares += np.bincount(gene, (z - z0) * (z + z0), minlength=len(total))
    mean = total / n
    return mean, (squares - n * mean**2) / (n - 1)


class _Curves:
    """mu and sqrt(V) of the genes of a model as functions of log10 depth."""

    def __init__(self, model: Model, clip: float, floor: float) -> None:
        columns = (model.table[name].to_numpy() for name in ("theta", "intercept", "slope"))
        theta, self.intercept, self.slope = columns
        self.shape, self.clip, self.floor = 1 / theta, clip, floor

    def at(self, gene: np.ndarray, log_depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """mu and sqrt(V) of genes (positions) at depths, which are broadcast."""
        mu = np.exp(self.intercept[gene] + self.slope[gene] * log_depth)
        return mu, np.sqrt(np.maximum(mu + mu * mu * self.shape[gene], self.floor))

    def zero(self, gene: np.ndarray, log_depth: np.ndarray) -> np.ndarray:
        """z0, cut at -clip."""
        mu, sd = self.at(gene, log_depth)
        return np.maximum(-mu / sd, -self.clip)


def _sums_of_zeros(curves: _Curves, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums (gene,) of z0 and of its square over all cells."""
    ordered = np.sort(depth)
    basis = depth_basis(ordered, steepness=_STEEPEST)
    up_to = np.zeros((len(depth) + 1, len(basis.nodes)))
    np.cumsum(basis.at(ordered), axis=0, out=up_to[1:])
    ends, nodes = np.log10(ordered[[0, -1]]), np.log10(basis.nodes)
    genes = np.arange(len(curves.slope))
    steep = (curves.slope < 0) | (curves.slope > _STEEPEST * np.log(10))
    mu, sd = curves.at(genes[:, None], ends)
    by_cell = steep | (mu / sd > curves.clip).any(axis=1)
    total, squares = np.zeros(len(genes)), np.zeros(len(genes))
    for part in np.array_split(genes[by_cell], by_cell.sum() // _GENES_AT_ONCE + 1):
        z0 = curves.zero(part[:, None], np.log10(ordered))  # (gene, cell)
        total[part], squares[part] = z0.sum(axis=1), np.einsum("gc,gc->g", z0, z0)
    smooth = genes[~by_cell]
    split = np.searchsorted(np.log10(ordered), _kinks(curves, smooth))
    mu = np.exp(curves.intercept[smooth, None] + curves.slope[smooth, None] * nodes)  # (gene, node)
    below = mu / np.sqrt(curves.floor) if curves.floor > 0 else np.zeros_like(mu)
    above = np.sqrt(mu / (1 + mu * curves.shape[smooth, None]))
    lower, upper = up_to[split], up_to[-1] - up_to[split]
    total[smooth] = -np.einsum("gk,gk->g", lower, below) - np.einsum("gk,gk->g", upper, above)
    squares[smooth] = np.einsum("gk,gk->g", lower, below**2) + np.einsum("gk,gk->g", upper, above**2)
    return total, squares


def _kinks(curves: _Curves, genes: np.ndarray) -> np.ndarray:
    """log10 depth (gene,) at which mu + mu^2/theta reaches the floor; -Inf without a floor."""
    if curves.floor <= 0:
        return np.full(len(genes), -np.inf)
    mu = 2 * curves.floor / (1 + np.sqrt(1 + 4 * curves.floor * curves.shape[genes]))
    with np.errstate(divide="ignore"):
        return (np.log(mu) - curves.intercept[genes]) / curves.slope[genes]
