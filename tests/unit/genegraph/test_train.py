"""The loop: what it learns, when it stops, and that it goes on after a kill as if nothing had happened."""

import weakref

import numpy as np
import pytest
import torch

from genegraph.planted import coexpression, planted_graphs
from histoweave.errors import InputError
from histoweave.formats.genegraph import StoredRun
from histoweave.genegraph.attention import neighbours_of
from histoweave.genegraph.checkpoint import pack, unpack
from histoweave.genegraph.controls import METHODS
from histoweave.genegraph.heldout import HeldOutSettings, held_out_scores, split_edges
from histoweave.genegraph.pairs import draw_positives, shared_genes
from histoweave.genegraph.step import MuseGnnSettings, group_of
from histoweave.genegraph.train import TrainSettings, partner_of, train

MODEL = {
    "dim": 8, "tie": 0.5, "length": 0.0, "decoder": "bilinear", "share": "modality_tissue", "attention": "auto",
    "dense_above": 0.015,
    "signed": False, "edge_weight": 1.0, "similarity": 1.0, "contrastive": 0.01, "temperature": 0.07,
    "contrastive_genes": 10,
}  # fmt: skip
TRAIN = {
    "epochs": 12, "check_every": 3, "patience": 0, "lr_dataset": 0.003, "lr_shared": 0.003, "lr_decoder": 0.003,
    "checkpoint_every": 4, "precision": "float32", "device": "cpu",
}  # fmt: skip


def run(graphs, *, seed=1, model=None, shares=(0.1, 0.1), **changes):
    known = ("resume", "save", "watch")
    hooks = {name: changes.pop(name) for name in known if name in changes}
    split = split_edges(graphs, settings=HeldOutSettings(*shares), seed=seed)
    trained = train(
        split,
        model_settings=MuseGnnSettings(**(MODEL | (model or {}))),
        settings=TrainSettings(**(TRAIN | changes)),
        seed=seed,
        device=torch.device("cpu"),
        **hooks,
    )
    return split, trained


@pytest.fixture(scope="module")
def graphs():
    return planted_graphs()


@pytest.fixture(scope="module")
def trained(graphs):
    return run(graphs)


def same(first, second):
    return all(np.array_equal(first.embeddings[name], second.embeddings[name]) for name in first.embeddings)


def curve(trained, part):
    return [value for _, name, value in trained.curve if name == part]


def test_training_learns_edges_that_it_never_saw(graphs):
    split, result = run(graphs, epochs=40)
    mean = lambda found: np.mean(list(found[0].values()))  # noqa: E731 (once, beside its use)
    random = METHODS["random_per_gene"](split.graphs, dim=8, settings=None, seed=1)
    chance = mean(held_out_scores({g.name: z for g, z in zip(split.graphs, random, strict=True)}, split.test))
    assert mean(held_out_scores(result.embeddings, split.test)) > 0.85
    assert chance == pytest.approx(0.5, abs=0.1)


def test_rows_have_length_one(trained):
    for z in trained[1].embeddings.values():
        np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)


def test_same_seed_same_bytes_other_seed_other(graphs, trained):
    assert same(run(graphs)[1], trained[1])
    assert not same(run(graphs, seed=2)[1], trained[1])


def test_the_best_epoch_is_kept(trained):
    split, result = trained
    kept = np.mean(list(held_out_scores(result.embeddings, split.validation)[0].values()))
    looks = {epoch: value for epoch, part, value in result.curve if part == "validation_auc"}
    assert kept == pytest.approx(max(looks.values()), abs=1e-12)
    assert looks[result.best_epoch] == max(looks.values())


def test_patience_ends_training(graphs):
    _, result = run(graphs, epochs=400, check_every=1, patience=2, lr_dataset=0.02, lr_shared=0.02)
    last = max(epoch for epoch, _, _ in result.curve)
    assert last == result.best_epoch + 2 < 400


def test_without_validation_edges_the_lowest_loss_is_kept(graphs):
    _, result = run(graphs, shares=(0.1, 0), check_every=1)
    losses = curve(result, "reconstruction")
    assert curve(result, "validation_auc") == []
    assert result.best_epoch == 1 + int(np.argmin(losses))


def test_a_killed_run_goes_on_bit_for_bit(graphs, trained, tmp_path):
    stored = StoredRun(tmp_path / "checkpoint.safetensors", {"seed": 1})

    def killed(epoch, parts):
        if epoch == 7:
            raise KeyboardInterrupt

    def save(*parts):
        stored.write(*pack(*parts))

    with pytest.raises(KeyboardInterrupt):
        run(graphs, save=save, watch=killed)
    epochs = []
    tensors, meta = stored.read()
    _, resumed = run(
        graphs, resume=lambda *parts: unpack(tensors, meta, *parts), watch=lambda epoch, parts: epochs.append(epoch)
    )
    assert epochs[0] == 5
    assert same(resumed, trained[1])
    assert resumed.curve == trained[1].curve


def test_a_checkpoint_of_another_model_is_refused(graphs, tmp_path):
    stored = StoredRun(tmp_path / "checkpoint.safetensors", {})
    run(graphs, epochs=4, save=lambda *parts: stored.write(*pack(*parts)))
    tensors, meta = stored.read()
    with pytest.raises(InputError, match="the checkpoint is of another model"):
        run(graphs, model={"dim": 4}, resume=lambda *parts: unpack(tensors, meta, *parts))


@pytest.mark.parametrize("change", [{"decoder": "mlp"}, {"signed": True}, {"share": "all"}, {"attention": "sparse"}])
def test_every_form_of_the_model_learns(graphs, change):
    _, result = run(graphs, model=change, epochs=20)
    losses = curve(result, "reconstruction")
    assert np.mean(losses[-3:]) < 0.9 * losses[0]


def test_mixed_precision_stays_close(graphs, trained):
    _, mixed = run(graphs, precision="bfloat16", epochs=3)
    assert curve(mixed, "reconstruction")[:3] == pytest.approx(curve(trained[1], "reconstruction")[:3], rel=0.03)


def test_signed_edges_push_genes_apart():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((200, 1)) * np.repeat([1, -1], 15) + 0.6 * rng.standard_normal((200, 30))
    graph = planted_graphs(datasets=1)[0]
    from genegraph.planted import SETTINGS
    from histoweave.genegraph.build import build_graph

    genes = np.array([f"g{i}" for i in range(30)])
    graph = build_graph(
        factor,
        genes,
        coexpression(factor, genes),
        name="x",
        modality="scrna",
        tissue="t",
        species="s",
        settings=SETTINGS,
    )
    for signed in (True, False):
        _, result = run([graph], model={"signed": signed}, epochs=40)
        cosines = result.embeddings["x"] @ result.embeddings["x"].T
        between = cosines[:15, 15:].mean()
        assert (between < -0.3) if signed else (between > 0.3)


def test_one_graph_alone_has_no_joint_losses(graphs):
    _, result = run(graphs[:1], epochs=3)
    assert {part for _, part, _ in result.curve} == {"reconstruction", "validation_auc"}


def test_graphs_without_a_common_gene_have_no_joint_losses():
    a, b = planted_graphs(datasets=2)
    object.__setattr__(b, "genes", np.array([f"other_{gene}" for gene in b.genes]))
    _, result = run([a, b], epochs=3)
    assert {part for _, part, _ in result.curve} == {"reconstruction", "validation_auc"}


def test_graphs_with_the_same_genes_have_no_contrast():
    a, b = planted_graphs(datasets=2)
    _, result = run([a, type(a)(**(vars(a) | {"name": "copy"}))], epochs=3)
    assert {part for _, part, _ in result.curve} == {"reconstruction", "similarity", "validation_auc"}


def test_settings_that_contradict_are_refused(graphs):
    with pytest.raises(InputError, match="signed needs decoder 'bilinear'"):
        run(graphs, model={"signed": True, "decoder": "mlp"})


def test_training_that_breaks_down_is_told(graphs):
    with pytest.raises(InputError, match=r"broke down at epoch \d+ \(loss not finite\)"):
        run(graphs, lr_dataset=1e20, lr_shared=1e20, lr_decoder=1e20, check_every=1)


def test_tied_genes_are_the_same_within_a_group_only(graphs):
    _, result = run(graphs, model={"tie": 1.0, "share": "tissue"}, epochs=3)
    of = {graph.name: dict(zip(graph.genes, result.embeddings[graph.name], strict=True)) for graph in graphs}
    gene = next(gene for gene in of["set.0"] if gene in of["set.1"] and gene in of["set.2"])
    np.testing.assert_allclose(of["set.1"][gene], of["set.2"][gene], atol=1e-6)
    assert not np.allclose(of["set.0"][gene], of["set.1"][gene], atol=1e-3)


def test_length_tells_the_number_of_partners(graphs, trained):
    split, result = run(graphs, model={"length": 1.0, "share": "all", "tie": 1.0})
    _, straight = run(graphs, model={"length": 0.0, "share": "all", "tie": 1.0})
    partners = {}
    for graph in split.graphs:
        for gene, degree in zip(graph.genes, np.diff(graph.adjacency.indptr), strict=True):
            partners.setdefault(gene, []).append(degree + 1)
    for graph in graphs:
        z = result.embeddings[graph.name]
        size = np.linalg.norm(z, axis=1)
        expected = np.array([np.mean(partners[gene]) for gene in graph.genes])
        np.testing.assert_allclose(size / size[0], expected / expected[0], rtol=1e-4)
        np.testing.assert_allclose(z / size[:, None], straight.embeddings[graph.name], atol=1e-5)


def test_only_the_graphs_of_a_step_are_dense(graphs, monkeypatch):
    """However many graphs there are, a step holds the (gene, gene) matrices of two."""
    many = [type(graph)(**(vars(graph) | {"name": f"{graph.name}.{n}"})) for n in range(4) for graph in graphs]
    alive, most = weakref.WeakSet(), []

    def counted(*args, **kwargs):
        made = neighbours_of(*args, **kwargs)
        alive.add(made.mask)
        most.append(len(alive))
        return made

    monkeypatch.setattr("histoweave.genegraph.step.neighbours_of", counted)
    run(many, model={"attention": "dense"}, epochs=1, check_every=1)
    assert len(most) >= 3 * len(many)  # two per step, one per graph where the validation edges are looked at
    assert max(most) <= 2
    assert len(alive) == 0


def test_partners_are_all_others_and_evenly_drawn():
    rng = torch.Generator().manual_seed(0)
    drawn = [partner_of(2, 5, rng) for _ in range(2000)]
    assert set(drawn) == {0, 1, 3, 4}
    assert np.bincount(drawn).max() < 1.2 * 500
    assert partner_of(0, 1, rng) == 0


@pytest.mark.parametrize(
    ("share", "groups"),
    [("modality_tissue", 3), ("modality", 2), ("tissue", 2), ("all", 1)],
)
def test_groups_of_shared_layers(graphs, share, groups):
    assert len({group_of(graph, share) for graph in graphs}) == groups


def test_overlap_is_the_jaccard_index_by_name(graphs):
    first, second = graphs[:2]
    found = shared_genes(first, second)

    def near(graph, i):
        return {graph.genes[j] for j in graph.adjacency[[i]].indices} | {graph.genes[i]}

    for i, j, value in zip(found.first.tolist(), found.second.tolist(), found.overlap.tolist(), strict=True):
        assert first.genes[i] == second.genes[j]
        a, b = near(first, i), near(second, j)
        assert value == pytest.approx(len(a & b) / len(a | b))
    assert {*first.genes[found.only_first]} == {*first.genes} - {*second.genes}


def test_positives_are_neighbours_and_no_gene_is_drawn_twice(graphs):
    adjacency = graphs[0].adjacency
    genes, near = draw_positives(adjacency, torch.arange(40), 30, torch.Generator().manual_seed(0))
    assert len(set(genes.tolist())) == 30
    dense = adjacency.toarray() != 0
    alone = ~dense.any(axis=1)
    assert all(dense[g, n] or (alone[g] and g == n) for g, n in zip(genes, near, strict=True))
    other = draw_positives(adjacency, torch.arange(40), 30, torch.Generator().manual_seed(1))
    assert not torch.equal(genes, other[0])
