"""Edges left out before training, to stop in time and to judge what an embedding knows of edges that it never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from histoweave.errors import InputError
from histoweave.genegraph.graph import GeneGraph, union_genes, upper_edges
from histoweave.rng import generator


@dataclass(frozen=True)
class HeldOutSettings:
    """Shares of all edges that are left out: for the metrics, and for stopping in time."""

    section: ClassVar[str] = "genegraph.held_out"
    test: float
    validation: float


@dataclass(frozen=True)
class Pairs:
    """Gene pairs of one dataset that were left out: as many edges as pairs without one.

    rows, columns : (pair,) positions of the genes; is_edge : (pair,) bool
    """

    rows: np.ndarray
    columns: np.ndarray
    is_edge: np.ndarray


@dataclass(frozen=True)
class Split:
    """The graphs without the edges left out, and those edges by dataset."""

    graphs: list[GeneGraph]
    validation: dict[str, Pairs]
    test: dict[str, Pairs]


def split_edges(graphs: Sequence[GeneGraph], *, settings: HeldOutSettings, seed: int) -> Split:
    """Leave out edges for testing and for early stopping.

    A pair of genes is left out of all datasets at once: an edge that one dataset keeps would tell of the other's.
    """
    names, positions = union_genes(graphs)
    edges = [upper_edges(graph.adjacency) for graph in graphs]
    keys = [
        _key(place[rows], place[columns], len(names))
        for place, (rows, columns, _) in zip(positions, edges, strict=True)
    ]
    all_keys = np.unique(np.concatenate(keys))
    draw = generator(seed, "genegraph/heldout").random(len(all_keys))
    trained, validation, test = [], {}, {}
    for graph, key, (rows, columns, weights) in zip(graphs, keys, edges, strict=True):
        drawn = draw[np.searchsorted(all_keys, key)]
        in_test = drawn < settings.test
        in_validation = ~in_test & (drawn < settings.test + settings.validation)
        keep = ~(in_test | in_validation)
        if not keep.any():
            msg = f"graph '{graph.name}': all {len(keep)} edges are left out. Lower genegraph.held_out."
            raise InputError(msg)
        trained.append(graph.with_edges(rows[keep], columns[keep], weights[keep]))
        for part, chosen, into in (("test", in_test, test), ("validation", in_validation, validation)):
            gaps = _gaps(graph, int(chosen.sum()), generator(seed, "genegraph/gaps", graph.name, part))
            into[graph.name] = Pairs(
                np.r_[rows[chosen], gaps[0]],
                np.r_[columns[chosen], gaps[1]],
                np.repeat([True, False], [chosen.sum(), len(gaps[0])]),
            )
    return Split(trained, validation, test)


def _key(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    return np.minimum(a, b).astype(np.int64) * n + np.maximum(a, b)


def _gaps(graph: GeneGraph, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`number` different pairs without an edge (fewer if there are not so many)."""
    n = len(graph.genes)
    rows, columns, _ = upper_edges(graph.adjacency)
    taken = np.sort(_key(rows, columns, n))
    number = min(number, n * (n - 1) // 2 - len(taken))
    found = np.empty(0, dtype=np.int64)
    while len(found) < number:
        a, b = rng.integers(0, n, size=(2, 2 * number + 16))
        fresh = _key(a, b, n)[a != b]
        fresh = fresh[~np.isin(fresh, taken)]
        both = np.r_[found, fresh]
        found = both[np.sort(np.unique(both, return_index=True)[1])]
    return found[:number] // n, found[:number] % n


def cosine(embedding: np.ndarray, pairs: Pairs) -> np.ndarray:
    """(pair,) cosine of the two genes of each pair."""
    unit = unit_rows(embedding)
    return np.einsum("pd,pd->p", unit[pairs.rows], unit[pairs.columns])


def unit_rows(embedding: np.ndarray) -> np.ndarray:
    """`embedding` (row, dim) with rows of length 1; rows of zeros stay zero."""
    length = np.linalg.norm(embedding, axis=1, keepdims=True)
    return embedding / np.where(length > 0, length, 1)


def held_out_scores(
    embeddings: Mapping[str, np.ndarray], pairs: Mapping[str, Pairs]
) -> tuple[dict[str, float], dict[str, float]]:
    """ROC-AUC and average precision of the cosine for held-out edges, by dataset.

    embeddings : dataset -> (gene, dim). A dataset without held-out edges is left out.
    """
    auc, precision = {}, {}
    for name, held in pairs.items():
        if 0 < held.is_edge.sum() < len(held.is_edge):
            score = cosine(embeddings[name], held)
            auc[name] = float(roc_auc_score(held.is_edge, score))
            precision[name] = float(average_precision_score(held.is_edge, score))
    return auc, precision


def auc_interval(embeddings: Mapping[str, np.ndarray], pairs: Mapping[str, Pairs]) -> tuple[float, float]:
    """95 % interval of the mean held-out AUC over datasets, from the pairs' ranks (doi:10.2307/2531595)."""
    variances, values = [], []
    for name, held in pairs.items():
        edges, gaps = held.is_edge.sum(), (~held.is_edge).sum()
        if min(edges, gaps) < 2:
            continue
        score = cosine(embeddings[name], held)
        everyone = rankdata(score)
        above_gaps = (everyone[held.is_edge] - rankdata(score[held.is_edge])) / gaps  # (edge,)
        below_edges = 1 - (everyone[~held.is_edge] - rankdata(score[~held.is_edge])) / edges  # (gap,)
        values.append(above_gaps.mean())
        variances.append(above_gaps.var(ddof=1) / edges + below_edges.var(ddof=1) / gaps)
    if not values:
        return float("nan"), float("nan")
    half = 1.959964 * np.sqrt(np.sum(variances)) / len(values)
    return float(np.mean(values) - half), float(np.mean(values) + half)
