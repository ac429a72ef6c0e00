"""Nearest neighbours of embedded rows, their fuzzy weights, and Leiden communities; no compiled neighbour search."""

import igraph
import leidenalg
import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors


def nearest(embedding: np.ndarray, *, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions and Euclidean distances (row, number) of the nearest rows, the row itself first."""
    number = min(number, len(embedding))
    search = NearestNeighbors(n_neighbors=number, algorithm="brute").fit(embedding)
    distances, found = search.kneighbors(embedding)
    # Rows that coincide come in any order: put each row itself first, as the definition has it.
    own = np.arange(len(embedding))
    for i in np.flatnonzero(found[:, 0] != own):
        place = np.flatnonzero(found[i] == own[i])
        found[i, place[0] if len(place) else 0] = found[i, 0]
        found[i, 0], distances[i, 0] = i, 0.0
    return found, distances


def fuzzy_graph(found: np.ndarray, distances: np.ndarray) -> sparse.csr_array:
    """Symmetric weights (row, row) of a neighbour graph, as in UMAP (arXiv:1802.03426, algorithms 2 and 3).

    found, distances : (row, number) as of `nearest`. The weight of a neighbour is exp(-(d - rho) / sigma), rho the
    distance of the nearest one apart from the row, sigma such that the weights sum to log2(number); both directions
    are joined by a + b - ab.
    """
    n, number = found.shape
    others = distances[:, 1:]
    positive = np.where(others > 0, others, np.inf)
    rho = np.where(np.isfinite(positive.min(axis=1)), positive.min(axis=1), 0.0)[:, None]
    excess = np.maximum(others - rho, 0)
    sigma = np.maximum(_bandwidths(excess, np.log2(number)), 1e-3 * _mean_distance(distances, rho))
    weights = np.exp(-excess / sigma)
    rows = np.repeat(np.arange(n), number - 1)
    one_way = sparse.csr_array((weights.ravel(), (rows, found[:, 1:].ravel())), shape=(n, n))
    return sparse.csr_array(one_way + one_way.T - one_way.multiply(one_way.T))


def _bandwidths(excess: np.ndarray, target: float) -> np.ndarray:
    """(row, 1) sigma at which exp(-excess / sigma) sums to `target`, by bisection of all rows at once."""
    low, high = np.zeros((len(excess), 1)), np.full((len(excess), 1), np.inf)
    middle = np.ones((len(excess), 1))
    for _ in range(64):
        total = np.exp(-excess / middle).sum(axis=1, keepdims=True)
        above = total > target
        high, low = np.where(above, middle, high), np.where(above, low, middle)
        middle = np.where(np.isinf(high), 2 * middle, (low + np.where(np.isinf(high), 0, high)) / 2)
    return np.maximum(middle, 1e-300)


def _mean_distance(distances: np.ndarray, rho: np.ndarray) -> np.ndarray:
    return np.where(rho > 0, distances.mean(axis=1, keepdims=True), distances.mean())


def leiden(graph: sparse.csr_array, *, resolution: float, seed: int) -> np.ndarray:
    """(row,) community of each row of a symmetric weighted graph (doi:10.1038/s41598-019-41695-z); 0 is the largest."""
    upper = sparse.triu(graph, k=1).tocoo()
    edges = igraph.Graph(n=graph.shape[0], edges=np.c_[upper.row, upper.col])
    found = leidenalg.find_partition(
        edges,
        leidenalg.RBConfigurationVertexPartition,
        weights=upper.data.tolist(),
        resolution_parameter=resolution,
        n_iterations=-1,
        seed=seed % 2**31,
    )
    return by_size(np.asarray(found.membership))


def by_size(labels: np.ndarray) -> np.ndarray:
    """Rename `labels` (row,) to 0, 1, ... from the largest group down; of equal groups the earlier one first."""
    _, first, label, count = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -count))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[label]


def communities(embedding: np.ndarray, *, number: int, resolution: float, seed: int) -> np.ndarray:
    """(row,) Leiden community over the fuzzy graph of the `number` nearest neighbours."""
    return leiden(fuzzy_graph(*nearest(embedding, number=number)), resolution=resolution, seed=seed)
