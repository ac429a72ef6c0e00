"""Edges left out: counts, disjointness, no leak between datasets, scores."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from genegraph.planted import planted_graphs
from histoweave.errors import InputError
from histoweave.genegraph.graph import upper_edges
from histoweave.genegraph.heldout import (
    HeldOutSettings,
    Pairs,
    auc_interval,
    cosine,
    held_out_scores,
    split_edges,
)

SHARES = HeldOutSettings(test=0.2, validation=0.1)


@pytest.fixture(scope="module")
def graphs():
    return planted_graphs()


def named(graph, rows, columns):
    return {frozenset((graph.genes[a], graph.genes[b])) for a, b in zip(rows, columns, strict=True)}


def test_every_edge_goes_to_one_part(graphs):
    split = split_edges(graphs, settings=SHARES, seed=3)
    for before, after in zip(graphs, split.graphs, strict=True):
        parts = [named(before, *upper_edges(after.adjacency)[:2])]
        for part in (split.test, split.validation):
            held = part[before.name]
            parts.append(named(before, held.rows[held.is_edge], held.columns[held.is_edge]))
        assert set.union(*parts) == named(before, *upper_edges(before.adjacency)[:2])
        assert sum(map(len, parts)) == before.adjacency.nnz / 2
        assert len(parts[1]) / sum(map(len, parts)) == pytest.approx(0.2, abs=0.08)


def test_a_pair_is_left_out_of_all_datasets(graphs):
    split = split_edges(graphs, settings=SHARES, seed=3)
    left_out = set()
    for graph in graphs:
        for part in (split.test, split.validation):
            held = part[graph.name]
            left_out |= named(graph, held.rows[held.is_edge], held.columns[held.is_edge])
    for graph in split.graphs:
        assert not left_out & named(graph, *upper_edges(graph.adjacency)[:2])


def test_gaps_are_no_edges_and_as_many(graphs):
    split = split_edges(graphs, settings=SHARES, seed=3)
    for graph in graphs:
        held = split.test[graph.name]
        assert held.is_edge.sum() == (~held.is_edge).sum() > 10
        assert (graph.adjacency.toarray()[held.rows[~held.is_edge], held.columns[~held.is_edge]] == 0).all()
        gaps = named(graph, held.rows[~held.is_edge], held.columns[~held.is_edge])
        assert len(gaps) == (~held.is_edge).sum()


def test_weights_and_signs_survive(graphs):
    split = split_edges(graphs, settings=SHARES, seed=3)
    for before, after in zip(graphs, split.graphs, strict=True):
        rows, columns, weights = upper_edges(after.adjacency)
        np.testing.assert_array_equal(before.adjacency.toarray()[rows, columns], weights)


def test_same_seed_same_split_other_seed_other_split(graphs):
    one, two, three = (split_edges(graphs, settings=SHARES, seed=seed).test["set.0"].rows for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, three)


def test_no_share_leaves_all_edges(graphs):
    split = split_edges(graphs, settings=HeldOutSettings(test=0, validation=0), seed=3)
    assert [g.adjacency.nnz for g in split.graphs] == [g.adjacency.nnz for g in graphs]
    assert held_out_scores({}, split.test) == ({}, {})
    assert np.isnan(auc_interval({}, split.test)).all()


def test_leaving_out_everything_is_refused(graphs):
    with pytest.raises(InputError, match="all .* edges are left out. Lower genegraph.held_out"):
        split_edges(graphs, settings=HeldOutSettings(test=1.0, validation=0), seed=3)


def test_scores_are_those_of_the_cosine():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 5))
    pairs = Pairs(rng.integers(0, 20, 60), rng.integers(20, 40, 60), rng.random(60) < 0.5)
    auc, precision = held_out_scores({"a": z}, {"a": pairs})
    score = [
        z[a] @ z[b] / np.linalg.norm(z[a]) / np.linalg.norm(z[b])
        for a, b in zip(pairs.rows, pairs.columns, strict=True)
    ]
    np.testing.assert_allclose(cosine(z, pairs), score)
    assert auc["a"] == pytest.approx(roc_auc_score(pairs.is_edge, score))
    assert precision["a"] == pytest.approx(average_precision_score(pairs.is_edge, score))


def test_interval_agrees_with_a_bootstrap_of_the_pairs():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(400, 4))
    pairs = Pairs(np.arange(200), np.arange(200, 400), np.repeat([True, False], 100))
    z[200:300] += z[:100]
    low, high = auc_interval({"a": z}, {"a": pairs})
    score, draws = cosine(z, pairs), []
    for _ in range(150):
        pick = np.r_[rng.integers(0, 100, 100), rng.integers(100, 200, 100)]
        draws.append(roc_auc_score(pairs.is_edge[pick], score[pick]))
    assert low < roc_auc_score(pairs.is_edge, score) < high
    assert (high - low) / 3.92 == pytest.approx(np.std(draws), rel=0.25)
