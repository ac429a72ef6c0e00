"""The six metrics against literal loops, and what a name-only embedding makes of them."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score, silhouette_samples

from genegraph.planted import planted_graphs
from histoweave.genegraph.heldout import Pairs
from histoweave.genegraph.lisi import graph_lisi, perplexity_weights
from histoweave.genegraph.metrics import (
    common_gene_ratio,
    common_rows,
    connectivity,
    edge_auc,
    mixing_silhouette,
    neighbour_overlap,
)
from histoweave.genegraph.neighbours import fuzzy_graph, nearest


@pytest.fixture(scope="module")
def graphs():
    return planted_graphs(modules=3, size=6, alone=8)


@pytest.fixture(scope="module")
def clusters(graphs):
    return np.random.default_rng(0).integers(0, 4, sum(len(graph.genes) for graph in graphs))


def test_common_rows_are_in_every_dataset(graphs):
    everywhere = set.intersection(*[set(graph.genes) for graph in graphs])
    genes = np.concatenate([graph.genes for graph in graphs])
    assert [gene in everywhere for gene in genes] == common_rows(graphs).tolist()


@pytest.mark.parametrize("diagonal", [True, False])
def test_auc_counts_all_ordered_pairs(graphs, diagonal):
    graph = graphs[0]
    z = np.random.default_rng(0).normal(size=(len(graph.genes), 4))
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    truth = graph.adjacency.toarray() != 0
    np.fill_diagonal(truth, True)
    counted = np.ones(truth.shape, dtype=bool) if diagonal else ~np.eye(len(truth), dtype=bool)
    expected = roc_auc_score(truth[counted], (unit @ unit.T)[counted])
    # on the diagonal rounding decides between equal cosines of 1, hence the tolerance
    assert edge_auc(z, graph, diagonal=diagonal, skip=None) == pytest.approx(expected, abs=1e-6)


def test_auc_can_skip_pairs(graphs):
    graph = graphs[0]
    z = np.random.default_rng(0).normal(size=(len(graph.genes), 4))
    rows, columns = np.triu_indices(len(z), 1)
    edge = graph.adjacency.toarray()[rows, columns] != 0
    skip = Pairs(columns[:50], rows[:50], edge[:50])
    score = (
        np.einsum("pd,pd->p", z[rows], z[columns])
        / np.linalg.norm(z[rows], axis=1)
        / np.linalg.norm(z[columns], axis=1)
    )
    assert edge_auc(z, graph, diagonal=False, skip=skip) == pytest.approx(roc_auc_score(edge[50:], score[50:]))


def test_silhouette_is_taken_inside_clusters():
    rng = np.random.default_rng(0)
    z, dataset, cluster = rng.normal(size=(30, 3)), np.arange(30) % 2, np.arange(30) // 15
    expected = np.mean([np.mean(1 - abs(silhouette_samples(z[cluster == c], dataset[cluster == c]))) for c in (0, 1)])
    assert mixing_silhouette(z, dataset, cluster) == pytest.approx(expected)


def test_silhouette_leaves_out_clusters_of_one_dataset_or_as_many_rows_as_datasets():
    z = np.random.default_rng(0).normal(size=(7, 3))
    dataset, cluster = np.array([0, 1, 0, 1, 0, 0, 0]), np.array([0, 0, 0, 1, 1, 2, 2])
    assert mixing_silhouette(z, dataset, cluster) == pytest.approx(mixing_silhouette(z[:3], dataset[:3], cluster[:3]))
    assert np.isnan(mixing_silhouette(z[3:], dataset[3:], cluster[3:]))


def test_connectivity_of_a_cluster_in_two_pieces():
    graph = sparse.csr_array(np.kron(np.eye(2), np.ones((3, 3))))
    assert connectivity(graph, np.zeros(6, dtype=int)) == pytest.approx(0.5)
    assert connectivity(graph, np.array([0, 0, 0, 1, 1, 1])) == 1


def test_common_gene_ratio_by_hand():
    assert common_gene_ratio(np.array(["A", "B", "A", "B"]), np.array([0, 1, 0, 1])) == 0.5
    assert common_gene_ratio(np.array(["A", "B", "A", "B"]), np.array([0, 0, 1, 1])) == 0


def test_neighbour_overlap_equals_the_loop(graphs, clusters):
    rows = [(t, graph, i) for t, graph in enumerate(graphs) for i in range(len(graph.genes))]

    def near(graph, i):
        return {graph.genes[j] for j in graph.adjacency[[i]].indices} | {graph.genes[i]}

    sets = [near(graph, i) for _, graph, i in rows]
    total = 0
    for label in range(4):
        inside = np.flatnonzero(clusters == label)
        values = [
            len(sets[a] & sets[b]) / len(sets[a] | sets[b]) for a in inside for b in inside if rows[a][0] != rows[b][0]
        ]
        total += len(inside) * (np.mean(values) if values else 0)
    assert neighbour_overlap(graphs, clusters) == pytest.approx(total / len(clusters))


def test_perplexity_weights_have_the_entropy_asked_for():
    length = np.random.default_rng(0).random((5, 30)) * 3
    share = perplexity_weights(length, perplexity=10)
    np.testing.assert_allclose(share.sum(axis=1), 1)
    np.testing.assert_allclose(-(share * np.log(share)).sum(axis=1), np.log(10), atol=1e-6)


def test_lisi_of_mixed_and_of_separate_datasets():
    rng = np.random.default_rng(0)
    z, dataset = rng.normal(size=(300, 2)), np.arange(300) % 2
    mixed = fuzzy_graph(*nearest(z, number=15))
    apart = fuzzy_graph(*nearest(z + 100 * dataset[:, None], number=15))
    assert graph_lisi(mixed, dataset, number=90) > 0.9
    assert graph_lisi(apart, dataset, number=90) == pytest.approx(0)


def test_lisi_counts_rows_with_too_few_within_reach_as_unmixed():
    z, dataset = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    assert graph_lisi(fuzzy_graph(*nearest(z, number=15)), dataset, number=90) == 0
