"""CS-CORE: co-expression of genes free of sequencing depth (doi:10.1038/s41467-023-40503-7).

| symbol   | name here   | axes          | meaning                                                    |
|----------|-------------|---------------|------------------------------------------------------------|
| x_ij     | counts      | (cell, gene)  | UMI counts                                                 |
| s_i      | depth       | (cell,)       | total counts of the cell over all genes, > 0               |
| mu_j     | mean        | (gene,)       | expression per unit of depth                               |
| sigma_jj | variance    | (gene,)       | variance of the latent expression; may come out negative   |
| theta_j  | `thetas`   | (gene,)       | mu^2 / sigma; its positive median enters all weights       |
| w, h, V  | (inlined)   | (cell, gene)  | weights of the mean, of the variance, and of the test      |

Model: x_ij | z_ij ~ Poisson(s_i z_ij), E z = mu, Cov z = Sigma; three weighted least-squares fits.
With M = s mu and t the median theta, w = M(1 + M/t), so mu cancels in every ratio and one factor
g = 1/(1 + M/t) serves all three fits. What is zero in the counts never enters a sum over the counts.

Deviations: genes without positive variance keep their statistic and p-value, as in the R package, but
are flagged; cells without depth must be left out before (R returns NaN for everything).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import sparse, special
from scipy.linalg.blas import dsyrk

from histoweave.expression.blocks import check_depth
from histoweave.expression.pvalues import benjamini_hochberg

TOLERANCE = 0.05
MOST_UPDATES = 11
_GENES_PER_BLOCK = 32
_DENSE_ENTRIES = 2**24
_CELLS_PER_BLOCK = 640


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


def cscore(counts: sparse.spmatrix | np.ndarray, depth: np.ndarray, *, convergence: str) -> Coexpression:
    """Co-expression of every pair of genes of `counts` (cell, gene), with a test of independence.

    depth : (cell,) total counts over all genes, > 0
    convergence : ``max`` (the largest change of any gene, as in the paper) or ``q95`` (R's C++ default)
    Raises InputError if a cell has no depth.
    """
    counts = sparse.csr_matrix(counts, dtype=np.float64)
    depth = np.asarray(depth, dtype=np.float64)
    check_depth(depth)
    moments = fit_moments(counts.tocsc(), depth, convergence=convergence)
    covariance, statistic = _pairs(counts, depth, moments)
    raw, correlation = to_correlations(covariance, moments.variance)
    with np.errstate(invalid="ignore"):
        p_value = special.erfc(np.abs(statistic) / np.sqrt(2))
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


def fit_moments(counts: sparse.csc_matrix, depth: np.ndarray, *, convergence: str) -> Moments:
    """Mean and variance of each gene by iteratively re-weighted least squares."""
    s = depth
    mean = (counts.T @ s) / (s @ s)
    variance = _first_variance(counts, s, mean)
    theta = thetas(mean, variance)
    change, updates, rows = np.inf, 0, _gene_rows(counts)
    while change > TOLERANCE and updates < MOST_UPDATES:
        mean, variance = _update(rows, s, mean, median_positive(theta))
        before, theta = theta, thetas(mean, variance)
        change, updates = largest_change(theta, before, convergence), updates + 1
    return Moments(mean, variance, updates, change)


def _first_variance(counts: sparse.csc_matrix, s: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """sigma = sum s^2 ((x - M)^2 - M) / sum s^4, the square expanded so that only non-zero counts are visited."""
    s2 = s**2
    squared = counts.copy()
    squared.data = squared.data**2
    numerator = squared.T @ s2 - 2 * mean * (counts.T @ (s2 * s)) + mean**2 * np.sum(s2**2) - mean * np.sum(s2 * s)
    return numerator / np.sum(s2**2)


def _update(
    rows: Callable[[slice], np.ndarray], s: np.ndarray, mean: np.ndarray, t: float
) -> tuple[np.ndarray, np.ndarray]:
    new_mean, new_variance = np.empty_like(mean), np.empty_like(mean)
    for begin in range(0, len(mean), _GENES_PER_BLOCK):
        genes = slice(begin, min(begin + _GENES_PER_BLOCK, len(mean)))
        x = rows(genes)  # (gene, cell)
        g = _weight(mean[genes, None], s, t)
        new_mean[genes] = np.einsum("gc,gc->g", x, g) / (g @ s)
        g = _weight(new_mean[genes, None], s, t)
        residual = (x - np.multiply.outer(new_mean[genes], s)) * g
        np.square(g, out=g)
        top = np.einsum("gc,gc->g", residual, residual) - new_mean[genes] * (g @ s)
        new_variance[genes] = top / (g @ s**2)
    return new_mean, new_variance


def _gene_rows(counts: sparse.csc_matrix) -> Callable[[slice], np.ndarray]:
    """Dense counts (gene, cell) of a slice of genes; all are made dense once where that takes little memory."""
    if counts.shape[0] * counts.shape[1] > _DENSE_ENTRIES:
        return lambda genes: counts[:, genes].T.toarray(order="C")
    dense = counts.T.toarray(order="C")
    return dense.__getitem__


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


def _pairs(counts: sparse.csr_matrix, s: np.ndarray, moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Latent covariance and statistic of every pair, (gene, gene) each, summed over blocks of cells.

    The four sums are products of a matrix with itself, so only their lower halves are computed.
    """
    mean, variance = moments.mean, moments.variance
    t = median_positive(thetas(mean, variance))
    top, bottom, test_top, test_bottom = (np.zeros((len(mean), len(mean)), order="F") for _ in range(4))
    for begin in range(0, len(s), _CELLS_PER_BLOCK):
        cells = slice(begin, begin + _CELLS_PER_BLOCK)
        depth = s[cells, None]
        residual = counts[cells].toarray()  # (cell, gene)
        residual -= depth * mean
        weight = _weight(mean, depth, t)
        _add_square(top, residual * weight)
        _add_square(bottom, np.multiply(weight, depth, out=weight))
        with np.errstate(divide="ignore", invalid="ignore"):
            test = np.reciprocal(depth * variance + mean)  # s / V
            _add_square(test_top, np.multiply(residual, test, out=residual))
        _add_square(test_bottom, np.multiply(test, depth, out=test))
    with np.errstate(divide="ignore", invalid="ignore"):
        return _mirrored(top / bottom), _mirrored(test_top / np.sqrt(test_bottom))


def _add_square(total: np.ndarray, factor: np.ndarray) -> None:
    """Add factor' factor to the lower half of `total` (gene, gene, Fortran order); factor : (cell, gene)."""
    dsyrk(1.0, factor.T, beta=1.0, c=total, lower=1, overwrite_c=1)


def _mirrored(lower: np.ndarray) -> np.ndarray:
    return np.tril(lower) + np.tril(lower, -1).T


def to_correlations(covariance: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation as computed (may be NaN or beyond 1), and as it is used."""
    sd = np.sqrt(np.maximum(variance, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = covariance / np.outer(sd, sd)
    used = raw.copy()
    bad = ~np.isfinite(np.diag(raw))
    used[bad] = used[:, bad] = 0
    np.fill_diagonal(used, 1)
    return raw, np.clip(used, -1, 1)


def flag_genes(moments: Moments) -> np.ndarray:
    """Why a gene has no correlation (gene,), empty where it has one."""
    flags = np.where(moments.variance > 0, "", "variance not positive").astype(object)
    flags[moments.mean <= 0] = "no counts"
    return flags
