"""Negative binomial model with the depth as offset: mean and overdispersion of each gene.

Source: glmGamPoi (doi:10.1093/bioinformatics/btaa1009), as sctransform version 2 calls it
(doi:10.1186/s13059-021-02584-9): ``glm_gp(y ~ 1, offset = log depth)`` in bins of 500 genes.

| symbol | name here        | axes          | meaning                                                |
|--------|------------------|---------------|--------------------------------------------------------|
| y_ij   | block            | (gene, cell)  | counts, as `GeneBlock`                                 |
| s_i    | depth            | (cell,)       | total counts; the offset is ln s                       |
| b_j    | intercept        | (gene,)       | ln of the expected count per unit of depth             |
| phi_j  | overdispersion   | (gene,)       | variance = mu + phi mu^2; theta = 1/phi                |
| r_ij   | `shrink`         | (gene, node)  | 1/(1 + mu phi), so that the working weight is mu r     |
| L_ik   | at               | (cell, node)  | weights of `DepthBasis`                                |

The model knows of a cell only its depth, and every term of score and information is a smooth function of it.
So the counts are summed once over a few depths; Newton's steps go over these and never over the cells.

Deviation: phi is the root of the score by safeguarded Newton steps in ln phi, where R runs a quasi-Newton
search to about 1e-10. Both end at the same local optimum; flat likelihoods differ in the last digits.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from histoweave.expression.count_glm import GeneBlock
from histoweave.expression.depth_basis import DepthBasis
from histoweave.expression.gamma_sums import CountTable

_TOLERANCE_BETA = 1e-8
_MOST_STEPS = 100
_LOWEST, _HIGHEST = np.log(1e-16), np.log(1e16)
_NO_OVERDISPERSION = 1e-8
# Cox-Reid adjustment, and its weight in glmGamPoi
_COX_REID = 0.99 / 2
_COX_REID_GUARD = 1e-6
_TREND_SHARE, _TREND_LEAST = 0.1, 100


@dataclass(frozen=True)
class OffsetModel:
    """intercept : (gene,), refitted with the trend; overdispersion : (gene,), of each gene alone; trend : (gene,)."""

    intercept: np.ndarray
    overdispersion: np.ndarray
    trend: np.ndarray


@dataclass(frozen=True)
class DepthSums:
    """What the likelihood needs of the counts of some genes, as sums over cells with the weights of `DepthBasis`.

    nodes : (node,) depths; one : (node,) sums of L; rate : (gene, node) sums of (y/s) L; table : counts by size
    Counts enter as rates y/s beside s r, since neither grows with the depth: no digits are lost on deep cells.
    """

    nodes: np.ndarray
    one: np.ndarray
    rate: np.ndarray
    table: CountTable

    def subset(self, genes: np.ndarray) -> "DepthSums":
        """Sums of the genes (sorted positions)."""
        number = np.full(len(self.rate), -1)
        number[genes] = np.arange(len(genes))
        return DepthSums(self.nodes, self.one, self.rate[genes], self.table.subset(number, len(genes)))


def depth_sums(block: GeneBlock, depth: np.ndarray, basis: DepthBasis, at: np.ndarray) -> DepthSums:
    """Sums of the genes of `block`; depth : (cell,), > 0; at : (cell, node), ``basis.at(depth)``."""
    shape = (block.genes, block.cells)
    rates = sparse.csr_matrix((block.count / depth[block.cell], (block.gene, block.cell)), shape=shape)
    return DepthSums(basis.nodes, at.sum(axis=0), rates @ at, block.table)


def fit_offset_model(block: GeneBlock, depth: np.ndarray, sums: DepthSums) -> OffsetModel:
    """Fit all genes of `block`, which share one trend of overdispersion on mean; depth : (cell,), > 0."""
    mean, variance = _moments(block)
    with np.errstate(divide="ignore", invalid="ignore"):
        rough = (variance - mean / depth.mean()) / mean**2
        intercept = np.log(block.sum(block.count / depth[block.cell]) / block.cells)
    intercept = fit_intercept(sums, np.maximum(0, np.nan_to_num(rough)), start=intercept)
    with np.errstate(divide="ignore", invalid="ignore"):
        start = (variance - mean) / mean**2
    start = np.log(np.where(start > 0, start, 0.5))
    phi = fit_overdispersion(sums, intercept, start=start)
    trend = overdispersion_trend(np.exp(intercept) * depth.mean(), phi)
    return OffsetModel(fit_intercept(sums, trend, start=intercept), phi, trend)


def _moments(block: GeneBlock) -> tuple[np.ndarray, np.ndarray]:
    mean = block.sum(block.count) / block.cells
    squares = block.sum((block.count - mean[block.gene]) ** 2)
    zeros = block.cells - np.bincount(block.gene, minlength=block.genes)
    return mean, (squares + zeros * mean**2) / (block.cells - 1)


def fit_intercept(sums: DepthSums, phi: np.ndarray, *, start: np.ndarray) -> np.ndarray:
    """Intercept (gene,) for given overdispersion `phi` (gene,), by Newton's method from `start`."""
    b = start.copy()
    active, rate = np.arange(len(phi)), sums.rate
    for _ in range(_MOST_STEPS):
        mu = np.exp(b[active, None]) * sums.nodes  # (gene, node)
        shrink = 1 / (1 + mu * phi[active, None])
        weighted = rate * (sums.nodes * shrink)  # its sum over nodes is that of y r over cells
        mu *= shrink
        weight = (mu * shrink) @ sums.one + phi[active] * np.einsum("gk,gk->g", weighted, mu)
        step = (weighted.sum(axis=1) - mu @ sums.one) / weight
        b[active] += step
        stay = np.abs(step) > _TOLERANCE_BETA
        if not stay.any():
            break
        active, rate = active[stay], rate[stay]
    return b


def fit_overdispersion(sums: DepthSums, intercept: np.ndarray, *, start: np.ndarray) -> np.ndarray:
    """Overdispersion (gene,) at the optimum of the Cox-Reid adjusted likelihood near exp(`start`), 0 if none."""
    x = np.clip(start, _LOWEST, _HIGHEST)
    mu = np.exp(intercept)[:, None] * sums.nodes  # (gene, node)
    none, _ = _score(sums, mu, np.full(len(x), _NO_OVERDISPERSION))
    absent = none < 0
    low, high = np.full(len(x), _LOWEST), np.full(len(x), _HIGHEST)
    active = np.flatnonzero(~absent)
    part, mu = sums.subset(active), mu[active]
    for _ in range(_MOST_STEPS):
        score, slope = _score(part, mu, np.exp(x[active]))
        # the root lies above where the score is positive
        low[active] = np.where(score > 0, x[active], low[active])
        high[active] = np.where(score < 0, x[active], high[active])
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = np.where(slope < 0, -score / slope, np.sign(score))
        target = x[active] + np.clip(newton, -2, 2)
        outside = (target <= low[active]) | (target >= high[active])
        target = np.where(outside, (low[active] + high[active]) / 2, target)
        moved = np.abs(target - x[active])
        x[active] = np.where(score == 0, x[active], target)
        stay = np.flatnonzero((moved > 1e-11) & (score != 0))
        if not len(stay):
            break
        if len(stay) < len(active):
            active, part, mu = active[stay], part.subset(stay), mu[stay]
    return np.where(absent, 0.0, np.exp(x))


def _score(sums: DepthSums, mu: np.ndarray, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative (gene,) of the adjusted log likelihood by ln phi; mu : (gene, node)."""
    product = mu * phi[:, None]
    shrink = 1 / (1 + product)
    w = mu * shrink
    logs, w1, w2, w3 = np.log1p(product) @ sums.one, w @ sums.one, w**2 @ sums.one, w**3 @ sums.one
    weighted = sums.rate * (sums.nodes * shrink)
    y1, y2 = weighted.sum(axis=1), np.einsum("gk,gk->g", weighted, shrink)
    inner = logs + phi * (y1 - w1) - sums.table.digamma(phi)
    inner_slope = w1 + y2 - (w * shrink) @ sums.one - sums.table.trigamma(phi)
    adjust = _COX_REID * phi * w2 / (w1 + _COX_REID_GUARD)
    adjust_slope = _COX_REID * (w2 / w1 + phi * (w2**2 / w1**2 - 2 * w3 / w1))
    return inner / phi + adjust, -inner / phi + inner_slope + phi * adjust_slope


def overdispersion_trend(mean: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """Running weighted median (gene,) of `phi` along `mean`, constant beyond the first and last full window."""
    n = len(mean)
    half = int(max(_TREND_SHARE * n, _TREND_LEAST) // 2)
    order = np.argsort(mean, kind="stable")
    values = phi[order]
    if 2 * half + 1 > n:
        weights = _bell(n)
        return np.full(n, _weighted_median_interpolated(values, weights))
    windows = np.lib.stride_tricks.sliding_window_view(values, 2 * half + 1)
    medians = _weighted_median(windows, _bell(2 * half + 1))
    trend = np.empty(n)
    trend[order] = np.concatenate([np.repeat(medians[0], half), medians, np.repeat(medians[-1], half)])
    return trend


def _bell(n: int) -> np.ndarray:
    grid = np.linspace(-3, 3, n)
    return np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi)


def _weighted_median(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted median of each row; where half of the weight falls between two values, their weighted mean."""
    order = np.argsort(rows, axis=1, kind="stable")
    values = np.take_along_axis(rows, order, axis=1)
    below = np.cumsum(weights[order], axis=1)
    half = weights.sum() / 2
    first = np.argmax(below >= half, axis=1)
    return values[np.arange(len(rows)), first]


def _weighted_median_interpolated(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values, kind="stable")
    mass = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(weights.sum() / 2, mass, values[order]))
