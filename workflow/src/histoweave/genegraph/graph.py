"""The gene graph of one dataset: genes, their features, and signed, weighted co-expression edges."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from histoweave.errors import InputError, shorten


@dataclass(frozen=True)
class GeneGraph:
    """One dataset as a graph of genes.

    name, modality, tissue, species : of the dataset
    genes : (gene,) names, unique
    features : (gene, feature) float32; residual expression, or its principal components
    adjacency : (gene, gene) symmetric CSR without a diagonal; the weight is the correlation
    """

    name: str
    modality: str
    tissue: str
    species: str
    genes: np.ndarray
    features: np.ndarray
    adjacency: sparse.csr_array

    @property
    def density(self) -> float:
        """Share of gene pairs with an edge."""
        n = len(self.genes)
        return self.adjacency.nnz / max(n * (n - 1), 1)

    def with_edges(self, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray) -> "GeneGraph":
        """Return the same genes with other edges, each given once."""
        return replace(self, adjacency=symmetric(rows, columns, weights, n_genes=len(self.genes)))


def symmetric(rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, *, n_genes: int) -> sparse.csr_array:
    """Symmetric CSR (gene, gene) of edges that are each given once."""
    both = (np.r_[rows, columns], np.r_[columns, rows])
    made = sparse.csr_array((np.r_[weights, weights].astype(np.float32), both), shape=(n_genes, n_genes))
    made.sort_indices()
    return made


def upper_edges(adjacency: sparse.csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of a symmetric adjacency, each once: rows, columns, weights; in row order."""
    upper = sparse.triu(adjacency, k=1, format="csr").tocoo()
    return upper.row.astype(np.int64), upper.col.astype(np.int64), upper.data


def union_genes(graphs: Sequence[GeneGraph]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Sorted names of all genes, and for each graph the positions of its genes among them."""
    names = np.unique(np.concatenate([graph.genes for graph in graphs]))
    return names, [np.searchsorted(names, graph.genes) for graph in graphs]


def check_graphs(graphs: Sequence[GeneGraph]) -> None:
    """Raise InputError if a name stands twice, a graph has no edge, or its arrays do not fit together."""
    names = [graph.name for graph in graphs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not graphs or twice:
        msg = (
            f"graphs given twice: {shorten(twice)}." if twice else "no gene graph was given; list one in datasets.tsv."
        )
        raise InputError(msg)
    for graph in graphs:
        n = len(graph.genes)
        if len(set(graph.genes)) != n or graph.features.shape[0] != n or graph.adjacency.shape != (n, n):
            msg = f"graph '{graph.name}': {n} genes do not fit {graph.features.shape} features and unique names."
            raise InputError(msg)
        if graph.adjacency.nnz == 0:
            msg = f"graph '{graph.name}' has no edge among {n} genes. Raise expression.edges.threshold."
            raise InputError(msg)
