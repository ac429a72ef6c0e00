"""Layers with gradients by hand against the plain modules that they stand for."""

import pytest
import torch
from torch import nn

from histoweave.survival import tile_layers
from histoweave.survival.bags import GatedAttention
from histoweave.survival.tile_layers import drop_, embedded_and_normed, hidden_and_scores, kept

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
    ours = embedded_and_normed(embed, norm, tiles).attended(queries, mask, nn.Dropout(0.0))
    plain = plain_attention(queries, norm(embed(tiles)), mask)
    modules = embed, norm, nn.ParameterList([queries])
    same(gradients(ours, modules, tiles), gradients(plain, modules, tiles))


def test_gradient_of_attention_under_dropout(tiles):
    embed = shaken(nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Dropout(0.0)))
    norm, queries = shaken(nn.LayerNorm(HIDDEN)), nn.Parameter(torch.randn(2, 3, HIDDEN).double())
    tiles.requires_grad_()
    mask, dropout = torch.ones(2, 11, dtype=torch.bool), nn.Dropout(0.25)
    torch.manual_seed(5)
    ours = embedded_and_normed(embed, norm, tiles).attended(queries, mask, dropout)
    torch.manual_seed(5)
    kept_tiles = drop_(torch.ones(2, 3, 11).double(), 0.25) / kept(0.25)
    context = norm(embed(tiles))
    scores = queries @ context.transpose(1, 2)
    plain = (torch.softmax(scores, dim=2) * kept_tiles) @ context, scores
    modules = embed, norm, nn.ParameterList([queries])
    same(gradients(ours, modules, tiles), gradients(plain, modules, tiles))


def test_hidden_tiles_and_their_scores_are_those_of_the_modules(tiles):
    embed = shaken(nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.LayerNorm(HIDDEN), nn.ReLU(), nn.Dropout(0.0)))
    attention = shaken(GatedAttention(HIDDEN, 5, dropout=0.0))
    tiles.requires_grad_()
    plain = embed(tiles)
    same(
        gradients(hidden_and_scores(embed, attention, tiles), (embed, attention), tiles),
        gradients([plain, attention(plain)], (embed, attention), tiles),
    )


def test_gradient_under_dropout_is_that_of_the_mask_that_was_drawn(tiles):
    embed = shaken(nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.LayerNorm(HIDDEN), nn.ReLU(), nn.Dropout(0.25)))
    attention = shaken(GatedAttention(HIDDEN, 5, dropout=0.0))
    tiles.requires_grad_()
    h, w = hidden_and_scores(embed, attention, tiles)
    plain = torch.relu(embed[1](embed[0](tiles))) * (h > 0).double() / kept(0.25)
    modules = embed, attention
    same(gradients([h, w], modules, tiles), gradients([plain, attention(plain)], modules, tiles))


def test_gradient_of_the_embedding_under_dropout(tiles):
    embed = shaken(nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Dropout(0.25)))
    tiles.requires_grad_()
    z = embedded_and_normed(embed, nn.LayerNorm(HIDDEN), tiles).z
    plain = torch.relu(embed[0](tiles)) * (z > 0).double() / kept(0.25)
    same(gradients([z], (embed,), tiles), gradients([plain], (embed,), tiles))


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
    normed = embedded_and_normed(embed, nn.LayerNorm(HIDDEN), tiles)
    pooled, scores = normed.attended(torch.randn(1, 2, HIDDEN), torch.ones(1, 3, dtype=torch.bool), nn.Dropout(0.0))
    (pooled.sum() + scores.sum()).backward()
    assert torch.isfinite(scores).all()
    assert torch.isfinite(embed[0].weight.grad).all()
