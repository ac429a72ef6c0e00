"""SurvPath's attention against the equation, and its pathways."""

import torch
from unit.survival.test_ghanet import batch_of

from histoweave.survival.bags import Batch
from histoweave.survival.survpath import DenseAttention, Survpath


def test_attention_is_the_equation_with_tile_to_tile_left_out():
    torch.manual_seed(0)
    module, pathways, tiles = DenseAttention(8, 4), torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    q, k, v = module.project(module.norm(torch.cat([pathways, tiles], dim=1))).chunk(3, dim=2)
    logits = q @ k.transpose(1, 2) / 2.0
    logits[:, 3:, 3:] = -torch.inf
    whole = torch.softmax(logits, dim=2) @ v
    ours = module(pathways, tiles, torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(torch.cat(ours[:2], dim=1), whole)
    torch.testing.assert_close(ours[2], torch.softmax(logits, dim=2)[:, :3, 3:])


def with_expression(batch):
    return Batch(batch.tiles, batch.mask, {"expression": torch.randn(2, 4)}, batch.time_days, batch.event)


def test_padding_is_not_seen():
    torch.manual_seed(0)
    network = Survpath(6, [[0, 1], [1, 2, 3]], hidden=8, attention=4, dropout=0.0).eval()
    batch = with_expression(batch_of([9, 4]))
    alone = Batch(batch.tiles[1:, :4], batch.mask[1:, :4], {"expression": batch.vectors["expression"][1:]}, *[None] * 2)
    with torch.no_grad():
        torch.testing.assert_close(network(batch)["risk"][1:], network(alone)["risk"])
        torch.testing.assert_close(network.attention(batch).sum(dim=1), torch.ones(2))


def test_no_dead_parameters_and_both_modalities_count():
    torch.manual_seed(0)
    network = Survpath(6, [[0, 1], [1, 2, 3]], hidden=8, attention=4, dropout=0.0)
    batch = with_expression(batch_of([9, 4]))
    batch.tiles.requires_grad_()
    batch.vectors["expression"].requires_grad_()
    network(batch)["risk"].sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert batch.tiles.grad.abs().sum() > 0
    assert (batch.vectors["expression"].grad.abs().sum(dim=0) > 0).all()
