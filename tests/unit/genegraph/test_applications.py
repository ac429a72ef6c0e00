"""Gene sets, conditions, gene labels and orthologues: what is planted is found, noise is not."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from genegraph.planted import module_of, planted_graphs
from histoweave.errors import InputError
from histoweave.genegraph.differential import DifferentialSettings, differential, lost_neighbours, relabelled
from histoweave.genegraph.function import FunctionSettings, predict_function
from histoweave.genegraph.genesets import GeneSetSettings, pair_auroc, term_probes, usable_sets
from histoweave.genegraph.orthology import measures, orthologue_agreement, pairs_of
from histoweave.genegraph.spectral import joint_spectral

SETS = GeneSetSettings(gmt=None, min_genes=5, max_genes=20, folds=4, fdr=0.05)


@pytest.fixture(scope="module")
def graphs():
    return planted_graphs(datasets=4)


@pytest.fixture(scope="module")
def vectors(graphs):
    return joint_spectral(graphs, dim=6)


@pytest.fixture(scope="module")
def planted_sets(graphs):
    label = module_of(graphs[0].genes)
    return {name: np.flatnonzero(label == name) for name in np.unique(label) if name != "none"}


def test_sets_are_cut_to_the_embedded_genes_and_to_size():
    genes = np.array([f"g{i}" for i in range(30)])
    sets = {"good": ["g1", "g2", "g3", "g4", "g5", "g5", "x"], "small": ["g1", "y"], "large": genes}
    found, left_out = usable_sets(sets, genes, settings=SETS)
    assert found["good"].tolist() == [1, 2, 3, 4, 5]
    assert left_out == ["small", "large"]


def test_sets_of_other_names_are_refused():
    with pytest.raises(InputError, match="none of 1 gene sets has 5 to 20 of the 2 embedded genes. Do the names match"):
        usable_sets({"a": ["ENSG1"] * 9}, np.array(["A", "B"]), settings=SETS)


def test_pair_auroc_equals_the_loop_and_is_half_for_noise(vectors, planted_sets):
    z = vectors[0]
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    inside = sorted(np.concatenate(list(planted_sets.values())))
    truth, score = [], []
    for i, a in enumerate(inside):
        for b in inside[i + 1 :]:
            truth.append(any(a in place and b in place for place in planted_sets.values()))
            score.append(unit[a] @ unit[b])
    assert pair_auroc(z, planted_sets) == pytest.approx(roc_auc_score(truth, score), abs=1e-6)
    assert pair_auroc(z, planted_sets) > 0.9
    noise = np.random.default_rng(0).normal(size=(len(z), 32))
    assert pair_auroc(noise, planted_sets) == pytest.approx(0.5, abs=0.06)


def test_pair_auroc_of_one_set_is_unknown():
    assert np.isnan(pair_auroc(np.random.default_rng(0).normal(size=(9, 3)), {"all": np.arange(9)}))


def test_probes_find_planted_sets_and_no_noise(vectors, planted_sets):
    found = term_probes(vectors[0], planted_sets, folds=4, seed=1)
    assert (found["auroc"] > 0.9).all()
    noise = np.random.default_rng(0).normal(size=(len(vectors[0]), 6))
    assert term_probes(noise, planted_sets, folds=4, seed=1)["auroc"].mean() == pytest.approx(0.5, abs=0.12)


def test_probes_of_too_small_sets_are_unknown(vectors):
    found = term_probes(vectors[0], {"three": np.arange(3)}, folds=4, seed=1)
    assert found[["auroc", "average_precision"]].isna().all(axis=None)


def names(graphs):
    return [graph.name for graph in graphs]


def compare(graphs, vectors, first, second):
    by_name = dict(zip(names(graphs), graphs, strict=True)), dict(zip(names(graphs), vectors, strict=True))
    rng = np.random.default_rng(0)
    return differential(*by_name, settings=DifferentialSettings(tuple(first), tuple(second)), rng=rng)


def test_genes_that_change_their_partners_are_found(graphs):
    many = planted_graphs(seed=3, datasets=6, alone=0, size=14, modules=3)
    changed = [*many[:3], *[exchanged(graph) for graph in many[3:]]]
    vectors = [joint_spectral([graph], dim=4)[0] for graph in changed]
    found = compare(changed, vectors, names(many)[:3], names(many)[3:]).set_index("gene")
    hit = np.array([gene in SWAPPED for gene in found.index])
    assert roc_auc_score(hit, found["lost_neighbours"]) > 0.95
    assert set(found.index[:2]) <= SWAPPED
    assert found.loc[hit, "p_lost_neighbours"].median() < found.loc[~hit, "p_lost_neighbours"].median()


SWAPPED = {"m0_0", "m0_1", "m0_2", "m1_0", "m1_1", "m1_2"}


def exchanged(graph):
    """The same graph with three genes of m0 in the place of three genes of m1."""
    place = {gene: i for i, gene in enumerate(graph.genes)}
    order = np.arange(len(graph.genes))
    for number in range(3):
        a, b = place.get(f"m0_{number}"), place.get(f"m1_{number}")
        if a is not None and b is not None:
            order[a], order[b] = b, a
    return type(graph)(**(vars(graph) | {"adjacency": graph.adjacency[order][:, order]}))


def test_without_a_change_p_values_are_not_small(graphs, vectors):
    found = compare(graphs, vectors, names(graphs)[:2], names(graphs)[2:])
    assert found["p_lost_neighbours"].mean() > 0.3
    assert (found["q_lost_neighbours"] > 0.05).all()


def test_two_datasets_give_no_p_value(graphs, vectors):
    found = compare(graphs, vectors, ["set.0"], ["set.1"])
    assert found[["p_moved", "q_moved"]].isna().all(axis=None)
    assert found["moved"].is_monotonic_decreasing


def test_a_rotation_is_no_move(graphs, vectors):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    found = compare(
        graphs[:2], [vectors[0], vectors[0][: len(vectors[0])] @ turn][:1] + [vectors[1] @ turn], ["set.0"], ["set.1"]
    )
    straight = compare(graphs[:2], vectors[:2], ["set.0"], ["set.1"])
    np.testing.assert_allclose(found["moved"], straight["moved"], atol=1e-5)


def test_the_same_neighbourhoods_lose_nothing():
    near = np.stack([np.eye(4), np.eye(4)])
    assert (lost_neighbours(near, np.array([False, True])) == 0).all()


def test_relabellings_leave_out_the_real_one_and_its_mirror():
    label = np.array([False, False, True, True])
    found = {tuple(made) for made in relabelled(label, rng=np.random.default_rng(0))}
    assert len(found) == 4
    assert tuple(label) not in found
    assert tuple(~label) not in found


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (["nobody"], ["set.1"], "unknown: 'nobody'"),
        (["set.1"], ["set.1"], "in both: 'set.1'"),
        (["set.1"], [], "one is empty"),
    ],
)
def test_wrong_conditions_are_refused(graphs, vectors, first, second, text):
    with pytest.raises(InputError, match=text):
        compare(graphs, vectors, first, second)


FUNCTION = FunctionSettings(labels=None, outer_folds=4, inner_folds=3)


def labels_of(graph):
    label = module_of(graph.genes)
    kind = np.where(np.isin(label, ["m0", "m1"]), "sensitive", "insensitive")
    return pd.DataFrame({"gene": graph.genes, "label": kind})


def test_function_is_predicted_and_shuffled_labels_are_not(graphs, vectors):
    table = pd.concat([labels_of(graphs[0]), pd.DataFrame({"gene": ["absent"], "label": ["sensitive"]})])
    scores, predictions, absent = predict_function(graphs[0].genes, vectors[0], table, settings=FUNCTION, seed=1)
    by = scores.groupby("classifier")["auroc"].mean()
    assert by["knn"] > 0.85
    assert by["logistic"] > 0.85
    assert by["shuffled"] == pytest.approx(0.5, abs=0.2)
    assert absent == ["absent"]
    assert predictions.groupby("classifier")["gene"].nunique().to_dict() == dict.fromkeys(
        ("knn", "logistic"), len(graphs[0].genes)
    )


def test_labels_that_contradict_or_are_too_few_are_refused(graphs, vectors):
    table = labels_of(graphs[0])
    with pytest.raises(InputError, match=r"1 gene\(s\) of genegraph.gene_function.labels stand there twice"):
        predict_function(graphs[0].genes, vectors[0], pd.concat([table, table[:1]]), settings=FUNCTION, seed=1)
    table = table[table["label"] == "insensitive"]
    with pytest.raises(InputError, match="insensitive: .* Two labels with 4 genes each are needed"):
        predict_function(graphs[0].genes, vectors[0], table, settings=FUNCTION, seed=1)


def species_rows(n):
    genes = [f"H{i}" for i in range(n)] + [f"m{i}" for i in range(n)]
    return pd.DataFrame({"gene": genes, "species": np.repeat(["human", "mouse"], n)})


TABLE = pd.DataFrame({"human": [f"H{i}" for i in range(25)] + [None], "mouse": [f"m{i}" for i in range(25)] + ["m29"]})


def agreement(noise):
    rng = np.random.default_rng(0)
    base = rng.normal(size=(30, 8))
    vectors = np.concatenate([base, base + noise * rng.normal(size=base.shape)])
    cluster = np.tile(np.arange(30) // 5, 2)
    return orthologue_agreement(vectors, species_rows(30), cluster, TABLE, rng=rng).set_index("measure")


def test_orthologues_that_lie_together_are_seen():
    close, far = agreement(0.1), agreement(100.0)
    assert close.loc["rank", "value"] > 0.95
    assert close.loc["top", "value"] == 1
    assert close.loc["cluster_share", "value"] == pytest.approx(25 / 150)
    assert close.loc["rank", "random"] == pytest.approx(0.5, abs=0.2)
    assert far.loc["rank", "value"] == pytest.approx(0.5, abs=0.2)


def test_orthologue_measures_by_hand():
    unit = np.eye(2)
    match = np.array([[True, False], [False, False]])
    found = measures(unit, unit, np.array([0, 1]), np.array([0, 0]), match)
    assert found == {"cluster_share": 0.5, "rank": 0.5, "top": 1.0}


def test_pairs_take_every_orthologue_of_a_gene():
    table = pd.DataFrame({"human": ["A", "A"], "mouse": ["a1", "a2"]})
    assert pairs_of(np.array(["A", "B"]), np.array(["a2", "a1"]), table).tolist() == [[True, True], [False, False]]


def test_orthologue_tables_that_do_not_fit_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="Two of them must agree"):
        orthologue_agreement(rng.normal(size=(60, 3)), species_rows(30), np.zeros(60), TABLE[["human"]], rng=rng)
    wrong = TABLE.assign(mouse="x")
    with pytest.raises(InputError, match="no pair of orthologues of human and mouse is embedded"):
        orthologue_agreement(rng.normal(size=(60, 3)), species_rows(30), np.zeros(60), wrong, rng=rng)
