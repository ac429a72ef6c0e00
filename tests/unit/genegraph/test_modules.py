"""Vectors per gene, modules and nearest genes."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from genegraph.planted import module_of, planted_graphs
from histoweave.errors import InputError
from histoweave.genegraph.modules import (
    ModuleSettings,
    average_by,
    find_modules,
    gene_vectors,
    nearest_genes,
    stacked,
)
from histoweave.genegraph.spectral import joint_spectral

SETTINGS = ModuleSettings(tissues=(), neighbours=8, resolution=1.0, min_genes=5, listed_neighbours=3, layout_epochs=30)


@pytest.fixture(scope="module")
def rows():
    graphs = {graph.name: graph for graph in planted_graphs(size=14)}
    embeddings = dict(zip(graphs, joint_spectral(list(graphs.values()), dim=6), strict=True))
    return stacked(embeddings, graphs)


def test_rows_keep_the_order_of_datasets_and_genes(rows):
    vectors, frame = rows
    graphs = planted_graphs(size=14)
    assert len(vectors) == len(frame) == sum(len(graph.genes) for graph in graphs)
    assert frame["gene"].tolist() == np.concatenate([graph.genes for graph in graphs]).tolist()
    assert frame["tissue"].unique().tolist() == ["blood", "tumour"]


def test_average_is_the_mean_direction(rows):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4, 3))
    keys, vectors = average_by(z, pd.DataFrame({"gene": ["B", "A", "B", "A"]}))
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    assert keys["gene"].tolist() == ["A", "B"]
    expected = np.stack([unit[1] + unit[3], unit[0] + unit[2]])
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-6)


def test_tissues_can_be_chosen(rows):
    vectors, frame = rows
    genes, chosen = gene_vectors(vectors, frame, tissues=("blood",))
    assert set(genes) == set(frame.loc[frame["tissue"] == "blood", "gene"])
    assert len(chosen) == len(genes)
    assert len(gene_vectors(vectors, frame, tissues=())[0]) == frame["gene"].nunique()


def test_unknown_tissues_are_named(rows):
    with pytest.raises(InputError, match=r"modules.tissues names 1 tissue\(s\) that no dataset has: 'lung'"):
        gene_vectors(*rows, tissues=("lung", "blood"))


def test_planted_modules_are_found(rows):
    genes, vectors = gene_vectors(*rows, tissues=())
    found = find_modules(genes, vectors, settings=SETTINGS, seed=1)
    truth = module_of(genes)
    inside = truth != "none"
    assert adjusted_rand_score(truth[inside], found["module"][inside]) > 0.8
    sizes = found["module"].value_counts().drop("none", errors="ignore")
    assert sizes.sort_index().is_monotonic_decreasing
    assert np.isfinite(found[["x", "y"]]).all(axis=None)


def test_small_groups_are_no_module(rows):
    genes, vectors = gene_vectors(*rows, tissues=())
    found = find_modules(genes, vectors, settings=ModuleSettings(**(vars(SETTINGS) | {"min_genes": 500})), seed=1)
    assert set(found["module"]) == {"none"}


def test_nearest_genes_are_those_of_the_largest_cosine():
    rng = np.random.default_rng(0)
    genes, z = np.array([f"g{i}" for i in range(12)]), rng.normal(size=(12, 4))
    found = nearest_genes(genes, z, number=3)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    cosine = unit @ unit.T - 2 * np.eye(12)
    for i, gene in enumerate(genes):
        part = found[found["gene"] == gene]
        assert part["neighbour"].tolist() == genes[np.argsort(-cosine[i])[:3]].tolist()
        np.testing.assert_allclose(part["cosine"], np.sort(cosine[i])[::-1][:3], atol=1e-6)
