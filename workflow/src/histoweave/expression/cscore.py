"""CS-CORE: co-expression of genes free of sequencing depth (doi:10.1038/s41467-023-40503-7).

| symbol   | name here   | axes          | meaning                                                    |
|----------|-------------|---------------|------------------------------------------------------------|
| x_ij     | counts      | (cell, gene)  | UMI counts                                                 |
| s_i      | depth       | (cell,)       | total counts of the cell over all genes, > 0               |
| mu_j     | mean        | (gene,)       | expression per unit of depth                               |
| sigma_jj | variance    | (gene,)       | variance of the latent expression; may come out negative   |
| theta_j  | `thetas`   | (gene,)       | mu^2 / sigma; its positive median enters all weights       |
| w, h, V  | (inlined)   | (cell, gene)  | weights of the mean, of the variance, and of the test      |
| L_ik     | basis.at    | (cell, node)  | weights that turn values at few depths into values at s_i  |

Model: x_ij | z_ij ~ Poisson(s_i z_ij), E z = mu, Cov z = Sigma; three weighted least-squares fits.
With M = s mu and t the median theta, w = M(1 + M/t), so mu cancels in every ratio and one factor
g = 1/(1 + M/t) serves all three fits. It is a smooth function of the depth, so all sums in which the counts
enter only as x or x^2 are taken over a few depths (`depth_basis`): the regressions go through the cells
once, and of the four products of (cell, gene) matrices in covariance and test, two are left.

Deviations: genes without positive variance keep their statistic and p-value, as in the R package, but
are flagged; cells without depth must be left out before (R returns NaN for everything).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse, special
from scipy.linalg.blas import dsyrk

from histoweave.expression.blocks import Blocks, as_blocks, check_depth
from histoweave.expression.depth_basis import depth_basis
from histoweave.expression.pvalues import benjamini_hochberg

TOLERANCE = 0.05
MOST_UPDATES = 11
_CELLS_AT_ONCE = 1024
_CACHED_ENTRIES = 2**14
_GENES_PER_STRIP = 256


@dataclass(frozen=True)
class CscoreSettings:
    """How the co-expression is estimated."""

    section: ClassVar[str] = "expression.cscore"
    convergence: str
    covariates: tuple[str, ...]


@dataclass(frozen=True)
class EdgeSettings:
    """When two genes count as connected."""

    section: ClassVar[str] = "expression.edges"
    by: str
    threshold: float
    min_correlation: float


@dataclass(frozen=True)
class Moments:
    """Mean and variance of the latent expression, each (gene,), and the number of updates and last change."""

    mean: np.ndarray
    variance: np.ndarray
    updates: int
    change: float


@dataclass(frozen=True)
class Coexpression:
    """Outcome of CS-CORE.

    correlation : (gene, gene) in [-1, 1], 0 for genes without positive variance, diagonal 1
    raw : (gene, gene) before that; statistic, p_value : (gene, gene), NaN where undefined
    moments : of each gene; flags : (gene,) "" | "no counts" | "variance not positive"
    """

    correlation: np.ndarray
    raw: np.ndarray
    statistic: np.ndarray
    p_value: np.ndarray
    moments: Moments
    flags: np.ndarray


def cscore(counts: Blocks | sparse.spmatrix | np.ndarray, depth: np.ndarray, *, convergence: str) -> Coexpression:
    """Co-expression of every pair of genes of `counts` (cell, gene; read twice), with a test of independence.

    depth : (cell,) total counts over all genes, > 0
    convergence : ``max`` (the largest change of any gene, as in the paper) or ``q95`` (R's C++ default)
    Raises InputError if a cell has no depth.
    """
    blocks = as_blocks(counts, cells=_CELLS_AT_ONCE)
    depth = np.asarray(depth, dtype=np.float64)
    check_depth(depth)
    moments = fit_moments(blocks, depth, convergence=convergence)
    covariance, statistic = _pairs(blocks, depth, moments)
    raw, correlation = to_correlations(covariance, moments.variance)
    p_value = _symmetric(two_sided, statistic)
    return Coexpression(correlation, raw, statistic, p_value, moments, flag_genes(moments))


def upper_triangle(result: Coexpression, *, edges: EdgeSettings) -> dict[str, np.ndarray]:
    """Columns with one entry per pair of genes a < b, row by row: positions, numbers, BH q over these pairs, edge.

    ``edge`` holds where p (or q) is below the threshold and |correlation| reaches the minimum;
    ``defined`` where both genes have a positive variance.
    """
    a, b = np.triu_indices(len(result.flags), k=1)
    p = result.p_value[a, b]
    q = benjamini_hochberg(p)
    correlation = result.correlation[a, b]
    with np.errstate(invalid="ignore"):
        edge = ((p if edges.by == "p" else q) < edges.threshold) & (np.abs(correlation) >= edges.min_correlation)
    good = result.flags == ""
    numbers = {"correlation": correlation, "statistic": result.statistic[a, b], "p_value": p, "q_value": q}
    return {"a": a, "b": b, **numbers, "edge": edge, "defined": good[a] & good[b]}


def fit_moments(counts: Blocks, depth: np.ndarray, *, convergence: str) -> Moments:
    """Mean and variance of each gene by iteratively re-weighted least squares; `counts` (cell, gene) are read once."""
    sums = _sums_over_cells(counts, depth)
    mean, variance = sums.start
    theta = thetas(mean, variance)
    change, updates = np.inf, 0
    while change > TOLERANCE and updates < MOST_UPDATES:
        mean, variance = _update(sums, mean, median_positive(theta))
        before, theta = theta, thetas(mean, variance)
        change, updates = largest_change(theta, before, convergence), updates + 1
    return Moments(mean, variance, updates, change)


@dataclass(frozen=True)
class _Sums:
    """What the regressions need of the counts, as sums over cells with the weights L_ik of `DepthBasis`.

    rate, rate2 : (gene, node) sums of (x/s) L and (x/s)^2 L; one, inverse : (node,) sums of L and L/s
    nodes : (node,) depths; start : unweighted mean and variance, (gene,) each
    Counts enter as rates x/s beside s g, since neither grows with the depth: no digits are lost on deep cells.
    """

    rate: np.ndarray
    rate2: np.ndarray
    one: np.ndarray
    inverse: np.ndarray
    nodes: np.ndarray
    start: tuple[np.ndarray, np.ndarray]


def _sums_over_cells(counts: Blocks, depth: np.ndarray) -> _Sums:
    basis = depth_basis(depth)
    m, genes = len(basis.nodes), counts.shape[1]
    rate, rate2 = np.zeros((genes, m + 2)), np.zeros((genes, m + 1))
    of_depth = np.zeros((2, m))
    for rows, block in counts:
        s = depth[rows, None]
        at = basis.at(depth[rows])  # (cell, node)
        x = block.toarray()
        x /= s
        rate += x.T @ np.hstack([at, s**2, s**4])
        rate2 += np.square(x, out=x).T @ np.hstack([at, s**4])
        of_depth += np.stack([np.ones(len(s)), 1 / depth[rows]]) @ at
    mean = rate[:, -2] / (depth @ depth)
    # sigma = sum s^2 ((x - M)^2 - M) / sum s^4, the square expanded
    fourth = np.sum(depth**4)
    numerator = rate2[:, -1] - 2 * mean * rate[:, -1] + mean**2 * fourth - mean * np.sum(depth**3)
    return _Sums(rate[:, :m], rate2[:, :m], *of_depth, basis.nodes, (mean, numerator / fourth))


def _update(sums: _Sums, mean: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean, then variance, from the weights that `mean` and `t` give."""
    g = sums.nodes * _weight(mean[:, None], sums.nodes, t)  # s g (gene, node)
    mean = np.einsum("gk,gk->g", sums.rate, g) / (g @ sums.one)
    g = (sums.nodes * _weight(mean[:, None], sums.nodes, t)) ** 2
    residual = np.einsum("gk,gk->g", sums.rate2, g) - 2 * mean * np.einsum("gk,gk->g", sums.rate, g)
    bottom = g @ sums.one
    return mean, (residual + mean**2 * bottom - mean * (g @ sums.inverse)) / bottom


def _weight(mean: np.ndarray, s: np.ndarray, t: float) -> np.ndarray:
    """g with s x / w = x g / mu; `mean` and `s` are broadcast, (gene, 1) and (cell,) or (gene,) and (cell, 1).

    A gene without counts, and no positive theta at all, give weight 1.
    """
    if not np.isfinite(t):
        return np.broadcast_to(s, np.broadcast_shapes(mean.shape, s.shape)).copy()
    g = (mean / t) * s
    g += 1
    np.reciprocal(g, out=g)
    return np.where(mean > 0, g, s) if (mean <= 0).any() else g


def thetas(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """mu^2 / sigma (gene,); negative where the variance is, NaN for a gene without counts."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean**2 / variance


def median_positive(theta: np.ndarray) -> float:
    """Median of the positive entries, NaN if there are none."""
    positive = theta[theta > 0]
    return float(np.median(positive)) if len(positive) else np.nan


def largest_change(theta: np.ndarray, before: np.ndarray, convergence: str) -> float:
    """Largest (or 95th percentile of the) change of ln theta between updates, over genes where both are positive."""
    both = (theta > 0) & (before > 0) & np.isfinite(theta) & np.isfinite(before)
    if not both.any():
        return 0.0
    steps = np.abs(np.log(theta[both] / before[both]))
    return float(steps.max() if convergence == "max" else np.quantile(steps, 0.95))


def _pairs(counts: Blocks, depth: np.ndarray, moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Latent covariance and statistic of every pair, (gene, gene) each, from one reading of `counts` (cell, gene).

    The sums over residuals are products of a matrix with itself, of which one half is computed. Those over weights
    alone are products of functions of the depth and take a few terms per pair, whatever the number of cells;
    only V of genes with a variance below 0 has a pole among the depths, and is summed over the cells.
    """
    mean, variance = moments.mean, moments.variance
    t = median_positive(thetas(mean, variance))
    basis = depth_basis(depth)
    odd = np.flatnonzero(~((mean > 0) & (variance >= 0)))
    top, test_top = (np.zeros((len(mean), len(mean)), order="F") for _ in range(2))
    odd_bottom, odd_nodes = np.zeros((len(odd), len(odd)), order="F"), np.zeros((len(odd), len(basis.nodes)))
    for rows, block in counts:
        s = depth[rows, None]
        residual, weighted = _weighted_residuals(block, s, mean, variance, t)
        _add_square(top, weighted)
        _add_square(test_top, residual)
        with np.errstate(divide="ignore", invalid="ignore"):
            test = s / (s * variance[odd] + mean[odd])  # s^2 / V
            odd_nodes += test.T @ basis.at(depth[rows])
        _add_square(odd_bottom, test)
    # the sum of L L' is R'R, so that squares stay positive
    root, nodes = np.linalg.qr(basis.at(depth), mode="r"), basis.nodes[:, None]  # (node, node), (node, 1)
    bottom = _square(root @ (nodes * _weight(mean, nodes, t)))
    with np.errstate(divide="ignore", invalid="ignore"):
        at_nodes = nodes / (nodes * variance + mean)  # (node, gene), s^2 / V
        at_nodes[:, odd] = 0
        test_bottom = _square(root @ at_nodes)
        _put_odd(test_bottom, odd, odd_bottom, odd_nodes @ at_nodes)
    return _symmetric(np.divide, top, bottom), _symmetric(lambda a, b: a / np.sqrt(b), test_top, test_bottom)


def _weighted_residuals(
    counts: sparse.csr_matrix, s: np.ndarray, mean: np.ndarray, variance: np.ndarray, t: float
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (cell, gene) times s/V and times s/w (up to mu), made piece by piece in the processor's cache."""
    by_test = counts.toarray()
    by_weight = np.empty_like(by_test)
    step = max(1, _CACHED_ENTRIES // max(1, len(mean)))
    for begin in range(0, len(s), step):
        cells = slice(begin, begin + step)
        residual, factor = by_test[cells], by_weight[cells]
        residual -= np.multiply(s[cells], mean, out=factor)
        with np.errstate(divide="ignore", invalid="ignore"):
            factor[:] = residual * _weight(mean, s[cells], t)
            residual /= s[cells] * variance + mean
    return by_test, by_weight


def _add_square(total: np.ndarray, factor: np.ndarray) -> None:
    """Add factor' factor to the lower half of `total` (gene, gene, Fortran order); factor : (cell, gene)."""
    if total.size:
        dsyrk(1.0, factor.T, beta=1.0, c=total, lower=1, overwrite_c=1)


def _square(factor: np.ndarray) -> np.ndarray:
    """Lower half of factor' factor, (gene, gene) in Fortran order; factor : (row, gene)."""
    return dsyrk(1.0, np.ascontiguousarray(factor).T, lower=1)


def _put_odd(lower: np.ndarray, odd: np.ndarray, among: np.ndarray, with_all: np.ndarray) -> None:
    """Put the entries of the genes `odd` into `lower`: `among` them (odd, odd), and `with_all` (odd, gene)."""
    for number, gene in enumerate(odd):
        lower[gene, :gene], lower[gene:, gene] = with_all[number, :gene], with_all[number, gene:]
    lower[np.ix_(odd, odd)] = among


def _symmetric(function: Callable[..., np.ndarray], *lower: np.ndarray) -> np.ndarray:
    """`function`, entry by entry, of matrices (gene, gene) of which the lower halves are given; returned whole."""
    whole = np.empty_like(lower[0])
    for begin in range(0, len(whole), _GENES_PER_STRIP):
        genes = slice(begin, begin + _GENES_PER_STRIP)
        with np.errstate(divide="ignore", invalid="ignore"):
            strip = function(*(half[begin:, genes] for half in lower))
        corner = strip[: strip.shape[1]]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T
        whole[begin:, genes], whole[genes, begin:] = strip, strip.T
    return whole


def two_sided(statistic: np.ndarray) -> np.ndarray:
    """P-value of a standard normal statistic, exact far into the tail; NaN stays NaN."""
    return special.erfc(np.abs(statistic) / np.sqrt(2))


def to_correlations(covariance: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation as computed (may be NaN or beyond 1), and as it is used."""
    sd = np.sqrt(np.maximum(variance, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = covariance / np.outer(sd, sd)
    bad = ~np.isfinite(np.diag(raw))
    used = np.clip(raw, -1, 1)
    used[bad] = used[:, bad] = 0
    np.fill_diagonal(used, 1)
    return raw, used


def flag_genes(moments: Moments) -> np.ndarray:
    """Why a gene has no correlation (gene,), empty where it has one."""
    flags = np.where(moments.variance > 0, "", "variance not positive").astype(object)
    flags[moments.mean <= 0] = "no counts"
    return flags
