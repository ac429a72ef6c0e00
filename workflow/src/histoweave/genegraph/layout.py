"""A picture of the embedding: UMAP's objective minimised in batches (arXiv:1802.03426), without a compiler."""

import numpy as np
from scipy import sparse

# Curve 1 / (1 + A d^2B) that UMAP fits for min_dist 0.1 and spread 1.
CURVE_A, CURVE_B = 1.577, 0.8951
NEGATIVES = 5


def umap_layout(graph: sparse.csr_array, *, start: np.ndarray, epochs: int, rng: np.random.Generator) -> np.ndarray:
    """(row, 2) coordinates in which the neighbours of `graph` lie close.

    graph : symmetric fuzzy weights (row, row); start : (row, 2) first coordinates, rescaled to -10..10
    All edges move at once in each epoch, with a chance equal to their weight; each draws `NEGATIVES` rows to repel.
    """
    edges = sparse.coo_array(graph)
    rows, columns, weights = edges.row, edges.col, edges.data / edges.data.max()
    n = graph.shape[0]
    spread = np.abs(start - start.mean(axis=0)).max(axis=0)
    place = 10 * (start - start.mean(axis=0)) / np.where(spread > 0, spread, 1) + 1e-4 * rng.standard_normal((n, 2))
    for epoch in range(epochs):
        used = rng.random(len(weights)) < weights
        head, tail = rows[used], columns[used]
        pull = _attraction(place[head] - place[tail])
        far = rng.integers(0, n, size=(len(head), NEGATIVES))
        push = _repulsion(place[head][:, None, :] - place[far]).sum(axis=1)
        step = 1 - epoch / epochs
        place += step * _sum_by(head, pull + push, n) - step * _sum_by(tail, pull, n)
        place -= place.mean(axis=0)
    return place


def _attraction(apart: np.ndarray) -> np.ndarray:
    square = np.square(apart).sum(axis=-1, keepdims=True)
    safe = np.where(square > 0, square, 1)
    force = -2 * CURVE_A * CURVE_B * safe ** (CURVE_B - 1) / (1 + CURVE_A * safe**CURVE_B)
    return np.clip(np.where(square > 0, force, 0) * apart, -4, 4)


def _repulsion(apart: np.ndarray) -> np.ndarray:
    square = np.square(apart).sum(axis=-1, keepdims=True)
    force = 2 * CURVE_B / ((0.001 + square) * (1 + CURVE_A * square**CURVE_B))
    return np.clip(np.where(square > 0, force, 0) * apart, -4, 4)


def _sum_by(index: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    return np.stack([np.bincount(index, weights=values[:, axis], minlength=n) for axis in range(2)], axis=1)
