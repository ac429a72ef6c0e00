"""Genes that vary more than their mean explains, and their order.

``residual_variance`` ranks by the variance of sctransform's residuals; ``seurat_vst`` is Seurat v3's
(doi:10.1016/j.cell.2019.05.031): counts standardised by a loess of variance on mean, cut at sqrt(n);
``seurat`` and ``cell_ranger`` are scanpy's dispersion flavours on log-normalised counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from histoweave.expression.blocks import Blocks
from histoweave.expression.loess import loess

_TARGET = 1e4
_MAD_OF_NORMAL = 0.6744897501960817


@dataclass(frozen=True)
class HvgSettings:
    """Which genes residuals and co-expression are computed for."""

    section: ClassVar[str] = "expression.hvg"
    method: str
    n_genes: int


def rank_by(score: np.ndarray, genes: Sequence[str]) -> np.ndarray:
    """Rank (gene,) from 1 by decreasing `score`, then by name, so that ties do not depend on the file's order.

    NaN comes last.
    """
    down = np.where(np.isnan(score), np.inf, -np.asarray(score, dtype=np.float64))
    rank = np.empty(len(down), dtype=np.int64)
    rank[np.lexsort((np.asarray(genes, dtype=str), down))] = np.arange(1, len(down) + 1)
    return rank


def standardised_variance(counts: Blocks, *, span: float) -> pd.DataFrame:
    """Seurat's "vst" statistics of every gene of `counts` (cell, gene), in two passes.

    Returns one row per gene: mean, variance, expected_variance, standardised_variance (0 for a constant gene).
    """
    n, genes = counts.shape
    total, squares = np.zeros(genes), np.zeros(genes)
    for _, block in counts:
        total += np.bincount(block.indices, block.data, minlength=genes)
        squares += np.bincount(block.indices, block.data**2, minlength=genes)
    mean = total / n
    variance = np.maximum(squares - n * mean**2, 0) / max(n - 1, 1)
    expected = np.zeros(genes)
    varied = variance > 0
    expected[varied] = 10 ** loess(np.log10(mean[varied]), np.log10(variance[varied]), span=span)
    score = _clipped_variance(counts, mean, np.sqrt(expected), clip=np.sqrt(n))
    columns = {"mean": mean, "variance": variance, "expected_variance": expected, "standardised_variance": score}
    return pd.DataFrame(columns)


def _clipped_variance(counts: Blocks, mean: np.ndarray, sd: np.ndarray, *, clip: float) -> np.ndarray:
    """sum z^2/(n - 1) with z = (x - mean)/sd cut above at `clip`; zeros are counted, not visited."""
    n, genes = counts.shape
    total, seen = np.zeros(genes), np.zeros(genes)
    safe = np.where(sd > 0, sd, 1)
    for _, block in counts:
        z = np.minimum((block.data - mean[block.indices]) / safe[block.indices], clip)
        total += np.bincount(block.indices, z * z, minlength=genes)
        seen += np.bincount(block.indices, minlength=genes)
    total += (n - seen) * (mean / safe) ** 2
    return np.where(sd > 0, total / (n - 1), 0.0)


def dispersion(counts: Blocks, *, flavour: str) -> np.ndarray:
    """Normalised dispersion (gene,) as scanpy's flavours ``seurat`` and ``cell_ranger`` define it, in one pass.

    Cells are brought to 10,000 counts. ``seurat`` compares ln(variance/mean) with the mean and standard deviation of
    20 equal ranges of ln(1 + mean); ``cell_ranger`` takes ln(1 + counts) first and compares variance/mean with the
    median and its absolute deviation between twentieths. NaN for a gene without variance.
    """
    seurat = flavour == "seurat"
    mean, variance = _normalised_moments(counts, logged=not seurat)
    mean = np.where(mean == 0, 1e-12, mean)
    spread = variance / mean
    if seurat:
        with np.errstate(divide="ignore"):
            spread = np.where(spread > 0, np.log(spread), np.nan)
        group = pd.cut(np.log1p(mean), bins=20)
    else:
        group = pd.cut(mean, bins=[-np.inf, *np.percentile(mean, np.arange(10, 105, 5)), np.inf], duplicates="drop")
    grouped = pd.Series(spread).groupby(group, observed=True)
    if seurat:
        centre, scale = grouped.transform("mean"), grouped.transform("std")
        # a gene alone in its range counts as varied by one unit
        centre, scale = centre.where(scale.notna(), 0), scale.fillna(centre)
    else:
        centre = grouped.transform("median")
        scale = (pd.Series(spread) - centre).abs().groupby(group, observed=True).transform("median") / _MAD_OF_NORMAL
    with np.errstate(divide="ignore", invalid="ignore"):
        return ((spread - centre) / scale).to_numpy()


def _normalised_moments(counts: Blocks, *, logged: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (gene,) of the counts per 10,000 of a cell, or of ln(1 + these)."""
    n, genes = counts.shape
    total, squares = np.zeros(genes), np.zeros(genes)
    for _, block in counts:
        depth = np.asarray(block.sum(axis=1)).ravel()
        values = block.data * np.repeat(_TARGET / np.maximum(depth, 1), np.diff(block.indptr))
        values = np.log1p(values) if logged else values
        total += np.bincount(block.indices, values, minlength=genes)
        squares += np.bincount(block.indices, values**2, minlength=genes)
    mean = total / n
    return mean, np.maximum(squares - n * mean**2, 0) / max(n - 1, 1)
