import numpy as np
import pytest
import torch
from unit.survival.people import make_patients

from histoweave.errors import InputError
from histoweave.survival import bags as bags_module
from histoweave.survival.bags import (
    AttentionPooling,
    BatchSource,
    FeatureScale,
    GatedAttention,
    TileStream,
    masked_softmax,
)


def source_of(patients, scale=None):
    scale = scale or FeatureScale.fitted(patients.bags, clip=5.0)
    return BatchSource(patients, scale=scale, vectors={"x": patients.expression}, device="cpu")


def test_scale_weighs_patients_alike():
    bags = [np.zeros((100, 1), dtype=np.float32), np.ones((1, 1), dtype=np.float32)]
    scale = FeatureScale.fitted(bags, clip=9.0)
    assert scale.mean[0] == pytest.approx(0.5)
    assert scale.sd[0] == pytest.approx(0.5)


def test_constant_features_become_zero_and_extremes_are_clipped():
    bags = [np.array([[1.0, 0.0], [1.0, 1.0]], dtype=np.float32)]
    scaled = FeatureScale.fitted(bags, clip=3.0)(np.array([[1.0, 1e6]]))
    assert scaled.tolist() == [[0.0, 3.0]]


def test_batch_pads_and_masks():
    patients = make_patients(5, missing=[(2, "slide")])
    batch = source_of(patients).batch([0, 2, 4])
    counts = [patients.bags[0].shape[0], 0, patients.bags[4].shape[0]]
    assert batch.mask.sum(dim=1).tolist() == counts
    assert float(batch.tiles[~batch.mask].abs().sum()) == 0
    assert batch.vectors["x"].shape == (3, 8)


def test_draws_are_of_the_budget_and_reproducible():
    source = source_of(make_patients(4, tiles=(20, 30)))
    draw = lambda seed: source.batch([0, 1], budget=7, rng=np.random.default_rng(seed))  # noqa: E731
    assert draw(1).mask.sum(dim=1).tolist() == [7, 7]
    assert torch.equal(draw(1).tiles, draw(1).tiles)
    assert not torch.equal(draw(1).tiles, draw(2).tiles)


def test_chunks_keep_order_and_the_memory_bound():
    source = source_of(make_patients(20))
    chunks = list(source.chunks(range(20), budget=0, tiles_in_memory=25))
    assert [one for chunk in chunks for one in chunk] == list(range(20))
    padded = [len(chunk) * max(source.n_tiles(one, 0) for one in chunk) for chunk in chunks]
    assert max(padded) <= 25
    assert [len(c) for c in source.chunks(range(3), budget=0, tiles_in_memory=1)] == [1, 1, 1]


def test_masked_softmax_ignores_padding_and_empty_bags_give_zeros():
    scores = torch.tensor([[1.0, 2.0, 50.0], [1.0, 1.0, 1.0]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    weights = masked_softmax(scores, mask)
    torch.testing.assert_close(weights[0, :2], torch.softmax(scores[0, :2], 0))
    assert weights[1].tolist() == [0.0, 0.0, 0.0]


def pooling(chunk):
    torch.manual_seed(0)
    encode = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU())
    return AttentionPooling(encode, GatedAttention(5, 4, dropout=0.0), chunk=chunk).eval()


def test_pooling_in_pieces_is_the_same():
    batch = source_of(make_patients(6, tiles=(40, 60))).batch(range(6))
    with torch.no_grad():
        whole, pieces = pooling(1000)(batch.tiles, batch.mask), pooling(7)(batch.tiles, batch.mask)
    torch.testing.assert_close(whole, pieces)
    torch.testing.assert_close(whole[1].sum(dim=1), torch.ones(6))


def test_gradients_in_pieces_are_the_same():
    batch = source_of(make_patients(6, tiles=(40, 60))).batch(range(6))
    found = []
    for chunk in (1000, 7):
        pool = pooling(chunk)
        pooled, _ = pool(batch.tiles, batch.mask)
        (pooled * torch.arange(30.0).reshape(6, 5)).square().sum().backward()
        found.append([weight.grad for weight in pool.parameters()])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_a_row_without_tiles_gives_zeros_in_pieces_too():
    batch = source_of(make_patients(3, tiles=(20, 30), missing=[(1, "slide")])).batch(range(3))
    pooled, weights = pooling(7)(batch.tiles, batch.mask)
    assert not pooled[1].any()
    assert not weights[1].any()
    pooled.sum().backward()


class InPieces:
    """A bag that can only be read in pieces."""

    def __init__(self, values, most):
        self.values, self.most, self.shape = values, most, values.shape

    def __getitem__(self, where):
        piece = self.values[where]
        assert len(piece) <= self.most
        return piece


def test_a_long_bag_is_never_held_twice(monkeypatch):
    monkeypatch.setattr(bags_module, "PIECE", 8)
    patients = make_patients(4, tiles=(30, 40))
    whole = source_of(patients)
    pieces = [InPieces(bag, 8) for bag in patients.bags]
    source = BatchSource(patients.subset(range(4)), scale=whole.scale, vectors={}, device="cpu")
    source.patients.bags[:] = pieces
    assert list(source.chunks(range(4), budget=0, tiles_in_memory=10**6, stream=True)) == [[0], [1], [2], [3]]
    streamed, plain = source.batch([2], stream=True), whole.batch([2])
    assert isinstance(streamed.tiles, TileStream)
    found = []
    for pool, batch in ((pooling(8), streamed), (pooling(1000), plain)):
        pooled, weights = pool(batch.tiles, batch.mask)
        pooled.square().sum().backward()
        found.append([pooled.detach(), weights.detach(), *(weight.grad for weight in pool.parameters())])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_nan_features_of_a_long_bag_are_named(monkeypatch):
    monkeypatch.setattr(bags_module, "PIECE", 8)
    patients = make_patients(2, tiles=(30, 40))
    source = source_of(patients)
    patients.bags[1][19, 0] = np.nan
    batch = source.batch([1], stream=True)
    with pytest.raises(InputError, match=r"patient 'P001': 1 of 8 tiles have NaN features \(first: tile 19\)"):
        pooling(8)(batch.tiles, batch.mask)


def test_pooling_does_not_depend_on_padding_or_order():
    source = source_of(make_patients(4))
    together, alone = source.batch([0, 1, 2, 3]), source.batch([1])
    pool = pooling(1000)
    with torch.no_grad():
        torch.testing.assert_close(pool(together.tiles, together.mask)[0][1], pool(alone.tiles, alone.mask)[0][0])
        flipped = pool(alone.tiles.flip(1), alone.mask.flip(1))[0]
        torch.testing.assert_close(flipped, pool(alone.tiles, alone.mask)[0])


def test_features_of_another_width_are_refused():
    source = source_of(make_patients(3, features=6), FeatureScale.fitted(make_patients(3, features=4).bags, clip=5.0))
    with pytest.raises(InputError, match="patient 'P000' has tiles of 6 features, the model was made for 4"):
        source.batch([0])


def test_nan_features_are_named():
    patients = make_patients(3)
    source = source_of(patients)
    patients.bags[1][2, 0] = np.nan
    with pytest.raises(InputError, match=r"patient 'P001': 1 of \d+ tiles have NaN features \(first: tile 2\)"):
        source.batch([0, 1])
