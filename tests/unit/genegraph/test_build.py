"""Edges by rule, features of genes, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from genegraph.planted import SETTINGS, coexpression, planted_graphs
from histoweave.errors import InputError
from histoweave.genegraph.build import build_graph, edges_of, gene_features
from histoweave.genegraph.graph import check_graphs, union_genes, upper_edges

GENES = np.array(["A", "B", "C", "D"])
PAIRS = pd.DataFrame(
    {
        "gene_a": ["A", "A", "B", "C", "B", "A"],
        "gene_b": ["B", "C", "C", "D", "D", "D"],
        "correlation": [0.5, -0.3, 0.0, 0.05, np.nan, 0.9],
        "edge": [True, True, True, True, True, False],
    }
)


def test_edges_keep_sign_and_weight_and_need_a_correlation():
    rows, columns, weights = upper_edges(edges_of(PAIRS, GENES, name="toy"))
    found = {GENES[a] + GENES[b]: round(float(w), 3) for a, b, w in zip(rows, columns, weights, strict=True)}
    assert found == {"AB": 0.5, "AC": -0.3, "CD": 0.05}


def test_adjacency_is_symmetric_without_diagonal():
    adjacency = edges_of(PAIRS, GENES, name="toy").toarray()
    assert (adjacency == adjacency.T).all()
    assert (np.diag(adjacency) == 0).all()


def test_unknown_gene_is_named():
    with pytest.raises(InputError, match=r"'toy': 1 gene\(s\) of coexpression.parquet have no residuals: 'D'"):
        edges_of(PAIRS, GENES[:3], name="toy")


def test_features_are_centred_residuals():
    residuals = np.random.default_rng(0).normal(2, 1, size=(30, 4))
    features = gene_features(residuals, components=0)
    assert features.shape == (4, 30)
    np.testing.assert_allclose(features.mean(axis=1), 0, atol=1e-6)


def test_all_components_keep_every_inner_product():
    residuals = np.random.default_rng(0).normal(size=(30, 4))
    full, rotated = gene_features(residuals, components=0), gene_features(residuals, components=4)
    scale = (full @ full.T)[0, 0] / (rotated @ rotated.T)[0, 0]
    np.testing.assert_allclose(rotated @ rotated.T * scale, full @ full.T, atol=1e-4)
    assert np.square(rotated).mean() == pytest.approx(1, rel=1e-5)


def build(residuals, genes, pairs):
    words = {"name": "toy", "modality": "scrna", "tissue": "blood", "species": "human"}
    return build_graph(residuals, genes, pairs, settings=SETTINGS, **words)


def test_a_graph_without_edges_is_refused():
    values = np.random.default_rng(0).normal(size=(30, 4))
    with pytest.raises(InputError, match="graph 'toy' has no edge among 4 genes. Raise expression.edges.threshold"):
        build(values, GENES, PAIRS.assign(edge=False))


def test_features_that_are_not_finite_are_refused():
    values = np.random.default_rng(0).normal(size=(30, 4))
    values[3, 1] = np.inf
    with pytest.raises(InputError, match=r"residuals of 1 gene\(s\) are not finite \(first: 'B'\)"):
        build(values, GENES, PAIRS)


def test_genes_given_twice_are_refused():
    values = np.random.default_rng(0).normal(size=(30, 3))
    genes = np.array(["A", "B", "C"])
    graph = build(values, genes, coexpression(values, genes).assign(edge=True))
    object.__setattr__(graph, "genes", np.array(["A", "B", "B"]))
    with pytest.raises(InputError, match="3 genes do not fit"):
        check_graphs([graph])


def test_graphs_given_twice_are_refused():
    graph = planted_graphs(datasets=1)[0]
    with pytest.raises(InputError, match="graphs given twice: 'set.0'"):
        check_graphs([graph, graph])
    with pytest.raises(InputError, match="no gene graph was given"):
        check_graphs([])


def test_union_of_genes_finds_each_graphs_genes():
    graphs = planted_graphs()
    names, positions = union_genes(graphs)
    assert len(set(names)) == len(names) < sum(len(graph.genes) for graph in graphs)
    for graph, place in zip(graphs, positions, strict=True):
        assert (names[place] == graph.genes).all()
