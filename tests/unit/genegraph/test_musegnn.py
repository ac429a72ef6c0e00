"""The model and its losses against slow, literal versions."""

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity, mish

from genegraph.planted import planted_graphs
from histoweave.genegraph.attention import neighbours_of
from histoweave.genegraph.musegnn import (
    BilinearDecoder,
    GraphNorm,
    MlpDecoder,
    MuseGnn,
    contrastive_loss,
    reconstruction_loss,
    similarity_loss,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def model(graphs, decoder="bilinear", groups=None):
    torch.manual_seed(0)
    shapes = {graph.name: graph.features.shape for graph in graphs}
    return MuseGnn(shapes, groups or dict.fromkeys(shapes, "one"), dim=8, decoder=decoder)


def test_graph_norm_equals_torch_geometric():
    from torch_geometric.nn import GraphNorm as Reference

    ours, reference = GraphNorm(6), Reference(6)
    with torch.no_grad():
        for mine, theirs, seed in ((ours.alpha, reference.mean_scale, 1), (ours.gamma, reference.weight, 2)):
            mine.copy_(draw(6, seed=seed))
            theirs.copy_(mine)
    torch.testing.assert_close(ours(draw(20, 6)), reference(draw(20, 6)))


def test_reconstruction_is_the_mean_over_all_pairs():
    logits, target = draw(5, 5), (draw(5, 5, seed=1) > 0).float()
    expected = (
        sum(binary_cross_entropy_with_logits(logits[a, b], target[a, b]) for a in range(5) for b in range(5)) / 25
    )
    torch.testing.assert_close(reconstruction_loss(logits, target, edge_weight=1), expected)


def test_edge_weight_counts_edges_only():
    logits, target = draw(5, 5), torch.zeros(5, 5)
    same = reconstruction_loss(logits, target, edge_weight=1)
    torch.testing.assert_close(reconstruction_loss(logits, target, edge_weight=9), same)
    target[0, 1] = 1
    assert reconstruction_loss(logits, target, edge_weight=9) > reconstruction_loss(logits, target, edge_weight=1)


def test_similarity_is_weighted_by_the_overlap():
    a, b, overlap = draw(4, 3), draw(4, 3, seed=1), torch.tensor([0.0, 0.5, 0.0, 0.0])
    torch.testing.assert_close(similarity_loss(a, b, overlap), -0.5 * cosine_similarity(a[1:2], b[1:2])[0] / 4)
    assert similarity_loss(a, a, torch.ones(4)) == pytest.approx(-1)


def test_contrastive_loss_equals_the_sum_written_out():
    anchors, positives, tau = draw(6, 4), draw(6, 4, seed=1), 0.07
    x = torch.cat([anchors, positives]).double()
    near = torch.exp(cosine_similarity(x[:, None], x[None], dim=2) / tau)
    terms = []
    for k in range(12):
        others = [m for m in range(12) if m != k]
        terms.append(-torch.log(near[k, (k + 6) % 12] / near[k, others].sum()))
    ours = contrastive_loss(anchors.double(), positives.double(), temperature=tau)
    torch.testing.assert_close(ours, torch.stack(terms).mean(), rtol=1e-8, atol=1e-8)


def test_bilinear_decoder_reads_directions_only_and_is_symmetric():
    z = draw(7, 4)
    logits = BilinearDecoder()(z)
    torch.testing.assert_close(logits, logits.T)
    torch.testing.assert_close(BilinearDecoder()(z * torch.arange(1.0, 8)[:, None]), logits)


def test_decoder_sizes():
    def count(part):
        return sum(p.numel() for p in part.parameters())

    assert count(MlpDecoder(50)) == 3 * 50**2 + 3 * 50
    assert count(BilinearDecoder()) == 2


def test_mlp_decoder_equals_its_layers_on_the_products_of_all_genes():
    z, decoder = draw(9, 4).requires_grad_(), MlpDecoder(9)
    first, second, third = decoder.layers
    whole = third(mish(second(mish(first(z @ z.T)))))
    torch.testing.assert_close(decoder(z), whole, atol=1e-5, rtol=1e-5)
    ours, theirs = (torch.autograd.grad(out.square().sum(), [z, first.weight]) for out in (decoder(z), whole))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_graphs_may_differ_in_genes_and_in_cells():
    graphs = planted_graphs()
    assert len({len(graph.genes) for graph in graphs}) == 3
    made = model(graphs)
    for graph in graphs:
        near = neighbours_of(graph.adjacency, attention="auto", dense_above=0.01)
        z = made.encode(graph.name, torch.from_numpy(graph.features), near)
        assert z.shape == (len(graph.genes), 8)
        assert made.decoder(graph.name)(z).shape == (len(graph.genes), len(graph.genes))


def test_layers_are_shared_by_group():
    graphs = planted_graphs()
    names = [graph.name for graph in graphs]
    made = model(graphs, groups=dict(zip(names, ["b", "a", "b"], strict=True)))
    assert len(made.shared_layers) == 2
    assert made.group == [1, 0, 1]
    assert len(made.dataset_layers) == 3


def test_the_order_of_genes_does_not_matter():
    graph = planted_graphs(datasets=1)[0]
    order = np.random.default_rng(0).permutation(len(graph.genes))
    made = model([graph])
    x = torch.from_numpy(graph.features)
    near = [
        neighbours_of(a, attention="dense", dense_above=0) for a in (graph.adjacency, graph.adjacency[order][:, order])
    ]
    with torch.no_grad():
        straight, mixed = made.encode(graph.name, x, near[0]), made.encode(graph.name, x[order], near[1])
    torch.testing.assert_close(straight[order], mixed, atol=1e-4, rtol=1e-3)
