"""Gene activity from a matrix of peaks: the counts in a gene's body and just upstream of it are summed.

The window is Signac's (doi:10.1038/s41592-021-01282-5): the gene body and 2 kb before the start of transcription.
A peak that overlaps several windows counts for each of their genes.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import sparse

from histoweave.errors import InputError
from histoweave.expression.blocks import Blocks

_PEAK = re.compile(r"(.+?)[:_-](\d+)[-_](\d+)")
ANNOTATION = ("gene", "chrom", "start", "end", "strand")


@dataclass(frozen=True)
class PeakSettings:
    """How peaks become genes."""

    section: ClassVar[str] = "expression.peaks"
    annotation: str | None
    upstream_bp: int


@dataclass(frozen=True)
class PeakMap:
    """genes : names (gene,); matrix : (peak, gene) 0/1, sparse; mapped : (peak,) bool, overlaps some gene."""

    genes: np.ndarray
    matrix: sparse.csr_matrix
    mapped: np.ndarray


class Activity:
    """Blocks of gene activity (cell, gene) of `peaks` (cell, peak)."""

    def __init__(self, peaks: Blocks, mapping: PeakMap) -> None:
        self.peaks, self.mapping = peaks, mapping

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells and genes."""
        return self.peaks.shape[0], len(self.mapping.genes)

    def __iter__(self) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """Yield (cells, summed counts)."""
        for rows, counts in self.peaks:
            yield rows, sparse.csr_matrix(counts @ self.mapping.matrix)


def is_peaks(names: Sequence[str]) -> bool:
    """Whether nearly all `names` look like genomic regions (``chr1:100-900``)."""
    return len(names) > 0 and np.mean([bool(_PEAK.fullmatch(name)) for name in names]) > 0.95


def map_peaks(names: Sequence[str], annotation: pd.DataFrame, *, upstream_bp: int, source: str) -> PeakMap:
    """Which peak counts for which gene; `annotation` has a row per gene: gene, chrom, start, end, strand (+ or -).

    Coordinates are in bp, ends included, in the same genome build for peaks and genes. Rows of one gene are joined.
    Raises InputError for names that are no regions, a gene without a strand, and if no peak meets a gene.
    """
    peaks = _parse(names, source)
    windows = _windows(annotation, upstream_bp)
    genes = np.unique(windows["gene"].to_numpy(dtype=str))
    rows, columns = [], []
    for chrom, part in windows.groupby("chrom"):
        here = peaks[peaks["chrom"] == chrom].sort_values("start")
        if here.empty:
            continue
        longest = int((here["end"] - here["start"]).max())
        first = np.searchsorted(here["start"], part["start"] - longest)
        last = np.searchsorted(here["start"], part["end"], side="right")
        for gene, start, a, b in zip(part["gene"], part["start"], first, last, strict=True):
            inside = here.index[a:b][here["end"].to_numpy()[a:b] >= start]
            rows.append(inside.to_numpy())
            columns.append(np.full(len(inside), np.searchsorted(genes, gene)))
    hits = (np.concatenate(rows), np.concatenate(columns)) if rows else (np.zeros(0, int), np.zeros(0, int))
    matrix = sparse.csr_matrix((np.ones(len(hits[0])), hits), shape=(len(names), len(genes)))
    matrix.data[:] = 1  # two rows of one gene over the same peak count once
    mapped = np.diff(matrix.indptr) > 0
    if not mapped.any():
        msg = f"{source}: none of {len(names)} peaks lies in a gene of expression.peaks.annotation "
        raise InputError(msg + f"(first peak: '{names[0]}'). Are chromosomes named alike, and is the build the same?")
    used = np.flatnonzero(np.asarray(matrix.sum(axis=0)).ravel())
    return PeakMap(genes[used], matrix[:, used], mapped)


def _parse(names: Sequence[str], source: str) -> pd.DataFrame:
    found = [_PEAK.fullmatch(name) for name in names]
    bad = [name for name, match in zip(names, found, strict=True) if match is None]
    if bad:
        msg = f"{source}: {len(bad)} of {len(names)} names are no genomic regions (first: '{bad[0]}'). "
        raise InputError(msg + "Name every peak as chrom:start-end.")
    parts = [match.groups() for match in found if match]
    frame = pd.DataFrame(parts, columns=["chrom", "start", "end"])
    return frame.astype({"start": np.int64, "end": np.int64})


def _windows(annotation: pd.DataFrame, upstream_bp: int) -> pd.DataFrame:
    missing = [name for name in ANNOTATION if name not in annotation]
    if missing:
        msg = f"expression.peaks.annotation has no column '{missing[0]}'. It needs: {', '.join(ANNOTATION)}."
        raise InputError(msg)
    odd = ~annotation["strand"].isin(["+", "-"])
    if odd.any():
        msg = f"expression.peaks.annotation: {odd.sum()} genes have no strand + or - (first: "
        raise InputError(msg + f"'{annotation['gene'][odd].iloc[0]}'). Fill it in.")
    forward = annotation["strand"] == "+"
    return annotation.assign(
        gene=annotation["gene"].astype(str),
        chrom=annotation["chrom"].astype(str),
        start=annotation["start"] - np.where(forward, upstream_bp, 0),
        end=annotation["end"] + np.where(forward, 0, upstream_bp),
    )
