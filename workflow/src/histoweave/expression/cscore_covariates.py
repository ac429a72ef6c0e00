"""CS-CORE with covariates: the same three regressions, each with further columns (doi:10.1038/s41467-023-40503-7).

| symbol   | name here   | axes              | meaning                                                  |
|----------|-------------|-------------------|----------------------------------------------------------|
| c_i      | covariates  | (cell, covariate) | scaled to mean 0 and variance 1 before use               |
| D_mu     | `first`     | (cell, column)    | s (1, c): design of the mean                             |
| D_sigma  | `second`    | (cell, column)    | s^2 (1, c): design of variance and covariance            |
| M_ij     | `fitted`    | (gene, cell)      | D_mu beta_j; the intercept of beta_j is mu_j             |
| T_jk     | statistic   | (gene, gene)      | intercept over the root of its entry in (D'WD)^-1        |

Names not in this table are those of `cscore`. Per pair of genes a system of columns x columns is solved; its
entries are sums over cells, taken as matrix products for all pairs at once.
"""

import numpy as np
from scipy import sparse, special

from histoweave.errors import InputError
from histoweave.expression import cscore as plain
from histoweave.expression.blocks import check_depth
from histoweave.expression.cscore import Coexpression, Moments


def cscore_with_covariates(
    counts: sparse.spmatrix | np.ndarray, depth: np.ndarray, covariates: np.ndarray, *, convergence: str
) -> Coexpression:
    """Co-expression as by `cscore`, with the linear effect of `covariates` (cell, covariate) taken out.

    Raises InputError if a cell has no depth, a covariate is missing or constant, or the covariates are dependent.
    """
    x = sparse.csr_matrix(counts, dtype=np.float64).T.toarray()  # (gene, cell)
    s = np.asarray(depth, dtype=np.float64)
    check_depth(s)
    columns = _columns(covariates)
    first, second = s[:, None] * columns, s[:, None] ** 2 * columns
    moments, fitted = _fit(x, s, first, second, convergence=convergence)
    t = plain.median_positive(plain.thetas(moments.mean, moments.variance))
    residual = x - fitted
    cov, _ = _pairs(residual, 1 / _mean_weight(fitted, s, moments.mean, t), second)
    with np.errstate(divide="ignore", invalid="ignore"):
        test = 1 / (fitted + s**2 * moments.variance[:, None])
    beta, spread = _pairs(residual, test, second)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = beta / np.sqrt(spread)
    raw, correlation = plain.to_correlations(cov, moments.variance)
    p_value = special.erfc(np.abs(statistic) / np.sqrt(2))
    return Coexpression(correlation, raw, statistic, p_value, moments, plain.flag_genes(moments))


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


def _fit(
    x: np.ndarray, s: np.ndarray, first: np.ndarray, second: np.ndarray, *, convergence: str
) -> tuple[Moments, np.ndarray]:
    one = np.ones_like(x)
    beta = _regress(first, x, one)
    fitted = beta @ first.T  # (gene, cell)
    mean, variance = beta[:, 0], _regress(second, (x - fitted) ** 2 - fitted, one)[:, 0]
    theta = plain.thetas(mean, variance)
    change, updates = np.inf, 0
    while change > plain.TOLERANCE and updates < plain.MOST_UPDATES:
        t = plain.median_positive(theta)
        beta = _regress(first, x, 1 / _mean_weight(fitted, s, mean, t))
        fitted, mean = beta @ first.T, beta[:, 0]
        weight = (fitted**2 / t + fitted) ** 2
        variance = _regress(second, (x - fitted) ** 2 - fitted, 1 / np.where(weight > 0, weight, 1))[:, 0]
        before, theta = theta, plain.thetas(mean, variance)
        change, updates = plain.largest_change(theta, before, convergence), updates + 1
    return Moments(mean, variance, updates, change), fitted


def _mean_weight(fitted: np.ndarray, s: np.ndarray, mean: np.ndarray, t: float) -> np.ndarray:
    """w = M + s^2 mu^2 / t (gene, cell), 1 where that is not positive."""
    weight = fitted + np.multiply.outer(mean**2 / t, s**2)
    return np.where(weight > 0, weight, 1)


def _regress(design: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted least-squares coefficients (gene, column); y, weight : (gene, cell)."""
    k = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(-1, k * k)
    return np.linalg.solve((weight @ products).reshape(-1, k, k), ((weight * y) @ design)[..., None])[..., 0]


def _pairs(residual: np.ndarray, weight: np.ndarray, design: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept of each pair's regression and its entry in (D'WD)^-1, (gene, gene) each; inputs (gene, cell)."""
    k = design.shape[1]
    scaled = residual * weight
    right = np.stack([(scaled * design[:, a]) @ scaled.T for a in range(k)], axis=-1)
    left = np.empty((*right.shape[:2], k, k))
    for a in range(k):
        for b in range(a, k):
            left[..., a, b] = left[..., b, a] = (weight * (design[:, a] * design[:, b])) @ weight.T
    usable = np.isfinite(left).all(axis=(-1, -2))
    identity = np.eye(k)
    inverse = np.linalg.inv(np.where(usable[..., None, None], left, identity))
    intercept = np.einsum("jka,jka->jk", inverse[..., 0, :], np.nan_to_num(right))
    return np.where(usable, intercept, np.nan), np.where(usable, inverse[..., 0, 0], np.nan)
