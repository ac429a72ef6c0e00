"""SPARK-X: genes whose expression follows the tissue's geometry (doi:10.1186/s13059-021-02404-0).

| symbol   | name here   | axes            | meaning                                               |
|----------|-------------|-----------------|-------------------------------------------------------|
| y_g      | counts      | (spot, gene)    | raw counts, neither normalised nor centred            |
| s        | coords      | (spot, axis)    | coordinates, 2 or 3 axes                              |
| Z        | `_centred`  | (spot, axis)    | transformed coordinates, covariates projected out     |
| B        | basis       | (spot, axis)    | Z with orthonormal columns, so Z(Z'Z)^-1Z' = BB'      |
| S_g      | statistic   | (gene, kernel)  | n y'BB'y / y'y                                        |
| lambda_g | scale       | (gene,)         | weight of the null's chi-squares                      |

Under independence S_g is lambda_g times a chi-square with as many degrees of freedom as axes, since all
eigenvalues of Z'Z(Z'Z)^-1 are 1. Deviations from the R package (SPARK 1.1.1), each with its reason:

- The p-value is that chi-square's tail (``pvalue: exact``). R integrates the same law numerically with an
  error of 1e-4, so its p below 1e-4 are mostly noise; ``pvalue: davies`` repeats R's numbers.
- A kernel whose transformed coordinates are collinear (cosines on integer grids) ends R's run; here the
  kernel is dropped, or used with its rank (``rank_deficient: reduce``), and counted.
- Genes that are constant over the spots end R's run; here they get NaN and a flag.
- Genes are ranked by (q, p, name); p too small for a float still rank, by their logarithm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import special

from histoweave.errors import InputError
from histoweave.expression.blocks import Blocks, depths
from histoweave.expression.davies import davies_tail
from histoweave.expression.pvalues import benjamini_yekutieli, cauchy_combination, log_cauchy_combination

# Quantiles of |centred coordinate| that set the widths of the five Gaussian and five cosine kernels.
_QUANTILES = (0.2, 0.4, 0.6, 0.8, 1.0)
# lambda below this share is rounding: the gene is constant over the spots.
_CONSTANT = 1e-12
_RANK_TOLERANCE = 1e-10


@dataclass(frozen=True)
class SparkxSettings:
    """Which spatial test, and how its p-value is computed."""

    section: ClassVar[str] = "expression.sparkx"
    option: str
    pvalue: str
    rank_deficient: str
    covariates: tuple[str, ...]


@dataclass(frozen=True)
class SpatialTest:
    """Outcome of SPARK-X.

    table : one row per gene (order of the counts): p_<kernel>, p_value, q_value, log10_p, constant
    statistic : (gene, kernel); scale : (gene,), lambda; kernels : names; ranks : (kernel,), 0 for a dropped one
    """

    table: pd.DataFrame
    statistic: np.ndarray
    scale: np.ndarray
    kernels: tuple[str, ...]
    ranks: np.ndarray


def sparkx(
    counts: Blocks,
    coords: np.ndarray,
    *,
    option: str,
    pvalue: str,
    rank_deficient: str,
    covariates: np.ndarray | None,
    depth: np.ndarray | None,
) -> SpatialTest:
    """Test every gene of `counts` (spot, gene) for a spatial pattern.

    coords : (spot, axis), 2 or 3 axes, any unit; covariates : (spot, covariate) or None, an intercept is added
    depth : (spot,) counts per spot if known (saves a pass); spots without counts take no part
    option : ``mixture`` (11 kernels) or ``single`` (projection only); pvalue : ``exact`` or ``davies``
    Raises InputError for coordinates that are missing, not finite or collinear, and dependent covariates.
    """
    check_coordinates(coords, n_spots=counts.shape[0])
    kept = (depths(counts) if depth is None else depth) > 0
    kernels = _kernels(coords[kept].astype(np.float64), option=option)
    design = _design(covariates, kept)
    bases = {name: _basis(_centred(values, design)) for name, values in kernels.items()}
    ranks = _usable_ranks(bases, coords.shape[1], rank_deficient=rank_deficient)
    width = np.cumsum([0, *(basis.shape[1] for basis in bases.values())])
    everything = np.zeros((len(kept), width[-1] + (0 if design is None else design.shape[1])))
    # one dense table of all bases (and covariates): the counts are gone through once
    everything[kept] = np.hstack([*bases.values(), *([] if design is None else [_orthonormal(design)])])
    products, squares, totals = _project(counts, everything)
    projected = squares - np.sum(products[:, width[-1] :] ** 2, axis=1) if design is not None else None
    scale = _scale(squares, totals, projected, n=int(kept.sum()))
    with np.errstate(invalid="ignore"):
        pieces = [np.sum(products[:, a:b] ** 2, axis=1) for a, b in zip(width, width[1:], strict=False)]
        statistic = kept.sum() * np.column_stack(pieces) / squares[:, None]
    table = _table(statistic, scale, ranks, kernels=tuple(kernels), pvalue=pvalue)
    return SpatialTest(table, statistic, scale, tuple(kernels), ranks)


def rank_genes(table: pd.DataFrame, genes: np.ndarray) -> np.ndarray:
    """Rank (gene,) from 1 by (q, p, name); p by its logarithm, so that p = 0 still ranks. Untested genes come last."""
    q = table["q_value"].fillna(np.inf).to_numpy()
    log_p = table["log10_p"].fillna(np.inf).to_numpy()
    rank = np.empty(len(table), dtype=np.int64)
    rank[np.lexsort((np.asarray(genes, str), log_p, q))] = np.arange(1, len(table) + 1)
    return rank


def check_coordinates(coords: np.ndarray, *, n_spots: int) -> None:
    """Raise InputError unless `coords` is (spot, axis) with 2 or 3 axes and finite."""
    if coords.ndim != 2 or coords.shape[0] != n_spots or coords.shape[1] not in (2, 3):
        msg = (
            f"coordinates have shape {coords.shape}; SPARK-X needs ({n_spots}, 2) or ({n_spots}, 3) in obsm['spatial']."
        )
        raise InputError(msg)
    bad = ~np.isfinite(coords).all(axis=1)
    if bad.any():
        msg = f"{bad.sum()} of {n_spots} spots have no finite coordinate (first: row {int(bad.argmax())}). "
        raise InputError(msg + "Complete obsm['spatial'], or leave these spots out.")


def _kernels(coords: np.ndarray, *, option: str) -> dict[str, np.ndarray]:
    """Transformed coordinates by kernel name, each (spot, axis)."""
    kernels = {"projection": coords}
    if option == "single":
        return kernels
    centred = coords - coords.mean(axis=0)
    widths = np.quantile(np.abs(centred), _QUANTILES, axis=0)  # (quantile, axis)
    with np.errstate(divide="ignore", invalid="ignore"):
        for k, width in enumerate(widths, start=1):
            kernels[f"gaussian{k}"] = np.nan_to_num(np.exp(-(centred**2) / (2 * width**2)))
        for k, width in enumerate(widths, start=1):
            kernels[f"cosine{k}"] = np.nan_to_num(np.cos(2 * np.pi * centred / width))
    return kernels


def _design(covariates: np.ndarray | None, kept: np.ndarray) -> np.ndarray | None:
    """Covariates with an intercept (spot, column); R leaves the intercept to the user, which is easily forgotten."""
    if covariates is None or covariates.shape[1] == 0:
        return None
    rows = np.asarray(covariates, dtype=np.float64)[kept]
    if not np.isfinite(rows).all():
        msg = f"{int((~np.isfinite(rows)).any(axis=1).sum())} spots lack a covariate value. "
        raise InputError(msg + "Complete it in obs, or change expression.sparkx.covariates.")
    varying = rows[:, np.ptp(rows, axis=0) > 0]
    design = np.column_stack([np.ones(len(rows)), varying])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        msg = "the covariates depend on each other linearly. Remove one from expression.sparkx.covariates."
        raise InputError(msg)
    return design


def _centred(values: np.ndarray, design: np.ndarray | None) -> np.ndarray:
    if design is None:
        return values - values.mean(axis=0)
    basis = _orthonormal(design)
    return values - basis @ (basis.T @ values)


def _orthonormal(values: np.ndarray) -> np.ndarray:
    return np.linalg.qr(values)[0]


def _basis(values: np.ndarray) -> np.ndarray:
    """Orthonormal columns (spot, rank) that span `values` (spot, axis)."""
    length = np.linalg.norm(values, axis=0)
    # A column that is constant up to rounding spans nothing; the others are brought to one length,
    # so that the rank does not hang on units or on the kernel's width.
    scaled = values[:, length > _RANK_TOLERANCE * np.sqrt(len(values))]
    if not scaled.shape[1]:
        return scaled
    left, singular, _ = np.linalg.svd(scaled / np.linalg.norm(scaled, axis=0), full_matrices=False)
    return left[:, singular > _RANK_TOLERANCE * singular[0]]


def _usable_ranks(bases: dict[str, np.ndarray], n_axes: int, *, rank_deficient: str) -> np.ndarray:
    ranks = np.array([basis.shape[1] for basis in bases.values()])
    if rank_deficient == "drop":
        ranks[ranks < n_axes] = 0
    if not ranks.any():
        msg = (
            "the coordinates are collinear: no kernel has a geometry to test. Give at least 2 axes in obsm['spatial'] "
        )
        raise InputError(msg + "that differ, or set expression.sparkx.rank_deficient to reduce.")
    return ranks


def _project(counts: Blocks, table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y'B (gene, column), y'y (gene,) and sum y (gene,) in one pass over the non-zero counts."""
    n_genes = counts.shape[1]
    products = np.zeros((n_genes, table.shape[1]))
    squares, totals = np.zeros(n_genes), np.zeros(n_genes)
    for rows, block in counts:
        values = block.data.astype(np.float64)
        products += block.T @ table[rows]
        squares += np.bincount(block.indices, values**2, minlength=n_genes)
        totals += np.bincount(block.indices, values, minlength=n_genes)
    return products, squares, totals


def _scale(squares: np.ndarray, totals: np.ndarray, projected: np.ndarray | None, *, n: int) -> np.ndarray:
    """lambda_g (gene,): share of y'y that the mean (or the covariates) leaves."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - totals**2 / (n * squares) if projected is None else projected / squares


def _table(
    statistic: np.ndarray, scale: np.ndarray, ranks: np.ndarray, *, kernels: tuple[str, ...], pvalue: str
) -> pd.DataFrame:
    constant = ~(scale > _CONSTANT)
    tail: Callable = davies_tail if pvalue == "davies" else _chi_square_tail
    p, log_p = np.full(statistic.shape, np.nan), np.full(statistic.shape, np.nan)
    for k in np.flatnonzero(ranks):
        ratio = statistic[~constant, k] / scale[~constant]
        p[~constant, k] = tail(ratio, int(ranks[k]))
        log_p[~constant, k] = _log_chi_square_tail(ratio, int(ranks[k]))
    used = ranks > 0
    # A test with one kernel has nothing to combine
    combined = cauchy_combination(p[:, used]) if used.sum() > 1 else p[:, used][:, 0]
    frame = pd.DataFrame(p, columns=[f"p_{name}" for name in kernels])
    frame["p_value"] = combined
    frame["q_value"] = benjamini_yekutieli(combined)
    frame["log10_p"] = log_cauchy_combination(log_p[:, used], combined) / np.log(10)
    frame["constant"] = constant
    return frame


def _chi_square_tail(ratio: np.ndarray, rank: int) -> np.ndarray:
    """P(chi-square with `rank` degrees of freedom > ratio)."""
    return np.exp(-ratio / 2) if rank == 2 else special.chdtrc(rank, ratio)


def _log_chi_square_tail(ratio: np.ndarray, rank: int) -> np.ndarray:
    """Log of the tail; for 1 and 3 degrees of freedom by the normal tail, so that nothing underflows."""
    if rank == 2:
        return -ratio / 2
    log_normal = np.log(2) + special.log_ndtr(-np.sqrt(ratio))
    if rank == 1:
        return log_normal
    density = 0.5 * np.log(2 * ratio / np.pi) - ratio / 2  # chi2_3 tail = chi2_1 tail + sqrt(2 x/pi) exp(-x/2)
    return np.logaddexp(log_normal, density)
