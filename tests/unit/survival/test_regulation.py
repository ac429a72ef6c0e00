import numpy as np
import pytest
import torch

from histoweave.errors import InputError
from histoweave.survival import regulation
from histoweave.survival.gene_encoders import GeneGraphEncoder, ProfileInput, RawEncoder
from histoweave.survival.interface import Cells

GENES = tuple(f"G{i}" for i in range(30))
TYPES = ("B cell", "Macrophage", "T cell")


def settings(**changes):
    base = {
        "use": "auto",
        "mix": "dirichlet",
        "most_cells": 10,
        "concentration": 1.0,
        "mixtures": 400,
        "held_out": 0.25,
        "hidden": 16,
        "layers": 3,
        "fresh_layers": 1,
        "dropout": 0.0,
        "epochs": 15,
        "learning_rate": 0.005,
        "batch": 32,
        "freeze": True,
    }
    return regulation.RegulationSettings(**(base | changes))


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    mean = np.full((3, 30), 2.0)
    for kind in range(3):
        mean[kind, kind * 5 : kind * 5 + 5] = 20.0
    labels = np.repeat(np.arange(3), [60, 30, 20])
    return Cells(rng.poisson(mean[labels]).astype(float), GENES, np.array(TYPES)[labels])


def profile(values="rank", genes=GENES):
    n = len(genes)
    return ProfileInput(genes, "counts", values, 0.0, 51, 5.0, np.zeros(n), np.full(n, 9.0), np.zeros(n), np.ones(n))


def mixed(cells, **changes):
    even, names, codes = regulation.usable_cells(cells)
    drawn = {"n_types": len(names), "n_mixtures": 200, "settings": settings(**changes)}
    return regulation.mix_cells(even, codes, rng=np.random.default_rng(1), **drawn)


# --- mixtures


@pytest.mark.parametrize("mix", regulation.MIXES)
def test_proportions_sum_to_one_and_mixtures_keep_the_depth(cells, mix):
    mixtures, proportions = mixed(cells, mix=mix)
    np.testing.assert_allclose(proportions.sum(axis=1), 1)
    np.testing.assert_allclose(mixtures.sum(axis=1), 1e4)
    assert (proportions >= 0).all()


def test_pairs_have_two_types_at_most_and_dirichlet_mixtures_more(cells):
    assert (mixed(cells, mix="pairs")[1] > 0).sum(axis=1).max() <= 2
    assert (mixed(cells)[1] > 0.01).sum(axis=1).max() == 3


def test_library_size_does_not_enter_the_mixing_weights(cells):
    deep = Cells(cells.counts * np.where(cells.cell_type == "T cell", 50, 1)[:, None], GENES, cells.cell_type)
    for one, other in zip(mixed(cells), mixed(deep), strict=True):
        np.testing.assert_allclose(one, other)


def test_rare_types_are_drawn_as_often_as_common_ones(cells):
    np.testing.assert_allclose(mixed(cells)[1].mean(axis=0), 1 / 3, atol=0.06)


def test_a_mixture_is_its_weights_times_its_cells(cells):
    even, _, codes = regulation.usable_cells(cells)
    options = {"n_mixtures": 50, "settings": settings()}
    chosen, weights = regulation.draw_weights(codes, rng=np.random.default_rng(3), **options)
    mixtures, _ = regulation.mix_cells(even, codes, n_types=3, rng=np.random.default_rng(3), **options)
    np.testing.assert_allclose(mixtures, np.einsum("mc,mcg->mg", weights, even[chosen]))


def test_held_out_mixtures_come_from_other_cells(cells):
    alone = np.zeros((110, 30))
    alone[np.arange(110), np.arange(110) % 30] = 1 + np.arange(110)
    held = regulation._held_out(np.repeat(np.arange(3), [60, 30, 20]), share=0.25, rng=np.random.default_rng(0))
    assert [int(held[:60].sum()), int(held[60:90].sum()), int(held[90:].sum())] == [15, 8, 5]


def test_mixtures_become_inputs_like_patients_do(cells):
    train, held_out, types, _ = regulation.make_mixtures(
        cells, profile(), settings=settings(), rng=np.random.default_rng(0)
    )
    assert types == TYPES
    assert train.values.shape == (400, 30)
    assert held_out.values.shape == (100, 30)
    assert 0 <= float(train.values.min()) <= float(train.values.max()) <= 1


def test_standardised_mixtures_are_scaled_by_their_own_moments(cells):
    train, _, _, _ = regulation.make_mixtures(
        cells, profile("standardised"), settings=settings(), rng=np.random.default_rng(0)
    )
    np.testing.assert_allclose(train.values.mean(dim=0), 0, atol=0.03)  # clipped at five SDs
    np.testing.assert_allclose(train.values.std(dim=0), 1, atol=0.25)


def test_markers_tell_types_apart(cells):
    scores = regulation.marker_scores(cells)
    assert set(sorted(scores, key=scores.get)[-15:]) == set(GENES[:15])


# --- learning


def learned(cells, **changes):
    own = settings(**changes)
    train, held_out, types, profiles = regulation.make_mixtures(
        cells, profile(), settings=own, rng=np.random.default_rng(0)
    )
    torch.manual_seed(0)
    network = regulation.Genomic(RawEncoder(30), hidden=own.hidden, layers=own.layers, dropout=own.dropout)
    order = torch.Generator().manual_seed(0)
    parts = {"types": types, "profiles": profiles, "settings": own, "generator": order, "device": "cpu"}
    return regulation.regulate(network, train, held_out, **parts), held_out


def test_proportions_of_held_out_mixtures_are_learned(cells):
    regulated, held_out = learned(cells)
    errors = {row["quantity"]: row["value"] for row in regulated.report if row["epoch"] == 0}
    assert errors["error_regulated"] < 0.3 * errors["error_mean"]
    found = regulation.deconvolve(regulated, held_out.values.numpy())
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    error = np.abs(found - held_out.proportions.numpy()).mean()
    assert error == pytest.approx(errors["error_regulated"], rel=1e-4)


def test_with_types_permuted_nothing_is_learned(cells):
    labels = np.random.default_rng(5).permutation(cells.cell_type)
    regulated, _ = learned(Cells(cells.counts, GENES, labels))
    errors = {row["quantity"]: row["value"] for row in regulated.report if row["epoch"] == 0}
    assert errors["error_regulated"] > 0.8 * errors["error_mean"]


def test_the_loss_falls_and_the_same_seed_gives_the_same_weights(cells):
    one, other = (learned(cells, epochs=4)[0] for _ in range(2))
    losses = [row["value"] for row in one.report if row["quantity"] == "loss"]
    assert losses[-1] < losses[0]
    for left, right in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(left, right)


def test_the_best_epoch_is_kept_and_the_start_is_one(cells):
    errors = {}
    for rate in (0.005, 5.0):  # the second destroys every weight at its first step
        regulated, _ = learned(cells, learning_rate=rate, epochs=3)
        errors[rate] = next(row["value"] for row in regulated.report if row["quantity"] == "error_regulated")
        unregulated = next(row["value"] for row in regulated.report if row["quantity"] == "error_unregulated")
    assert errors[5.0] == pytest.approx(unregulated, rel=0.25)
    assert errors[0.005] < errors[5.0] * 1.1


def test_ridge_recovers_a_linear_truth():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(300, 5, generator=rng)
    y = torch.softmax(x[:, :3] * 0.1, dim=1)
    assert regulation.ridge_error(x[:200], y[:200], x[200:], y[200:]) < 0.005


def test_least_squares_finds_the_shares_of_known_profiles():
    rng = np.random.default_rng(0)
    profiles, shares = rng.gamma(1.0, size=(3, 20)), rng.dirichlet([1, 1, 1], size=8)
    found = regulation.least_squares(profiles, np.ones(20), 7 * shares @ profiles)  # the scale does not matter
    np.testing.assert_allclose(found.numpy(), shares, atol=1e-5)


def test_marks_are_log_ratios_to_the_other_types():
    mean = np.array([[8.0, 1.0], [2.0, 1.0], [2.0, 1.0]])
    marks = regulation.TypeProfiles(mean, np.ones(2), mean).marks
    np.testing.assert_allclose(marks[0], np.log([4, 2 / 5, 2 / 5]), atol=0.02)
    np.testing.assert_allclose(marks[1], 0, atol=1e-12)


def test_a_gene_graph_encoder_learns_what_a_linear_read_out_of_it_does_not(cells):
    own = settings(mixtures=600, epochs=12, learning_rate=0.002, hidden=32)
    train, held_out, types, profiles = regulation.make_mixtures(
        cells, profile(), settings=own, rng=np.random.default_rng(0)
    )
    rng = np.random.default_rng(1)
    vectors = (profiles.marks @ rng.normal(size=(len(types), 8)) + rng.normal(size=(30, 8)) * 0.3).astype(np.float32)
    torch.manual_seed(0)
    network = regulation.Genomic(GeneGraphEncoder(vectors, dim=8, heads=6), hidden=32, layers=3, dropout=0.0)
    order = torch.Generator().manual_seed(0)
    parts = {"types": types, "profiles": profiles, "settings": own, "generator": order, "device": "cpu"}
    report = regulation.regulate(network, train, held_out, **parts).report
    errors = {row["quantity"]: row["value"] for row in report if row["epoch"] == 0}
    assert errors["error_regulated"] < 0.75 * errors["error_unregulated"]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_learning_starts_at_the_ridge_regression(layers):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(200, 30, generator=rng)
    y = torch.softmax(x[:, :3], dim=1)
    network = regulation.Genomic(RawEncoder(30), hidden=16, layers=layers, dropout=0.0)
    network.calibrate(x)
    head = torch.nn.Linear(16, 3)
    features = network.features(x)
    regulation.start_at_ridge(network, head, features, y)
    weights, intercept = regulation.fit_ridge(features, y)
    torch.testing.assert_close(head(network(x)), features @ weights + intercept, atol=1e-4, rtol=1e-4)


def test_simplex_has_no_negatives_and_sums_to_one():
    found = regulation.simplex(torch.tensor([[0.5, -0.2, 0.7], [-1.0, -1.0, -1.0]]))
    assert found[0].tolist() == pytest.approx([0.5 / 1.2, 0, 0.7 / 1.2], abs=1e-6)
    assert found[1].tolist() == pytest.approx([1 / 3] * 3)


def test_calibration_gives_unit_variance_and_hides_constant_features():
    network = regulation.Genomic(RawEncoder(3), hidden=4, layers=1, dropout=0.0)
    values = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 0.1, 0.0]) + 5
    network.calibrate(values)
    features = network.features(values)
    torch.testing.assert_close(features.std(0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-3, rtol=0)
    assert torch.isfinite(network(values)).all()


# --- cells that cannot be used


def test_one_cell_type_is_refused(cells):
    same = Cells(cells.counts, GENES, np.full(110, "T cell"))
    with pytest.raises(InputError, match=r"needs two cell types with 4 cells each; found 'T cell'.*'never'"):
        regulation.usable_cells(same)


def test_rare_types_are_left_out_and_named(cells, caplog):
    labels = cells.cell_type.copy()
    labels[:3] = "Mast cell"
    _, names, codes = regulation.usable_cells(Cells(cells.counts, GENES, labels))
    assert tuple(names) == TYPES
    assert len(codes) == 107
    assert "Mast cell (3)" in caplog.text


@pytest.mark.parametrize(("value", "message"), [(0.0, "1 cells have no counts"), (-1.0, "some counts are negative")])
def test_counts_that_cannot_be_are_refused(cells, value, message):
    counts = cells.counts.copy()
    counts[5] = value if value == 0 else counts[5]
    counts[5, 0] = value
    with pytest.raises(InputError, match=message):
        regulation.usable_cells(Cells(counts, GENES, cells.cell_type))
