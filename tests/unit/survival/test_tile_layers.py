"""Layers with gradients by hand against the plain modules that they stand for."""

import pytest
import torch
from torch import nn

from histoweave.survival import tile_layers
from histoweave.survival.bags import GatedAttention
from histoweave.survival.tile_layers import drop_, embedded_and_normed, kept, pooled_hidden

FEATURES, HIDDEN = 7, 12


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(tile_layers, "_CHUNK", 8)


@pytest.fixture
def tiles():
    return torch.randn(2, 11, FEATURES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def shaken(module):
    """Weights in double precision, none of them at a value that hides a mistake."""
    generator = torch.Generator().manual_seed(1)
    module = module.double()
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=generator, dtype=torch.float64))
    return module


def gradients(outputs, modules, tiles):
    generator = torch.Generator().manual_seed(2)
    loss = sum((part * torch.randn(part.shape, generator=generator, dtype=part.dtype)).sum() for part in outputs)
    inputs = [*(p for module in modules for p in module.parameters()), tiles]
    return [*outputs, *torch.autograd.grad(loss, inputs)]


def same(ours, plain):
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-11, rtol=1e-9)


def plain_attention(queries, context, mask):
    scores = queries @ context.transpose(1, 2)
    return torch.softmax(scores.masked_fill(~mask[:, None], -torch.inf), dim=2) @ context, scores


@pytest.mark.parametrize("patients", [1, 2])
def test_attention_over_normed_tiles_is_that_over_the_layer_norm(tiles, patients):
    embed = shaken(nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Dropout(0.0)))
    norm = shaken(nn.LayerNorm(HIDDEN))
    queries = nn.Parameter(torch.randn(patients, 3, HIDDEN).double())
    tiles, mask = tiles[-patients:].requires_grad_(), torch.arange(11)[None] < torch.tensor([[9], [11]])[:patients]
    ours = embedded_and_normed(embed, norm, tiles, queries=3, times=1).attended(queries, mask, nn.Dropout(0.0))
    plain = plain_attention(queries, norm(embed(tiles)), mask)
    modules = embed, norm, nn.ParameterList([queries])
    same(gradients(ours, modules, tiles), gradients(plain, modules, tiles))


def test_each_attention_over_the_same_tiles_adds_to_their_gradient(tiles):
    embed = shaken(nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Dropout(0.0)))
    norm, queries = shaken(nn.LayerNorm(HIDDEN)), nn.Parameter(torch.randn(2, 3, HIDDEN).double())
    tiles.requires_grad_()
    mask, dropout = torch.arange(11)[None] < torch.tensor([[9], [11]]), nn.Dropout(0.0)

    def twice(attend):
        first, _ = attend(queries)
        return [first, *attend(queries + first)]

    normed, context = embedded_and_normed(embed, norm, tiles, queries=3, times=2), norm(embed(tiles))
    modules = embed, norm, nn.ParameterList([queries])
    ours = gradients(twice(lambda q: normed.attended(q, mask, dropout)), modules, tiles)
    same(ours, gradients(twice(lambda q: plain_attention(q, context, mask)), modules, tiles))
    with pytest.raises(IndexError):  # a third one would add its gradient to nothing
        normed.attended(queries, mask, dropout)


def test_gradient_of_attention_under_dropout(tiles):
    embed = shaken(nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Dropout(0.0)))
    norm, queries = shaken(nn.LayerNorm(HIDDEN)), nn.Parameter(torch.randn(2, 3, HIDDEN).double())
    tiles.requires_grad_()
    mask, dropout = torch.ones(2, 11, dtype=torch.bool), nn.Dropout(0.25)
    torch.manual_seed(5)
    ours = embedded_and_normed(embed, norm, tiles, queries=3, times=1).attended(queries, mask, dropout)
    torch.manual_seed(5)
    kept_tiles = drop_(torch.ones(2, 3, 11).double(), 0.25) / kept(0.25)
    context = norm(embed(tiles))
    scores = queries @ context.transpose(1, 2)
    plain = (torch.softmax(scores, dim=2) * kept_tiles) @ context, scores
    modules = embed, norm, nn.ParameterList([queries])
    same(gradients(ours, modules, tiles), gradients(plain, modules, tiles))


def plain_pooled(attention, h, mask, given):
    """Scores, their softmax, and the sums of h, as the modules give them."""
    w = attention(h)
    e1 = torch.softmax(w.masked_fill(~mask, -torch.inf), dim=1)
    return (e1[:, None] @ h)[:, 0], given @ h, w


@pytest.mark.parametrize("groups", [0, 3])
def test_pooled_hidden_tiles_are_those_of_the_modules(tiles, groups):
    embed = shaken(nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.LayerNorm(HIDDEN), nn.ReLU(), nn.Dropout(0.0)))
    attention = shaken(GatedAttention(HIDDEN, 5, dropout=0.0))
    mask = torch.arange(11)[None] < torch.tensor([[9], [11]])
    given = nn.Parameter(torch.rand(2, groups, 11).double() * mask[:, None])
    modules = embed, attention, nn.ParameterList([given])
    tiles.requires_grad_()
    ours = pooled_hidden(embed, attention, tiles, mask, given)
    plain = plain_pooled(attention, embed(tiles), mask, given)
    same(gradients(ours, modules, tiles), gradients(plain, modules, tiles))
    first, _, w = pooled_hidden(embed, attention, tiles, mask, given)
    inputs = [*embed.parameters(), attention.tanh.weight, tiles]
    for part, number in ((first, 0), (w, 2)):  # each alone: what is not used sends no gradient
        plain = plain_pooled(attention, embed(tiles), mask, given)[number]
        same(*(torch.autograd.grad(value.square().sum(), inputs, retain_graph=True) for value in (part, plain)))


def test_a_patient_without_tiles_pools_nothing():
    embed = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.LayerNorm(HIDDEN), nn.ReLU(), nn.Dropout(0.0))
    tiles, mask = torch.zeros(2, 3, FEATURES), torch.tensor([[False] * 3, [True] * 3])
    first, _, _ = pooled_hidden(embed, GatedAttention(HIDDEN, 5, dropout=0.0), tiles, mask, torch.zeros(2, 1, 3))
    first.sum().backward()
    assert first[0].abs().sum() == 0
    assert torch.isfinite(embed[0].weight.grad).all()


def test_gradient_under_dropout_is_that_of_the_mask_that_was_drawn(tiles):
    embed = shaken(nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.LayerNorm(HIDDEN), nn.ReLU(), nn.Dropout(0.25)))
    attention = shaken(GatedAttention(HIDDEN, 5, dropout=0.0))
    tiles.requires_grad_()
    mask, given = torch.ones(2, 11, dtype=torch.bool), torch.rand(2, 3, 11).double()
    torch.manual_seed(3)
    ours = pooled_hidden(embed, attention, tiles, mask, given)
    h = torch.relu(embed[1](embed[0](tiles))) * drawn(3, 0.25)
    modules = embed, attention
    same(gradients(ours, modules, tiles), gradients(plain_pooled(attention, h, mask, given), modules, tiles))


def test_gradient_of_the_embedding_under_dropout(tiles):
    embed = shaken(nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Dropout(0.25)))
    norm, queries = shaken(nn.LayerNorm(HIDDEN)), torch.randn(2, 3, HIDDEN).double()
    tiles.requires_grad_()
    mask = torch.ones(2, 11, dtype=torch.bool)
    torch.manual_seed(3)
    ours = embedded_and_normed(embed, norm, tiles, queries=3, times=1).attended(queries, mask, nn.Dropout(0.0))
    plain = plain_attention(queries, norm(torch.relu(embed[0](tiles)) * drawn(3, 0.25)), mask)
    same(gradients(ours, (embed, norm), tiles), gradients(plain, (embed, norm), tiles))


def drawn(seed, p):
    """The scaled mask (patient, tile, hidden) that the layers draw under `seed`, chunk by chunk of each patient."""
    torch.manual_seed(seed)
    chunks = [drop_(torch.ones(rows, HIDDEN).double(), p) for _ in range(2) for rows in (8, 3)]
    return torch.cat(chunks).view(2, 11, HIDDEN) / kept(p)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.25, 0.9])
def test_dropout_keeps_the_share_it_says(p):
    torch.manual_seed(0)
    values = drop_(torch.ones(401, 499), p)
    assert set(values.unique().tolist()) <= {0.0, 1.0}
    assert float(values.mean()) == pytest.approx(kept(p), abs=0.005)
    assert kept(p) == pytest.approx(1 - p, abs=1e-5)
    if p:
        rows = torch.corrcoef(values[:40])
        assert rows.fill_diagonal_(0).abs().max() < 0.25


def test_dropout_follows_the_seed():
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(drop_(torch.ones(9, 9), 0.5))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_rows_that_are_all_zero_stay_finite():
    embed = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Dropout(0.0))
    with torch.no_grad():
        embed[0].weight.zero_()
        embed[0].bias.fill_(-1)
    tiles = torch.zeros(1, 3, FEATURES)
    normed = embedded_and_normed(embed, nn.LayerNorm(HIDDEN), tiles, queries=2, times=1)
    pooled, scores = normed.attended(torch.randn(1, 2, HIDDEN), torch.ones(1, 3, dtype=torch.bool), nn.Dropout(0.0))
    (pooled.sum() + scores.sum()).backward()
    assert torch.isfinite(scores).all()
    assert torch.isfinite(embed[0].weight.grad).all()
