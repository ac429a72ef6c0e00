"""Embeddings in closed form: joint spectral coordinates and principal components."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import eigsh

from histoweave.genegraph.graph import GeneGraph, union_genes


def joint_spectral(graphs: Sequence[GeneGraph], *, dim: int) -> list[np.ndarray]:
    """Leading eigenvectors of the sum of the normalised adjacencies over the union of genes, (gene, dim) per graph.

    A gene has the same vector in all datasets. Adjacency without signs, with self-loops, normalised on both sides
    by the root of the degree. Each vector is scaled by the root of its eigenvalue, so that products of rows
    approximate the matrix, and has its largest entry positive.
    """
    names, positions = union_genes(graphs)
    n = len(names)
    total = sparse.csr_array((n, n))
    for graph, place in zip(graphs, positions, strict=True):
        part = normalised(graph.adjacency).tocoo()
        total = total + sparse.csr_array((part.data, (place[part.row], place[part.col])), shape=(n, n))
    k = min(dim, n - 2)
    values, vectors = eigsh(total, k=k, which="LA", v0=np.full(n, n**-0.5))
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], vectors[:, order]
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(k)])
    scaled = np.zeros((n, dim), dtype=np.float32)
    scaled[:, :k] = vectors * np.sqrt(np.maximum(values, 0))
    return [scaled[place] for place in positions]


def normalised(adjacency: sparse.csr_array) -> sparse.csr_array:
    """D^-1/2 (A + I) D^-1/2 of the adjacency without weights and signs."""
    ones = sparse.csr_array((adjacency != 0).astype(np.float64)) + sparse.eye_array(adjacency.shape[0])
    scale = sparse.diags_array(ones.sum(axis=1) ** -0.5)
    return sparse.csr_array(scale @ ones @ scale)


def principal_components(graph: GeneGraph, *, dim: int) -> np.ndarray:
    """Leading principal components (gene, dim) of one dataset's features."""
    centred = graph.features.astype(np.float64) - graph.features.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    k = min(dim, len(values))
    made = np.zeros((len(graph.genes), dim), dtype=np.float32)
    made[:, :k] = left[:, :k] * values[:k]
    return made
