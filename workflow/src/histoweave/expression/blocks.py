"""Counts as blocks of cells, so that a method never needs the whole matrix in memory.

A `Blocks` can be gone through any number of times; each turn yields the blocks in the order
of the cells. Methods add up over blocks, in that order, so the result depends on the block
size only through rounding.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from scipy import sparse

from histoweave.errors import InputError


class Blocks(Protocol):
    """Counts (cell, gene), readable block by block.

    shape : (cells, genes)
    Iterating yields (slice of the cells, CSR float64 matrix of these cells), in order.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells and genes."""

    def __iter__(self) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """Yield (cells, counts) from the first cell to the last."""


class InMemory:
    """Blocks of a matrix that is in memory: `counts` (cell, gene), `cells` per block (None: one block)."""

    def __init__(self, counts: sparse.spmatrix | np.ndarray, *, cells: int | None) -> None:
        self.counts = sparse.csr_matrix(counts, dtype=np.float64)
        self.cells = cells or max(1, self.counts.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells and genes."""
        return self.counts.shape

    def __iter__(self) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """Yield (cells, counts) from the first cell to the last."""
        for begin in range(0, self.shape[0], self.cells):
            rows = slice(begin, min(begin + self.cells, self.shape[0]))
            yield rows, self.counts[rows]


def as_blocks(counts: Blocks | sparse.spmatrix | np.ndarray, *, cells: int) -> Blocks:
    """`counts` (cell, gene) as blocks: a matrix in blocks of `cells`, blocks as they are."""
    if isinstance(counts, np.ndarray) or sparse.issparse(counts):
        return InMemory(counts, cells=cells)
    return counts


class Subset:
    """Blocks of some cells and genes of `blocks`.

    cells : (cell,) bool, or None for all; genes : positions in the wanted order, or None for all
    """

    def __init__(self, blocks: Blocks, *, cells: np.ndarray | None, genes: Sequence[int] | np.ndarray | None) -> None:
        self.blocks = blocks
        self.cells = None if cells is None else np.asarray(cells, bool)
        self.genes = None if genes is None else np.asarray(genes, np.intp)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells and genes."""
        cells, genes = self.blocks.shape
        return (
            cells if self.cells is None else int(self.cells.sum()),
            genes if self.genes is None else len(self.genes),
        )

    def __iter__(self) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """Yield (cells, counts) of the subset; cells are numbered within it."""
        begin = 0
        for rows, counts in self.blocks:
            kept = counts if self.cells is None else counts[np.flatnonzero(self.cells[rows])]
            kept = kept if self.genes is None else kept[:, self.genes]
            if kept.shape[0]:
                yield slice(begin, begin + kept.shape[0]), kept
            begin += kept.shape[0]


class Kept:
    """Blocks of `blocks` that stay in memory after the first reading, if they take at most `most_gb`.

    Methods that go through the counts several times then read and unpack the file once.
    """

    def __init__(self, blocks: Blocks, *, most_gb: float) -> None:
        self.blocks, self.most = blocks, most_gb * 2**30
        self._parts: list[tuple[slice, sparse.csr_matrix]] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells and genes."""
        return self.blocks.shape

    def __iter__(self) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        """Yield (cells, counts) from the first cell to the last."""
        if self._parts is not None:
            for rows, counts in self._parts:
                yield rows, counts.astype(np.float64)
            return
        parts, left = [], self.most
        for rows, counts in self.blocks:
            if left >= 0:
                parts.append((rows, _packed(counts)))
                left -= sum(array.nbytes for array in (parts[-1][1].data, counts.indices, counts.indptr))
                if left < 0:
                    parts.clear()
            yield rows, counts
        if left >= 0:
            self._parts = parts


def _packed(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """`counts` in half the memory, if no count is too large for that."""
    small = counts.astype(np.float32)
    return small if np.array_equal(small.data, counts.data) else counts


def gather(blocks: Blocks) -> sparse.csr_matrix:
    """All of `blocks` as one CSR matrix (cell, gene)."""
    parts = [counts for _, counts in blocks]
    return sparse.vstack(parts, format="csr") if parts else sparse.csr_matrix(blocks.shape)


def depths(blocks: Blocks) -> np.ndarray:
    """Total counts of each cell (cell,), float64."""
    total = np.zeros(blocks.shape[0])
    for rows, counts in blocks:
        total[rows] = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    return total


def check_depth(depth: np.ndarray) -> None:
    """Raise InputError unless every cell has depth > 0."""
    empty = ~(depth > 0)
    if empty.any():
        msg = f"{empty.sum()} of {len(depth)} cells have no counts (first: row {int(empty.argmax())}). "
        raise InputError(msg + "Raise expression.qc.<modality>.min_counts to drop them.")
