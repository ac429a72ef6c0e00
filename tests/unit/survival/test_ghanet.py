import numpy as np
import pytest
import torch
from torch import nn
from unit.survival.people import make_patients, training
from unit.survival.test_models import GHANET, GROUPS

from histoweave.errors import InputError
from histoweave.survival import ghanet, tile_layers
from histoweave.survival.attention import FoldedAttention
from histoweave.survival.bags import Batch
from histoweave.survival.gene_groups import GateSettings
from histoweave.survival.ghanet import Ghanet, GhanetLoss, GhanetShape, top_tiles
from histoweave.survival.interface import Context

SHAPE = GhanetShape(
    n_features=6, group_sizes=(3, 2), bins=4, hidden=16, heads=4, feed_forward=8, dropout=0.25, top_share=0.2,
    hyper_attention=True,
)  # fmt: skip


def batch_of(counts, features=6, seed=0):
    rng = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(counts))[None] < torch.tensor(counts)[:, None]
    tiles = torch.randn(len(counts), max(counts), features, generator=rng) * mask[..., None]
    zeros = torch.zeros(len(counts))
    return Batch(tiles, mask, {}, zeros, zeros)


def plain_attention(module, queries, context, mask):
    """Keys and values formed for every tile, as the paper writes it."""
    heads, width = module.heads, context.shape[2] // module.heads
    q = module.query(queries).unflatten(-1, (heads, width)).transpose(1, 2)  # (patient, head, group, width)
    k = module.key(context).unflatten(-1, (heads, width)).transpose(1, 2)
    v = module.value(context).unflatten(-1, (heads, width)).transpose(1, 2)
    scores = q @ k.transpose(2, 3) / width**0.5  # (patient, head, group, tile)
    weights = torch.softmax(scores.masked_fill(~mask[:, None, None], -torch.inf), dim=3)
    return module.out((weights @ v).transpose(1, 2).flatten(2)), scores.transpose(1, 2)


def test_folded_attention_is_attention():
    torch.manual_seed(0)
    module = FoldedAttention(16, 4, dropout=0.0).double()
    queries, context = torch.randn(1, 3, 16).double().expand(2, -1, -1), torch.randn(2, 50, 16).double()
    mask = torch.arange(50)[None] < torch.tensor([50, 20])[:, None]
    for ours, theirs in zip(
        module(queries[:1], context, mask), plain_attention(module, queries, context, mask), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)


def test_folded_attention_has_the_same_gradient():
    torch.manual_seed(0)
    module = FoldedAttention(16, 4, dropout=0.0).double()
    queries, context = torch.randn(1, 3, 16).double(), torch.randn(1, 50, 16).double()
    mask = torch.ones(1, 50, dtype=torch.bool)
    grads = []
    for attend in (module, lambda *args: plain_attention(module, *args)):
        module.zero_grad()
        attend(queries, context, mask)[0].square().sum().backward()
        grads.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    torch.testing.assert_close(*grads, atol=1e-10, rtol=1e-8)


def test_large_bags_take_fused_layers_with_the_same_result(monkeypatch):
    torch.manual_seed(0)
    network = Ghanet(SHAPE).double().eval()
    batch = batch_of([30, 12])
    batch = Batch(batch.tiles.double(), batch.mask, {}, batch.time_days, batch.event)
    made = []
    for least in (10**9, 0):
        monkeypatch.setattr(tile_layers, "_LEAST_TILES", least)
        network.zero_grad()
        outputs = network(batch)
        (outputs["logits"].square().sum() + outputs["reconstruction"].square().sum()).backward()
        made.append([*outputs.values(), network.attention(batch), *(p.grad for p in network.parameters())])
    for one, other in zip(*made, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-8)


def test_top_tiles_takes_the_share_and_one_at_least():
    m = torch.arange(10.0).expand(2, 3, 10)
    mask = torch.arange(10)[None] < torch.tensor([10, 3])[:, None]
    top = top_tiles(m, mask, share=0.2)
    assert top[0, 0].nonzero().flatten().tolist() == [8, 9]
    assert top[1, 0].nonzero().flatten().tolist() == [2]


@pytest.mark.parametrize("count", [1, 2, 4, 5, 40])
def test_bags_of_any_size_give_finite_risks(count):
    network = Ghanet(SHAPE).eval()
    outputs = network(batch_of([count]))
    assert torch.isfinite(outputs["risk"]).all()
    assert -4 <= float(outputs["risk"].detach()) <= 0
    assert outputs["reconstruction"].shape == (1, 5)


def test_hyper_attention_sums_to_one_and_padding_is_not_seen():
    torch.manual_seed(1)
    network = Ghanet(SHAPE).eval()
    batch, alone = batch_of([30, 7]), batch_of([30, 7])
    alone = Batch(alone.tiles[1:, :7], alone.mask[1:, :7], {}, alone.time_days[1:], alone.event[1:])
    with torch.no_grad():
        weights = network.attention(batch)
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
        torch.testing.assert_close(network(batch)["risk"][1:], network(alone)["risk"])


def test_no_dead_parameters():
    network = Ghanet(SHAPE).train()
    outputs = network(batch_of([20, 20, 20]))
    (outputs["logits"].square().sum() + outputs["reconstruction"].square().sum()).backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_survival_reaches_the_associating_branch_but_not_through_its_attention():
    network = Ghanet(SHAPE).train()
    network(batch_of([20]))["logits"].square().sum().backward()
    assert network.cab.tokens.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.cab.decoders.parameters())


def test_reconstruction_loss_is_zero_at_the_truth_and_skips_unknown_genomics():
    loss = GhanetLoss(0.3, (3, 2))
    truth = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    outputs = {"logits": torch.zeros(4, 4), "reconstruction": truth.clone()}
    targets = Batch(None, None, {"time_bin": torch.zeros(4), "expression": truth}, torch.ones(4), torch.ones(4))
    survival = float(GhanetLoss(0.0, (3, 2))(outputs, targets))
    assert float(loss(outputs, targets)) == pytest.approx(survival, abs=1e-6)
    truth[2] = torch.nan
    assert float(loss(outputs, targets)) == pytest.approx(survival, abs=1e-6)
    outputs["reconstruction"] = -truth.nan_to_num()
    per_group = [(1 - -1) ** 3 + float((4 * truth[[0, 1, 3]][:, g] ** 2).mean()) for g in (slice(0, 3), slice(3, 5))]
    assert float(loss(outputs, targets)) == pytest.approx(survival + 0.3 * sum(per_group), rel=1e-5)


def test_gradient_of_the_whole_loss():
    torch.manual_seed(0)
    network = Ghanet(SHAPE).double().eval()
    batch = batch_of([6, 9])
    batch = Batch(batch.tiles.double(), batch.mask, {}, batch.time_days, batch.event)
    targets = Batch(
        None, None, {"time_bin": torch.tensor([1.0, 2.0]), "expression": torch.randn(2, 5).double()},
        torch.ones(2), torch.tensor([1.0, 0.0]),
    )  # fmt: skip
    loss = GhanetLoss(0.3, (3, 2))
    weight = network.cab.embed[0].weight
    loss(network(batch), targets).backward()
    step = 1e-6
    for row, column in ((0, 0), (3, 2), (9, 5)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[row, column] += sign * step
                values.append(float(loss(network(batch), targets)))
                weight[row, column] -= sign * step
        numeric = (values[0] - values[1]) / (2 * step)
        assert float(weight.grad[row, column]) == pytest.approx(numeric, rel=1e-4, abs=1e-9)


def test_published_size():
    shape = GhanetShape(1024, (94,) * 6, 4, 512, 4, 2048, 0.25, 0.2, hyper_attention=True)
    count = sum(p.numel() for p in Ghanet(shape).parameters())
    assert 15.0e6 < count < 16.5e6


def test_ablations_change_what_they_say():
    people = make_patients(60, seed=2)
    parts = people.subset(range(45)), people.subset(range(45, 60))
    context = Context(1, ("g", "0", "0"), gene_groups=GROUPS)
    risks = []
    for change in ({}, {"reconstruction_weight": 0.0}, {"permute_genomics": True}, {"hyper_attention": False}):
        settings = ghanet.GhanetSettings(**{**vars(GHANET), "training": training(epochs=2), **change})
        risks.append(ghanet.fit(*parts, settings=settings, context=context).predict(people, [365]).risk)
    assert all(not np.allclose(risks[0], other) for other in risks[1:])


def test_gated_genes_stand_in_the_bundle():
    people = make_patients(60, seed=2)
    gate = GateSettings("top", 2, 0.05)
    settings = ghanet.GhanetSettings(**{**vars(GHANET), "training": training(epochs=1), "gate": gate})
    context = Context(1, ("g", "0", "0"), gene_groups=GROUPS)
    fitted = ghanet.fit(people.subset(range(45)), people.subset(range(45, 60)), settings=settings, context=context)
    _, meta = fitted.state()
    assert len(meta["targets"]["genes"]) == 4
    assert meta["shape"]["group_sizes"] == (2, 2)
    assert fitted.predict(people, [365]).more["reconstruction"].shape == (60, 4)


def test_needs_groups_and_expression():
    people = make_patients(60)
    with pytest.raises(InputError, match="needs inputs.expression and gene groups"):
        ghanet.fit(people, people, settings=GHANET, context=Context(1, ("g", "0", "0")))


def test_group_without_genes_is_named():
    people = make_patients(60)
    context = Context(1, ("g", "0", "0"), gene_groups={**GROUPS, "strange": ["X1"]})
    with pytest.raises(InputError, match="gene group 'strange'"):
        ghanet.fit(people, people, settings=GHANET, context=context)


def test_layer_count():
    assert sum(isinstance(m, nn.LayerNorm) for m in Ghanet(SHAPE).modules()) == 6 + 2 + 1 + 2 + 1 + 1
