"""Controls and baselines: what each must and must not know; the table of metrics."""

import numpy as np
import pytest

from genegraph.planted import planted_graphs
from histoweave.genegraph.controls import METHODS, BaselineSettings
from histoweave.genegraph.heldout import HeldOutSettings, split_edges
from histoweave.genegraph.judge import MetricSettings, judge
from histoweave.genegraph.skipgram import random_walks
from histoweave.genegraph.spectral import normalised, principal_components

SETTINGS = BaselineSettings(
    published_epochs=2,
    gae_epochs=40,
    gae_rate=0.02,
    skip_epochs=20,
    negatives=3,
    walks=6,
    walk_length=6,
    window=2,
    jump=0.2,
)
METRICS = MetricSettings(methods=(), seeds=1, neighbours=10, resolution=1.0, lisi_neighbours=30)


@pytest.fixture(scope="module")
def split():
    return split_edges(planted_graphs(size=16), settings=HeldOutSettings(test=0.1, validation=0.05), seed=1)


def embed(split, method, seed=1):
    made = METHODS[method](split.graphs, dim=8, settings=SETTINGS, seed=seed)
    return {graph.name: z for graph, z in zip(split.graphs, made, strict=True)}


def values(split, embeddings, method="x"):
    table = judge(method, embeddings, split, settings=METRICS, seed=1)
    return dict(zip(table["metric"], table["value"], strict=True))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_methods_have_one_form_and_repeat(split, method):
    once, twice = embed(split, method), embed(split, method)
    for graph in split.graphs:
        assert once[graph.name].shape == (len(graph.genes), 8)
        assert np.isfinite(once[graph.name]).all()
        np.testing.assert_array_equal(once[graph.name], twice[graph.name])


@pytest.mark.parametrize("method", ["joint_spectral", "node2vec", "gae", "vgae"])
def test_methods_that_see_edges_predict_hidden_ones(split, method):
    assert values(split, embed(split, method))["held_out_auc"] > 0.65


def test_a_random_vector_per_gene_tops_cgr_but_knows_no_edge(split):
    found = values(split, embed(split, "random_per_gene"))
    genes = np.concatenate([graph.genes for graph in split.graphs])
    assert found["cgr"] == pytest.approx(1 - len(set(genes)) / len(genes))  # its maximum
    assert found["held_out_auc"] == pytest.approx(0.5, abs=0.1)
    assert found["auc_no_diagonal"] == pytest.approx(0.5, abs=0.05)
    assert found["auc"] > found["auc_no_diagonal"]


def test_a_gene_has_one_vector_in_the_joint_methods(split):
    for method in ("random_per_gene", "joint_spectral", "gene2vec"):
        made = embed(split, method)
        first, second = split.graphs[:2]
        gene = next(gene for gene in first.genes if gene in second.genes)
        a, b = (made[g.name][list(g.genes).index(gene)] for g in (first, second))
        np.testing.assert_array_equal(a, b)


def test_table_has_an_interval_for_held_out_edges_only(split):
    table = judge("x", embed(split, "joint_spectral"), split, settings=METRICS, seed=1).set_index("metric")
    assert table.loc["held_out_auc", "lower"] < table.loc["held_out_auc", "value"] < table.loc["held_out_auc", "upper"]
    assert table.drop(index="held_out_auc")[["lower", "upper"]].isna().all(axis=None)
    assert set(table.index) == {
        "asw", "auc", "auc_no_diagonal", "ilisi", "gc", "cgr", "no", "held_out_auc", "held_out_ap"
    }  # fmt: skip


def test_normalised_adjacency_has_leading_eigenvalue_one(split):
    values = np.linalg.eigvalsh(normalised(split.graphs[0].adjacency).toarray())
    assert values.max() == pytest.approx(1)


def test_principal_components_keep_distances():
    graph = planted_graphs(datasets=1)[0]
    z = principal_components(graph, dim=len(graph.genes))
    centred = graph.features - graph.features.mean(axis=0)
    np.testing.assert_allclose(z @ z.T, centred @ centred.T, atol=1e-2)


def test_walks_follow_edges_or_change_dataset_at_the_same_gene(split):
    graphs = split.graphs
    begin = np.cumsum([0, *[len(graph.genes) for graph in graphs]])
    owner = np.repeat(np.arange(len(graphs)), np.diff(begin))
    genes = np.concatenate([graph.genes for graph in graphs])
    starts = np.arange(begin[-1])
    for jump in (0.0, 1.0):
        path = random_walks(graphs, starts, length=5, jump=jump, rng=np.random.default_rng(0))
        for a, b in zip(path[:, :-1].ravel(), path[:, 1:].ravel(), strict=True):
            graph = graphs[owner[a]]
            near = set(graph.genes[graph.adjacency[[a - begin[owner[a]]]].indices]) | {genes[a]}
            assert genes[b] in near
        assert (owner[path] == owner[starts][:, None]).all() == (jump == 0)
