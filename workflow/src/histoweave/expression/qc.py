"""Quality control of raw counts: which cells and genes go on, and why the others do not.

The thresholds are those of the MuSe-GNN protocol (doi:10.48550/arXiv.2310.02275) by default:
scRNA cells with fewer than 4,000 genes and less than 20 % mitochondrial counts, mitochondrial
genes left out of every modality. Unlike its code, only names that start with the whole prefix
(``MT-``) count as mitochondrial; a bare ``MT`` would take MTOR and MT1X with it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from histoweave.errors import InputError, shorten
from histoweave.expression.blocks import Blocks, Subset

# What gene ids look like; a matrix whose names are of several kinds was joined from different sources.
_KINDS = {
    "Ensembl gene ids": re.compile(r"ENS[A-Z]*G\d{6,}(\.\d+)?"),
    "Entrez ids": re.compile(r"\d+"),
    "genomic regions": re.compile(r"(chr)?[0-9A-Za-z_.]+[:_-]\d+[-_]\d+"),
}


@dataclass(frozen=True)
class Thresholds:
    """What a cell and a gene of one modality need; None switches a limit off."""

    min_counts: int
    min_genes: int
    max_genes: int | None
    max_mito_percent: float | None
    min_cells: int


@dataclass(frozen=True)
class QcSettings:
    """Quality control of the counts, by modality."""

    section: ClassVar[str] = "expression.qc"
    scrna: Thresholds
    scatac: Thresholds
    spatial: Thresholds
    mito_prefix: str
    keep_mito_genes: bool
    min_cells_left: int

    def of(self, modality: str) -> Thresholds:
        """Thresholds of a modality: ``scrna``, ``scatac`` or ``spatial``."""
        return getattr(self, modality)


@dataclass(frozen=True)
class Tally:
    """What quality control looks at: per cell the counts, genes and mitochondrial counts, each (cell,)."""

    counts: np.ndarray
    genes: np.ndarray
    mito: np.ndarray

    @property
    def mito_percent(self) -> np.ndarray:
        """Mitochondrial counts per cell in percent; 0 for a cell without counts."""
        return 100 * self.mito / np.maximum(self.counts, 1)


@dataclass(frozen=True)
class Selection:
    """Which cells and genes go on, each a mask; and for those left out the reason ("" otherwise)."""

    cells: np.ndarray
    genes: np.ndarray
    cell_reasons: np.ndarray
    gene_reasons: np.ndarray


def check_names(names: Sequence[str], *, what: str, source: str) -> None:
    """Raise InputError unless `names` of genes or cells (`what`) are unique, not empty and of one kind."""
    array = np.asarray(names, dtype=str)
    unique, counts = np.unique(array, return_counts=True)
    if (counts > 1).any():
        twice = unique[counts > 1].tolist()
        msg = (
            f"{source}: {len(twice)} {what} names stand more than once: {shorten(twice)}. "
            "Join or rename them (anndata: var_names_make_unique) and write the file again."
        )
        raise InputError(msg)
    if "" in unique:
        msg = f"{source}: a {what} has no name. Name it, or leave it out of the file."
        raise InputError(msg)
    if what == "gene":
        _check_one_kind(array.tolist(), source)


def _check_one_kind(names: list[str], source: str) -> None:
    for kind, pattern in _KINDS.items():
        hits = [name for name in names if pattern.fullmatch(name)]
        others = len(names) - len(hits)
        # A few names of one kind among another are real (unnamed genes keep their Ensembl id): 5 % are let through.
        if min(len(hits), others) > 0.05 * len(names):
            rest = next(name for name in names if not pattern.fullmatch(name))
            msg = (
                f"{source}: gene names are of mixed kinds: {len(hits)} of {len(names)} are {kind} ('{hits[0]}'), "
                f"the others are not ('{rest}'). Use one kind for all genes; symbols join the datasets best."
            )
            raise InputError(msg)


def check_values(values: np.ndarray, *, source: str, first_cell: str) -> None:
    """Raise InputError unless the stored `values` of a block are whole numbers >= 0; `first_cell` names the block."""
    if not np.isfinite(values).all():
        msg = f"{source}: {np.sum(~np.isfinite(values))} values are missing or infinite (from cell '{first_cell}' on). "
        raise InputError(msg + "Give raw counts.")
    if (values < 0).any():
        msg = (
            f"{source}: {np.sum(values < 0)} counts are negative (first: {values[values < 0][0]:g}, from cell "
            f"'{first_cell}' on). Give raw counts, not scaled values."
        )
        raise InputError(msg)
    broken = values != np.rint(values)
    if broken.any():
        msg = (
            f"{source}: {broken.sum()} counts are not whole numbers (first: {values[broken][0]:g}, from cell "
            f"'{first_cell}' on). Give raw counts; normalised values do not suit these methods."
        )
        raise InputError(msg)


def mito_genes(names: Sequence[str], *, prefix: str) -> np.ndarray:
    """(gene,) bool: whether a name starts with `prefix`, upper and lower case alike (``MT-``, ``mt-``)."""
    return np.array([bool(prefix) and name.upper().startswith(prefix.upper()) for name in names], dtype=bool)


def tally(blocks: Blocks, *, mito: np.ndarray, cell_names: Sequence[str], source: str) -> Tally:
    """Count each cell of `blocks` and check every value; raises InputError as `check_values` does."""
    n_cells = blocks.shape[0]
    result = Tally(np.zeros(n_cells), np.zeros(n_cells, np.int64), np.zeros(n_cells))
    for rows, counts in blocks:
        check_values(counts.data, source=source, first_cell=str(cell_names[rows.start]))
        result.counts[rows] = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
        result.genes[rows] = np.asarray((counts != 0).sum(axis=1)).ravel()
        result.mito[rows] = counts @ mito.astype(np.float64)
    if not result.counts.any():
        msg = f"{source}: all {n_cells} x {blocks.shape[1]} counts are zero. Is the matrix of raw counts in X?"
        raise InputError(msg)
    return result


def inspect(
    blocks: Blocks,
    *,
    cells: Sequence[str],
    genes: Sequence[str],
    coords: np.ndarray | None,
    settings: QcSettings,
    modality: str,
    source: str,
) -> tuple[Tally, Selection]:
    """Check names and counts of `blocks` (cell, gene) and choose what goes on; coords : (cell, axis) of spots or None.

    `source` names the file in messages. Raises InputError for names that repeat or are of mixed kinds, counts that
    are negative, broken, missing or all zero, and if too little is left.
    """
    for names, what in ((genes, "gene"), (cells, "cell")):
        check_names(names, what=what, source=source)
    mito = mito_genes(genes, prefix=settings.mito_prefix)
    counted = tally(blocks, mito=mito, cell_names=cells, source=source)
    unplaced = None if coords is None else ~np.isfinite(coords).all(axis=1)
    chosen = select(blocks, counted, settings=settings, modality=modality, mito=mito, unplaced=unplaced, source=source)
    return counted, chosen


def select(
    blocks: Blocks,
    counted: Tally,
    *,
    settings: QcSettings,
    modality: str,
    mito: np.ndarray,
    unplaced: np.ndarray | None,
    source: str,
) -> Selection:
    """Choose the cells and genes of `blocks` (cell, gene) that go on.

    mito : (gene,) bool; unplaced : (cell,) bool, spots without a coordinate, or None
    Cells are judged on all genes, genes on the cells that stay. Raises InputError if fewer
    than ``min_cells_left`` cells or no genes are left.
    """
    limits = settings.of(modality)
    cell_reasons = _cell_reasons(counted, limits, unplaced)
    dropped = np.zeros_like(mito) if settings.keep_mito_genes else mito
    gene_reasons = np.where(dropped, "mitochondrial gene", "").astype(object)
    detected = np.zeros(blocks.shape[1], np.int64)
    for _, counts in Subset(blocks, cells=cell_reasons == "", genes=None):
        detected += np.asarray((counts != 0).sum(axis=0)).ravel()
    few = detected < max(limits.min_cells, 1)
    gene_reasons[(gene_reasons == "") & few] = f"found in fewer than {max(limits.min_cells, 1)} cells"
    empty = np.zeros(blocks.shape[0])
    for rows, counts in Subset(blocks, cells=None, genes=np.flatnonzero(gene_reasons == "")):
        empty[rows] = np.asarray(counts.sum(axis=1)).ravel() == 0
    cell_reasons[(cell_reasons == "") & (empty > 0)] = "no counts in the genes that are kept"
    found = Selection(cell_reasons == "", gene_reasons == "", cell_reasons, gene_reasons)
    _check_enough(found, settings, modality=modality, source=source)
    return found


def _cell_reasons(counted: Tally, limits: Thresholds, unplaced: np.ndarray | None) -> np.ndarray:
    reasons = np.full(len(counted.counts), "", dtype=object)
    failures = [(counted.counts < max(limits.min_counts, 1), f"fewer than {max(limits.min_counts, 1)} counts")]
    failures.append((counted.genes < limits.min_genes, f"fewer than {limits.min_genes} genes"))
    if limits.max_genes is not None:
        failures.append((counted.genes >= limits.max_genes, f"{limits.max_genes} genes or more"))
    if limits.max_mito_percent is not None:
        high = counted.mito_percent >= limits.max_mito_percent
        failures.append((high, f"{limits.max_mito_percent:g} % mitochondrial counts or more"))
    if unplaced is not None:
        failures.append((unplaced, "no coordinate"))
    for failed, reason in failures:
        reasons[(reasons == "") & failed] = reason
    return reasons


def _check_enough(found: Selection, settings: QcSettings, *, modality: str, source: str) -> None:
    n_cells, n_genes = int(found.cells.sum()), int(found.genes.sum())
    if n_cells >= settings.min_cells_left and n_genes >= 1:
        return
    left_out = found.cell_reasons[~found.cells] if n_cells < settings.min_cells_left else found.gene_reasons
    reasons, counts = np.unique(left_out[left_out != ""].astype(str), return_counts=True)
    most = f"; most often left out: {reasons[counts.argmax()]}" if len(reasons) else ""
    msg = (
        f"{source}: {n_cells} of {len(found.cells)} cells and {n_genes} of {len(found.genes)} genes pass quality "
        f"control, at least {settings.min_cells_left} cells and 1 gene are needed{most}. "
        f"Change expression.qc.{modality} or expression.qc.min_cells_left, or leave the dataset out."
    )
    raise InputError(msg)
