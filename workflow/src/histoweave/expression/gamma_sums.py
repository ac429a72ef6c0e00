"""Sums over the counts of a gene of differences of digamma and trigamma, as negative binomial likelihoods need them.

| symbol   | name here | axes    | meaning                                     |
|----------|-----------|---------|---------------------------------------------|
| y_ij     | (counts)  |         | counts of a gene, of which zeros add nothing |
| phi_j    | phi       | (gene,) | overdispersion; 1/phi is the size theta     |
| N_j(k)   | cells     | (step,) | number of cells with more than k counts     |

By the recurrence psi(a + 1) = psi(a) + 1/a the sum of psi(y + 1/phi) - psi(1/phi) over cells is the sum of
N(k) phi/(1 + k phi) over k: one division per size of count that occurs, no special function, and no digits
lost for small phi. From `_STEPS` on the asymptotic series takes over, which is exact to rounding there.
"""

from dataclasses import dataclass

import numpy as np

_STEPS = 256


@dataclass(frozen=True)
class CountTable:
    """Numbers of cells by size of count, for several genes.

    genes : number; gene, step, cells : (step,) cells of a gene with more than `step` counts
    tail_gene, tail_count, tail_cells : (tail,) cells of a gene by their count beyond `_STEPS`
    """

    genes: int
    gene: np.ndarray
    step: np.ndarray
    cells: np.ndarray
    tail_gene: np.ndarray
    tail_count: np.ndarray
    tail_cells: np.ndarray

    def subset(self, number: np.ndarray, genes: int) -> "CountTable":
        """Table of `genes` genes; `number` (gene,) is the new position of each, -1 for those left out."""
        step, tail = number[self.gene] >= 0, number[self.tail_gene] >= 0
        return CountTable(
            genes,
            number[self.gene[step]],
            self.step[step],
            self.cells[step],
            number[self.tail_gene[tail]],
            self.tail_count[tail],
            self.tail_cells[tail],
        )

    def digamma(self, phi: np.ndarray) -> np.ndarray:
        """Sum (gene,) of psi(y + 1/phi) - psi(1/phi) over cells; phi : (gene,), > 0."""
        ratio = phi[self.gene]
        total = np.bincount(self.gene, self.cells * ratio / (1 + self.step * ratio), minlength=self.genes)
        if len(self.tail_gene):
            u, v = self._ends(phi)
            first = -self.tail_count * u * v  # v - u
            square = first * (u + v)
            fourth = square * (u**2 + v**2)
            gain = np.log1p(self.tail_count * u) - first / 2 - square / 12 + fourth / 120
            total += np.bincount(self.tail_gene, self.tail_cells * gain, minlength=self.genes)
        return total

    def trigamma(self, phi: np.ndarray) -> np.ndarray:
        """Sum (gene,) of psi1(1/phi) - psi1(y + 1/phi) over cells, divided by phi^2; phi : (gene,), > 0."""
        ratio = phi[self.gene]
        total = np.bincount(self.gene, self.cells / (1 + self.step * ratio) ** 2, minlength=self.genes)
        if len(self.tail_gene):
            u, v = self._ends(phi)
            # psi1(x) = 1/x + 1/2x^2 + 1/6x^3 - 1/30x^5, the difference u - v taken out of every term
            series = 1 + (u + v) / 2 + (u * u + u * v + v * v) / 6
            series -= (u**4 + u**3 * v + u**2 * v**2 + u * v**3 + v**4) / 30
            of_tail = phi[self.tail_gene]
            scaled = self.tail_count * (u / of_tail) * (v / of_tail) * series
            total += np.bincount(self.tail_gene, self.tail_cells * scaled, minlength=self.genes)
        return total

    def _ends(self, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """1/x (tail,) at both ends of the stretch that the series bridges."""
        of_tail = phi[self.tail_gene]
        return of_tail / (1 + _STEPS * of_tail), of_tail / (1 + (_STEPS + self.tail_count) * of_tail)


def count_table(gene: np.ndarray, count: np.ndarray, *, genes: int) -> CountTable:
    """Table of the non-zero counts `count` (nonzero,), whole numbers, of the genes `gene` (nonzero,)."""
    whole = count.astype(np.int64)
    low = np.minimum(whole, _STEPS)
    most = int(low.max(initial=0))
    cells = np.bincount(gene * (most + 1) + low, minlength=genes * (most + 1)).reshape(genes, most + 1)
    above = cells[:, ::-1].cumsum(axis=1)[:, ::-1]  # (gene, count): cells with at least that count
    owner, step = np.nonzero(above[:, 1:])
    far = whole > _STEPS
    top = int(whole.max(initial=0)) + 1
    keys, tail_cells = np.unique(gene[far] * top + whole[far], return_counts=True)
    tail_count = (keys % top - _STEPS).astype(np.float64)
    numbers = above[owner, step + 1].astype(np.float64)
    return CountTable(
        genes, owner, step.astype(np.float64), numbers, keys // top, tail_count, tail_cells.astype(np.float64)
    )
