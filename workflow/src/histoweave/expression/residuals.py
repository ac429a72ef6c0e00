"""From counts to the residuals of chosen genes: fit a model, rank the genes, centre and clip.

What is done is what MuSe-GNN does through Seurat (``SCTransform`` and its ``residual.features``): genes
are ranked by the variance of residuals cut at sqrt(n); the residuals handed on are cut at sqrt(n/30) and
centred per gene, not scaled.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from histoweave.errors import InputError, shorten
from histoweave.expression import pearson, sctransform, sctransform_r
from histoweave.expression.blocks import Blocks, Subset
from histoweave.expression.hvg import HvgSettings, dispersion, rank_by, standardised_variance
from histoweave.expression.residual_moments import residual_moments
from histoweave.expression.sctransform import Model, SctransformSettings

_SPAN = 0.3


def fit_model(
    counts: Blocks,
    depth: np.ndarray,
    genes: Sequence[str],
    *,
    settings: SctransformSettings,
    generator: np.random.Generator,
) -> Model:
    """Fit the model that the settings ask for to `counts` (cell, gene); depth : (cell,), genes : names."""
    if settings.engine == "pearson":
        return pearson.fit(sctransform.gene_stats(counts), depth, min_cells=settings.min_cells)
    if settings.engine == "r":
        return _fit_in_r(counts, depth, settings)
    n = counts.shape[0]
    cells = None
    if settings.fit_cells is not None and settings.fit_cells < n:
        cells = np.sort(generator.choice(n, settings.fit_cells, replace=False))
    return sctransform.fit(
        counts,
        depth,
        version=settings.version,
        min_cells=settings.min_cells,
        fit_cells=cells,
        fit_genes=_fit_genes(settings.fit_genes, genes),
        generator=generator,
    )


def held_at_once(settings: SctransformSettings) -> dict[str, object]:
    """What a fit holds in memory beside blocks: of how many ``cells`` (None: all), and ``bytes_per_count`` not zero.

    ``remedy`` is what to do where that is too much.
    """
    if settings.engine == "r":  # the matrix here, its copy for R, and those that vst makes
        remedy = "set expression.sctransform.engine to native"
        return {"cells": None, "bytes_per_count": 120, "remedy": remedy}
    remedy = "fit on fewer cells: expression.sctransform.fit_cells"
    cells = 0 if settings.engine == "pearson" else settings.fit_cells
    return {"cells": cells, "bytes_per_count": 36, "remedy": remedy}  # by cell in pieces, by cell, by gene


def _fit_in_r(counts: Blocks, depth: np.ndarray, settings: SctransformSettings) -> Model:
    if not isinstance(settings.fit_genes, int | None):
        msg = "engine 'r' cannot take a list in expression.sctransform.fit_genes. Give a number or null, or use native."
        raise InputError(msg)
    return sctransform_r.fit(
        counts,
        depth,
        version=settings.version,
        min_cells=settings.min_cells,
        n_cells=settings.fit_cells,
        n_genes=settings.fit_genes,
    )


def _fit_genes(wanted: int | Sequence[str] | None, genes: Sequence[str]) -> np.ndarray | int | None:
    if wanted is None or isinstance(wanted, int):
        return wanted
    found = np.flatnonzero(np.isin(np.asarray(genes, str), np.asarray(wanted, str)))
    if not len(found):
        msg = f"none of the {len(wanted)} genes of expression.sctransform.fit_genes is in the data: {shorten(wanted)}."
        raise InputError(msg)
    return found


def score_genes(
    counts: Blocks, depth: np.ndarray, model: Model, genes: Sequence[str], *, hvg: HvgSettings
) -> pd.DataFrame:
    """One row per fitted gene: the model's parameters, residual mean and variance, score, and rank by the score."""
    names = np.asarray(genes, dtype=str)[model.genes]
    mean, variance = residual_moments(counts, depth, model, clip=np.sqrt(counts.shape[0]), floor=model.floor)
    table = model.table.assign(residual_mean=mean, residual_variance=variance)
    fitted = Subset(counts, cells=None, genes=model.genes)
    if hvg.method == "residual_variance":
        score = variance
    elif hvg.method == "seurat_vst":
        score = standardised_variance(fitted, span=_SPAN)["standardised_variance"].to_numpy()
    else:
        score = dispersion(fitted, flavour=hvg.method)
    table = table.assign(score=score, rank=rank_by(score, names))
    return table.set_axis(pd.Index(names, name="gene"), axis=0)


def choose(table: pd.DataFrame, *, n_genes: int) -> np.ndarray:
    """Positions of the `n_genes` rows of lowest ``rank`` in `table`, in that order; rows without a rank never."""
    order = np.argsort(table["rank"].fillna(np.inf).to_numpy(), kind="stable")
    return order[: min(n_genes, int(table["rank"].notna().sum()))]


def centred_blocks(
    counts: Blocks, depth: np.ndarray, model: Model, *, genes: np.ndarray, settings: SctransformSettings, spatial: bool
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (cells, residuals (cell, gene)) of the rows `genes` of the model, clipped, centred if asked for.

    variance_floor ``chosen`` takes the median count of the chosen genes only, which is what Seurat does when it is
    given ``residual.features``; ``by_modality`` does so for spatial data, ``all`` never.
    """
    n = counts.shape[0]
    clip = np.sqrt(n / settings.clip_divisor)
    floor = model.floor
    if floor > 0 and (settings.variance_floor == "chosen" or (settings.variance_floor == "by_modality" and spatial)):
        floor = sctransform.variance_floor(Subset(counts, cells=None, genes=model.genes[genes]))
    mean = np.zeros(len(genes))
    if settings.centre:
        mean, _ = residual_moments(counts, depth, model.of_genes(genes), clip=clip, floor=floor)
    for rows, z in sctransform.residual_blocks(counts, depth, model, genes=genes, clip=clip, floor=floor):
        yield rows, z - mean
