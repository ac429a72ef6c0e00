"""iLISI on a neighbour graph: how many datasets are found around a row (doi:10.1038/s41592-021-01336-8).

The nearest rows are those at the end of the shortest paths, the length of an edge being its fuzzy weight. (A weight is
larger for closer rows; the published figures are made so, and only so can ours be held against them.)
"""

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

_ROWS_AT_ONCE = 512


def graph_lisi(graph: sparse.csr_array, dataset: np.ndarray, *, number: int) -> float:
    """Median inverse Simpson index of `dataset` around each row, scaled so that 0 = one dataset, 1 = all evenly.

    graph : fuzzy weights (row, row); dataset : (row,) labels 0, 1, ...
    number : nearest rows looked at (90 as published); a row that reaches fewer counts as unmixed
    """
    n, n_datasets = len(dataset), int(dataset.max()) + 1
    indicator = np.eye(n_datasets)[dataset]
    simpson = np.ones(n)
    for begin in range(0, n, _ROWS_AT_ONCE):
        rows = np.arange(begin, min(begin + _ROWS_AT_ONCE, n))
        length = dijkstra(graph, directed=False, indices=rows)
        length[np.arange(len(rows)), rows] = np.inf
        if number >= n:
            continue
        near = np.argsort(length, axis=1, kind="stable")[:, :number]
        length = np.take_along_axis(length, near, axis=1)  # (row, number)
        full = np.isfinite(length).all(axis=1)
        share = perplexity_weights(length[full], perplexity=number // 3)
        mixed = np.einsum("rk,rkd->rd", share, indicator[near[full]])  # (row, dataset)
        simpson[rows[full]] = np.square(mixed).sum(axis=1)
    return float((np.median(1 / simpson) - 1) / (n_datasets - 1))


def perplexity_weights(length: np.ndarray, *, perplexity: float) -> np.ndarray:
    """(row, number) weights exp(-beta length), summing to 1, with beta such that their entropy is log(perplexity)."""
    low, high = np.zeros((len(length), 1)), np.full((len(length), 1), np.inf)
    beta = np.ones((len(length), 1))
    excess = length - length.min(axis=1, keepdims=True) if len(length) else length  # the weights do not change by it
    for _ in range(60):
        weight = np.exp(-beta * excess)
        total = weight.sum(axis=1, keepdims=True)
        entropy = np.log(total) + beta * (excess * weight).sum(axis=1, keepdims=True) / total
        flat = entropy > np.log(perplexity)
        low, high = np.where(flat, beta, low), np.where(flat, high, beta)
        beta = np.where(np.isinf(high), 2 * beta, (low + np.where(np.isinf(high), 0, high)) / 2)
    weight = np.exp(-beta * excess)
    return weight / weight.sum(axis=1, keepdims=True)
