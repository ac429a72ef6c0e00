"""Attention against torch-geometric, and the two ways against each other."""

import numpy as np
import pytest
import torch

from genegraph.planted import planted_graphs
from histoweave.genegraph.attention import TransformerConv, edge_attention, neighbours_of, sparse_attention


@pytest.fixture
def graph():
    return planted_graphs(datasets=1)[0]


def both_ways(adjacency):
    return [neighbours_of(adjacency, attention=how, dense_above=0.5) for how in ("dense", "sparse")]


def conv(n_in):
    torch.manual_seed(0)
    return TransformerConv(n_in, 5, heads=3)


def test_dense_equals_sparse_with_gradients(graph):
    x = torch.from_numpy(graph.features)
    layer, results = conv(x.shape[1]), []
    for near in both_ways(graph.adjacency):
        layer.zero_grad()
        out = layer(x, near)
        out.square().sum().backward()
        results.append([out.detach(), *[p.grad.clone() for p in layer.parameters()]])
    for dense, sparse in zip(*results, strict=True):
        torch.testing.assert_close(dense, sparse, atol=1e-5, rtol=1e-4)


def test_the_compiled_loop_equals_the_one_on_tensors(graph):
    """The latter is what a GPU does; gradients of all three inputs."""
    near = both_ways(graph.adjacency)[1]
    shape = (3, len(graph.genes), 5)
    parts = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_() for seed in range(3)]
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    results = []
    for out in (edge_attention(*parts, near), sparse_attention(*parts, near.edges)):
        results.append([out, *torch.autograd.grad((out * weight).sum(), parts)])
    for compiled, plain in zip(*results, strict=True):
        torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=1e-4)


def test_equals_torch_geometric(graph):
    from torch_geometric.nn import TransformerConv as Reference

    x = torch.from_numpy(graph.features)
    ours, reference = conv(x.shape[1]), Reference(x.shape[1], 5, heads=3)
    names = {"query": "lin_query", "key": "lin_key", "value": "lin_value", "skip": "lin_skip"}
    for mine, theirs in names.items():
        getattr(reference, theirs).load_state_dict(getattr(ours, mine).state_dict())
    edges = neighbours_of(graph.adjacency, attention="sparse", dense_above=0.5).edges
    expected = reference(x, edges.flip(0))  # theirs: from sender to receiver
    for near in both_ways(graph.adjacency):
        torch.testing.assert_close(ours(x, near), expected, atol=1e-5, rtol=1e-4)


def test_a_gene_without_neighbours_attends_to_itself():
    from scipy import sparse

    lonely = sparse.csr_array((3, 3), dtype=np.float32)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    layer = conv(4)
    for near in both_ways(lonely):
        torch.testing.assert_close(layer(x, near), layer.value(x) + layer.skip(x))


def test_auto_chooses_by_density(graph):
    dense = neighbours_of(graph.adjacency, attention="auto", dense_above=graph.density / 2)
    sparse = neighbours_of(graph.adjacency, attention="auto", dense_above=graph.density * 2)
    assert dense.edges is None
    assert sparse.mask is None
    assert sparse.edges.shape[1] == dense.mask.sum() == graph.adjacency.nnz + len(graph.genes)
