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

from histoweave.expression.blocks import Blocks, gather
from histoweave.expression.loess import loess


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
    """Normalised dispersion (gene,) of scanpy's flavours ``seurat`` and ``cell_ranger``; all counts are loaded."""
    import anndata as ad
    import scanpy as sc

    data = ad.AnnData(gather(counts).astype(np.float32))
    sc.pp.normalize_total(data, target_sum=1e4)
    sc.pp.log1p(data)
    found = sc.pp.highly_variable_genes(data, flavor=flavour, n_top_genes=data.n_vars, inplace=False)
    return found["dispersions_norm"].to_numpy(dtype=np.float64)
