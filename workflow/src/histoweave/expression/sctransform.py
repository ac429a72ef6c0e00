"""sctransform: Pearson residuals of a regularised negative binomial regression on depth.

Version 1 doi:10.1186/s13059-019-1874-1, version 2 doi:10.1186/s13059-021-02584-9. Native: no R.

| symbol      | name here           | axes          | meaning                                              |
|-------------|---------------------|---------------|------------------------------------------------------|
| y_ij        | counts              | (cell, gene)  | UMI counts                                           |
| lu_i        | log10(depth)        | (cell,)       | log10 of the total counts over all genes             |
| gm_j        | log_mean            | (gene,)       | log10 of the geometric mean, exp(mean ln(y+1)) - 1   |
| am_j, var_j | mean, variance      | (gene,)       | arithmetic mean and variance over all cells          |
| theta_j     | theta               | (gene,)       | size of the negative binomial; Inf = Poisson         |
| b0_j, b1_j  | intercept, slope    | (gene,)       | ln E y = b0 + b1 lu                                  |
| z_ij        | residuals           | (cell, gene)  | (y - mu)/sqrt(mu + mu^2/theta), clipped              |

Deviations from the R package (0.4.1), each with its reason: step 1 uses all eligible genes by default
(R: a random 2,000; a sample costs reproducibility and buys little here); cells and genes that are sampled
are drawn by our own seed; R leaves a single Poisson-like gene's theta finite by an indexing slip, we do not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import sparse

from histoweave.errors import InputError
from histoweave.expression.blocks import Blocks, Subset, check_depth, gather
from histoweave.expression.count_glm import gene_block, poisson_regression, theta_ml
from histoweave.expression.depth_basis import depth_basis
from histoweave.expression.overdispersion import depth_sums, fit_offset_model
from histoweave.expression.smoothing import bandwidth_sj, kernel_smooth, outliers

_EPS = float(np.finfo(float).eps)
_LN10 = float(np.log(10))
_BIN = 500  # genes that share a trend in version 2; block of genes in version 1
_GENES_AT_ONCE = 50
_BANDWIDTH_FACTOR = 3.0
_OUTLIER = 10.0
_LEAST_THETA = 1e-7
_POISSON_RATIO = 1e-3
_LOW_MEAN = 1e-3


@dataclass(frozen=True)
class SctransformSettings:
    """Which model, fitted on what, and how residuals are bounded."""

    section: ClassVar[str] = "expression.sctransform"
    engine: str
    version: int
    fit_cells: int | None
    fit_genes: int | tuple[str, ...] | None
    min_cells: int
    clip_divisor: float
    centre: bool
    variance_floor: str


@dataclass(frozen=True)
class GeneStats:
    """Per gene, each (gene,): number of cells with it, and mean, variance and log10 geometric mean over all cells."""

    cells: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    log_mean: np.ndarray


@dataclass(frozen=True)
class Model:
    """A fitted model.

    genes : positions of the fitted genes in the counts; table : one row each: theta, intercept, slope,
    mean, variance, log_mean, poisson (v2: no overdispersion to be seen)
    step1 : table of step 1 (gene position, theta, intercept, slope, log_mean, outlier)
    floor : least variance of a residual's denominator (0 in version 1)
    """

    version: int
    genes: np.ndarray
    table: pd.DataFrame
    step1: pd.DataFrame
    floor: float

    def of_genes(self, rows: np.ndarray) -> "Model":
        """Model of the genes in `rows` of the table, in that order."""
        return replace(self, genes=self.genes[rows], table=self.table.iloc[rows])


def fit(
    counts: Blocks,
    depth: np.ndarray,
    *,
    version: int,
    min_cells: int,
    fit_cells: np.ndarray | None,
    fit_genes: np.ndarray | int | None,
    generator: np.random.Generator,
) -> Model:
    """Fit the regularised model to `counts` (cell, gene).

    depth : (cell,) total counts over all genes, > 0
    fit_cells : positions of the cells of step 1, or None for all; fit_genes : positions of the genes that may
    enter step 1, a number of genes to draw with `generator`, or None for all.
    Genes found in fewer than `min_cells` cells are not fitted.
    Raises InputError if a cell has no counts or too few genes are left.
    """
    check_depth(depth)
    stats = gene_stats(counts)
    genes = np.flatnonzero(stats.cells >= min_cells)
    step1_counts, step1_depth = _step1_counts(counts, depth, genes, fit_cells)
    eligible = np.asarray((step1_counts > 0).sum(axis=0)).ravel() >= min_cells
    if isinstance(fit_genes, np.ndarray):
        eligible &= np.isin(genes, fit_genes)
    if version == 2:
        eligible &= stats.variance[genes] > stats.mean[genes]
    if eligible.sum() < 3 or np.ptp(stats.log_mean[genes][eligible]) == 0:
        msg = f"{int(eligible.sum())} genes are varied enough to fit sctransform (3 with different means are needed). "
        raise InputError(msg + "Set expression.sctransform.engine to pearson for this data, or leave the dataset out.")
    chosen = np.flatnonzero(eligible)
    if isinstance(fit_genes, int) and fit_genes < len(chosen):
        chosen = chosen[draw_evenly(stats.log_mean[genes[chosen]], fit_genes, generator)]
    fitted = _step1(step1_counts[:, chosen], step1_depth, version=version)
    step1 = pd.DataFrame({"gene": genes[chosen], **fitted, "log_mean": stats.log_mean[genes[chosen]]})
    step1 = _with_dispersion(step1, stats, version=version)
    table = _regularise(step1, stats, genes, version=version)
    floor = variance_floor(Subset(counts, cells=None, genes=genes)) if version == 2 else 0.0
    return Model(version, genes, table, step1, floor)


def draw_evenly(x: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """Sorted positions of `number` of the points `x` (point,), drawn so that they spread evenly over its range."""
    low, high = np.quantile(x, [0.25, 0.75])
    width = 1.06 * min(float(np.std(x)), float(high - low) / 1.34) * len(x) ** -0.2 or 1.0
    grid = np.linspace(x.min(), x.max(), 512)
    density = np.exp(-0.5 * ((grid[:, None] - x) / width) ** 2).sum(axis=1)
    weight = 1 / np.interp(x, grid, density)
    return np.sort(generator.choice(len(x), number, replace=False, p=weight / weight.sum()))


def gene_stats(counts: Blocks) -> GeneStats:
    """Cells, mean, variance and log10 geometric mean of each gene, in one pass."""
    n, genes = counts.shape
    cells, total, squares, logs = (np.zeros(genes) for _ in range(4))
    for _, block in counts:
        for sums, values in ((cells, block.data >= 0.01), (total, block.data), (squares, block.data**2)):
            sums += np.bincount(block.indices, values, minlength=genes)
        logs += np.bincount(block.indices, np.log1p(block.data), minlength=genes)
    mean = total / n
    variance = np.maximum(squares - n * mean**2, 0) / max(n - 1, 1)
    with np.errstate(divide="ignore"):
        log_mean = np.log10(np.expm1(logs / n))
    return GeneStats(cells, mean, variance, log_mean)


def variance_floor(counts: Blocks) -> float:
    """Version 2: least variance, (median of the non-zero counts / 5)^2."""
    histogram = np.zeros(1)
    for _, block in counts:
        found = np.bincount(block.data[block.data > 0].astype(np.int64), minlength=len(histogram)).astype(np.float64)
        found[: len(histogram)] += histogram
        histogram = found
    below = np.cumsum(histogram)
    total = below[-1]
    middle = [np.searchsorted(below, place, side="right") for place in ((total - 1) // 2, total // 2)]
    return float((np.mean(middle) / 5) ** 2)


def _step1_counts(
    counts: Blocks, depth: np.ndarray, genes: np.ndarray, fit_cells: np.ndarray | None
) -> tuple[sparse.csc_matrix, np.ndarray]:
    if fit_cells is None:
        return gather(Subset(counts, cells=None, genes=genes)).tocsc(), depth
    mask = np.zeros(counts.shape[0], dtype=bool)
    mask[fit_cells] = True
    return gather(Subset(counts, cells=mask, genes=genes)).tocsc(), depth[mask]


def _step1(counts: sparse.csc_matrix, depth: np.ndarray, *, version: int) -> dict[str, np.ndarray]:
    """Theta, intercept and slope of each gene alone."""
    return _step1_poisson(counts, depth) if version == 1 else _step1_offset(counts, depth)


def _step1_poisson(counts: sparse.csc_matrix, depth: np.ndarray) -> dict[str, np.ndarray]:
    log_depth = np.log10(depth)
    parts = []
    for begin in range(0, counts.shape[1], _GENES_AT_ONCE):
        block = gene_block(counts, np.arange(begin, min(begin + _GENES_AT_ONCE, counts.shape[1])))
        b0, b1 = poisson_regression(block, log_depth, tolerance=1e-9, most=98)
        mu = np.exp(b0[:, None] + b1[:, None] * log_depth)  # (gene, cell)
        parts.append((theta_ml(block, mu, limit=10, tolerance=_EPS**0.25), b0, b1))
    return dict(zip(("theta", "intercept", "slope"), map(np.concatenate, zip(*parts, strict=True)), strict=True))


def _step1_offset(counts: sparse.csc_matrix, depth: np.ndarray) -> dict[str, np.ndarray]:
    parts, basis = [], depth_basis(depth)
    at = basis.at(depth)
    for begin in range(0, counts.shape[1], _BIN):
        block = gene_block(counts, np.arange(begin, min(begin + _BIN, counts.shape[1])))
        parts.append(fit_offset_model(block, depth, depth_sums(block, depth, basis, at)))
    with np.errstate(divide="ignore"):
        theta = 1 / np.concatenate([part.overdispersion for part in parts])
    intercept = np.concatenate([part.intercept for part in parts])
    return {"theta": theta, "intercept": intercept, "slope": np.full(len(theta), _LN10)}


def _with_dispersion(step1: pd.DataFrame, stats: GeneStats, *, version: int) -> pd.DataFrame:
    theta = step1["theta"].to_numpy().copy()
    if version == 2:
        mean, variance = stats.mean[step1["gene"]], stats.variance[step1["gene"]]
        with np.errstate(divide="ignore", invalid="ignore"):
            theta[mean**2 / (variance - mean) / theta < _POISSON_RATIO] = np.inf
    theta = np.maximum(theta, _LEAST_THETA)
    dispersion = np.log10(1 + 10 ** step1["log_mean"].to_numpy() / theta)
    step1 = step1.assign(theta=theta, dispersion=dispersion)
    x = step1["log_mean"].to_numpy()
    odd = np.zeros(len(step1), dtype=bool)
    for name in ("dispersion", "intercept", "slope"):
        odd |= outliers(step1[name].to_numpy(), x, threshold=_OUTLIER)
    return step1.assign(outlier=odd | ~np.isfinite(theta) if version == 2 else odd)


def _regularise(step1: pd.DataFrame, stats: GeneStats, genes: np.ndarray, *, version: int) -> pd.DataFrame:
    """Smooth the parameters of step 1 along the geometric mean and read them off for all genes."""
    mean, variance = stats.mean[genes], stats.variance[genes]
    poisson = (variance <= mean) | (mean < _LOW_MEAN) if version == 2 else np.zeros(len(genes), dtype=bool)
    kept = step1[~step1["outlier"].to_numpy() & ~np.isin(step1["gene"], genes[poisson])]
    x = kept["log_mean"].to_numpy()
    at = np.clip(stats.log_mean[genes], x.min(), x.max())
    curves = kept[["dispersion", "intercept", "slope"]].to_numpy()
    smooth = kernel_smooth(x, curves, at, bandwidth=_BANDWIDTH_FACTOR * bandwidth_sj(x))
    with np.errstate(divide="ignore"):
        theta = 10 ** stats.log_mean[genes] / (10 ** smooth[:, 0] - 1)
    if version == 2:
        smooth[:, 2] = _LN10
        theta[poisson] = np.inf
        smooth[poisson, 1] = np.log(mean[poisson]) - np.log(mean.sum())  # the mean depth
    columns = {"theta": theta, "intercept": smooth[:, 1], "slope": smooth[:, 2]}
    more = {"mean": mean, "variance": variance, "log_mean": stats.log_mean[genes], "poisson": poisson}
    return pd.DataFrame(columns | more)


def residual_blocks(
    counts: Blocks, depth: np.ndarray, model: Model, *, genes: np.ndarray, clip: float, floor: float
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (cells, residuals (cell, gene) float64) block by block.

    genes : rows of ``model.table``; clip : residuals are cut at +-clip; floor : least variance
    """
    chosen = model.table.iloc[genes]
    theta, b0, b1 = (chosen[name].to_numpy() for name in ("theta", "intercept", "slope"))
    for rows, block in Subset(counts, cells=None, genes=model.genes[genes]):
        y = block.toarray()
        z = np.empty(y.shape)
        for part in range(0, len(y), _cells_at_once(len(genes))):
            cells = slice(part, part + _cells_at_once(len(genes)))
            z[cells] = _residuals(y[cells], np.log10(depth[rows][cells]), theta, b0, b1, clip=clip, floor=floor)
        yield rows, z


def _cells_at_once(n_genes: int) -> int:
    return max(1, 2**16 // max(1, n_genes))


def _residuals(
    y: np.ndarray,
    log_depth: np.ndarray,
    theta: np.ndarray,
    b0: np.ndarray,
    b1: np.ndarray,
    *,
    clip: float,
    floor: float,
) -> np.ndarray:
    """z = (y - mu)/sqrt(mu + mu^2/theta) (cell, gene), clipped."""
    mu = np.exp(b0 + np.outer(log_depth, b1))
    variance = mu * mu / theta + mu
    if floor > 0:
        np.maximum(variance, floor, out=variance)
    return np.clip((y - mu) / np.sqrt(variance), -clip, clip)
