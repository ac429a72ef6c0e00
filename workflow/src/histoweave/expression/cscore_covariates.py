"""CS-CORE with covariates: the same three regressions, each with further columns (doi:10.1038/s41467-023-40503-7).

| symbol   | name here   | axes              | meaning                                                  |
|----------|-------------|-------------------|----------------------------------------------------------|
| c_i      | covariates  | (cell, covariate) | scaled to mean 0 and variance 1 before use               |
| D_mu     | `first`     | (cell, column)    | s (1, c): design of the mean                             |
| D_sigma  | `second`    | (cell, column)    | s^2 (1, c): design of variance and covariance            |
| M_ij     | `fitted`    | (cell, gene)      | D_mu beta_j; the intercept of beta_j is mu_j             |
| T_jk     | statistic   | (gene, gene)      | intercept over the root of its entry in (D'WD)^-1        |

Names not in this table are those of `cscore`. Per pair of genes a system of columns x columns is solved; its
entries are sums over cells, taken as matrix products for many pairs at once. The fitted values hang on the
covariates as well as on the depth, so each regression goes through the cells; counts are made dense block by
block, and pairs are worked on in strips of genes whose systems take little memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from histoweave.errors import InputError
from histoweave.expression import cscore as plain
from histoweave.expression.blocks import Blocks, as_blocks, check_depth
from histoweave.expression.cscore import Coexpression, Moments

_CELLS_AT_ONCE = 512
_BYTES_OF_SYSTEMS = 2**27

# Of some cells: (cells, y (cell, gene), weight (cell, gene))
_Terms = Iterator[tuple[slice, np.ndarray, np.ndarray]]


def cscore_with_covariates(
    counts: Blocks | sparse.spmatrix | np.ndarray, depth: np.ndarray, covariates: np.ndarray, *, convergence: str
) -> Coexpression:
    """Co-expression as by `cscore`, with the linear effect of `covariates` (cell, covariate) taken out.

    Raises InputError if a cell has no depth, a covariate is missing or constant, or the covariates are dependent.
    """
    s = np.asarray(depth, dtype=np.float64)
    check_depth(s)
    columns, s = _columns(covariates), s[:, None]
    data = _Data(as_blocks(counts, cells=_CELLS_AT_ONCE), s, s * columns, s**2 * columns)
    moments, beta = _fit(data, convergence=convergence)
    t = plain.median_positive(plain.thetas(moments.mean, moments.variance))
    covariance, _ = _pairs(data, lambda: _covariance_terms(data, beta, t))
    intercept, spread = _pairs(data, lambda: _test_terms(data, beta, moments.variance))
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = intercept / np.sqrt(spread)
    raw, correlation = plain.to_correlations(covariance, moments.variance)
    return Coexpression(correlation, raw, statistic, plain.two_sided(statistic), moments, plain.flag_genes(moments))


@dataclass(frozen=True)
class _Data:
    """counts : (cell, gene); s : (cell, 1) depth; first, second : (cell, column) designs."""

    counts: Blocks
    s: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def fitted(self, beta: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield (cells, counts x, fitted M), dense (cell, gene), for the coefficients `beta` (gene, column)."""
        for rows, block in self.counts:
            yield rows, block.toarray(), self.first[rows] @ beta.T


def _columns(covariates: np.ndarray) -> np.ndarray:
    """Intercept and scaled covariates (cell, column)."""
    values = np.asarray(covariates, dtype=np.float64)
    if not np.isfinite(values).all():
        msg = f"{int((~np.isfinite(values)).any(axis=1).sum())} cells lack a covariate value. "
        raise InputError(msg + "Complete it in obs, or change expression.cscore.covariates.")
    spread = values.std(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = np.column_stack([np.ones(len(values)), (values - values.mean(axis=0)) / spread])
    if not (spread > 0).all() or np.linalg.matrix_rank(columns) < columns.shape[1]:
        msg = "the covariates are constant or depend on each other linearly. Remove one from "
        raise InputError(msg + "expression.cscore.covariates.")
    return columns


def _fit(data: _Data, *, convergence: str) -> tuple[Moments, np.ndarray]:
    """Moments, and the coefficients of the mean (gene, column); every regression is a reading of the counts."""

    def update(beta: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        beta = _regress(data.first, _mean_terms(data, beta, t))
        return beta, _regress(data.second, _variance_terms(data, beta, t))[:, 0]

    beta, variance = update(np.zeros((data.counts.shape[1], data.first.shape[1])), np.nan)
    theta = plain.thetas(beta[:, 0], variance)
    change, updates = np.inf, 0
    while change > plain.TOLERANCE and updates < plain.MOST_UPDATES:
        beta, variance = update(beta, plain.median_positive(theta))
        before, theta = theta, plain.thetas(beta[:, 0], variance)
        change, updates = plain.largest_change(theta, before, convergence), updates + 1
    return Moments(beta[:, 0], variance, updates, change), beta


def _mean_terms(data: _Data, beta: np.ndarray, t: float) -> _Terms:
    for rows, x, fitted in data.fitted(beta):
        yield rows, x, 1 / _mean_weight(fitted, data.s[rows], beta[:, 0], t)


def _variance_terms(data: _Data, beta: np.ndarray, t: float) -> _Terms:
    for rows, x, fitted in data.fitted(beta):
        h = (fitted**2 / t + fitted) ** 2
        yield rows, (x - fitted) ** 2 - fitted, 1 / np.where(h > 0, h, 1)


def _covariance_terms(data: _Data, beta: np.ndarray, t: float) -> _Terms:
    for rows, x, fitted in data.fitted(beta):
        yield rows, x - fitted, 1 / _mean_weight(fitted, data.s[rows], beta[:, 0], t)


def _test_terms(data: _Data, beta: np.ndarray, variance: np.ndarray) -> _Terms:
    for rows, x, fitted in data.fitted(beta):
        with np.errstate(divide="ignore", invalid="ignore"):
            yield rows, x - fitted, 1 / (fitted + data.s[rows] ** 2 * variance)


def _mean_weight(fitted: np.ndarray, s: np.ndarray, mean: np.ndarray, t: float) -> np.ndarray:
    """w = M + s^2 mu^2 / t (cell, gene), 1 where that is not positive or there is no t."""
    weight = fitted + s**2 * (mean**2 / t)
    return np.where(weight > 0, weight, 1)


def _regress(design: np.ndarray, terms: _Terms) -> np.ndarray:
    """Weighted least-squares coefficients (gene, column) of y on `design` (cell, column)."""
    k = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(-1, k * k)
    left, right = 0.0, 0.0
    for rows, y, weight in terms:
        left = left + weight.T @ products[rows]
        right = right + (weight * y).T @ design[rows]
    return np.linalg.solve(np.reshape(left, (-1, k, k)), np.asarray(right)[..., None])[..., 0]


def _pairs(data: _Data, terms: Callable[[], _Terms]) -> tuple[np.ndarray, np.ndarray]:
    """Intercept of each pair's regression and its entry in (D'WD)^-1, (gene, gene) each.

    Strips of genes are paired with all genes from there on; each strip is a reading of the counts.
    """
    genes, k = data.counts.shape[1], data.second.shape[1]
    intercept, spread = np.empty((genes, genes)), np.empty((genes, genes))
    width = max(1, _BYTES_OF_SYSTEMS // (8 * k * k * genes))
    for begin in range(0, genes, width):
        strip = slice(begin, begin + width)
        left, right = _systems(data.second, terms(), strip)
        for whole, part in zip((intercept, spread), _solved(left, right), strict=True):
            corner = part[:, : part.shape[0]]
            corner[:] = np.triu(corner) + np.triu(corner, 1).T
            whole[strip, begin:], whole[begin:, strip] = part, part.T
    return intercept, spread


def _systems(design: np.ndarray, terms: _Terms, strip: slice) -> tuple[np.ndarray, np.ndarray]:
    """D'WD (gene, gene, column, column) and D'W times the product of residuals, of a strip and all genes after it."""
    k = design.shape[1]
    left, right = 0.0, 0.0
    a, b = np.triu_indices(k)
    for rows, residual, weight in terms:
        d = design[rows]
        with np.errstate(invalid="ignore"):  # a gene without counts has infinite weight
            scaled = (residual * weight)[:, strip.start :]
            weight = weight[:, strip.start :]
            right = right + np.stack([_product(scaled, d[:, [c]], strip) for c in range(k)], axis=-1)
            parts = [_product(weight, d[:, [i]] * d[:, [j]], strip) for i, j in zip(a, b, strict=True)]
            left = left + np.stack(parts, axis=-1)
    full = np.empty((*np.shape(right), k))
    full[..., a, b] = full[..., b, a] = left
    return full, np.asarray(right)


def _product(values: np.ndarray, weight: np.ndarray, strip: slice) -> np.ndarray:
    """Sum over cells (gene of the strip, gene) of `values` (cell, gene), which begin with the strip, and `weight`."""
    return (values[:, : strip.stop - strip.start] * weight).T @ values


def _solved(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    usable = np.isfinite(left).all(axis=(-1, -2))
    inverse = np.linalg.inv(np.where(usable[..., None, None], left, np.eye(left.shape[-1])))
    intercept = np.einsum("jka,jka->jk", inverse[..., 0, :], np.nan_to_num(right))
    return np.where(usable, intercept, np.nan), np.where(usable, inverse[..., 0, 0], np.nan)
