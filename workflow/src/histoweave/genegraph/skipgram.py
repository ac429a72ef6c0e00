"""Skip-gram with negative sampling on edges (Gene2vec, doi:10.1186/s12864-018-5370-x) and on random walks (node2vec).

Walks are unbiased (p = q = 1) and, after GIANT (doi:10.1101/2022.06.23.497375), may change to the same gene of another
dataset. The pairs of a walk are its nodes at most `window` steps apart. torch-geometric's Node2Vec needs a compiled
walk (pyg-lib or torch-cluster) that has no wheel for every platform, knows no change of dataset, and uses one table of
vectors for words and contexts; ours has two, as word2vec.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.functional import logsigmoid

from histoweave.device import torch_generator
from histoweave.genegraph.graph import GeneGraph, union_genes, upper_edges
from histoweave.rng import derive_seed, generator

_BATCH = 8192
_RATE = 0.01


def skip_gram(pairs: np.ndarray, *, n_words: int, dim: int, negatives: int, epochs: int, seed: int) -> np.ndarray:
    """Vectors (word, dim) that tell the words of a pair from words drawn at random.

    pairs : (pair, 2) word and context
    """
    rng = torch_generator(seed, "genegraph/skip_gram")
    word, context = nn.Embedding(n_words, dim), nn.Embedding(n_words, dim)
    nn.init.normal_(word.weight, std=dim**-0.5, generator=rng)
    nn.init.zeros_(context.weight)
    optimiser = torch.optim.Adam([*word.parameters(), *context.parameters()], lr=_RATE)
    pairs = torch.from_numpy(pairs)
    for _ in range(epochs):
        for batch in pairs[torch.randperm(len(pairs), generator=rng)].split(_BATCH):
            centre = word(batch[:, 0])  # (pair, dim)
            others = context(torch.randint(n_words, (len(batch), negatives), generator=rng))  # (pair, negative, dim)
            near = logsigmoid((centre * context(batch[:, 1])).sum(dim=1))
            far = logsigmoid(-torch.einsum("pd,pnd->pn", centre, others)).sum(dim=1)
            optimiser.zero_grad()
            (-(near + far).mean()).backward()
            optimiser.step()
    return word.weight.detach().numpy()


def on_edges(graphs: Sequence[GeneGraph], *, dim: int, negatives: int, epochs: int, seed: int) -> list[np.ndarray]:
    """Skip-gram on the edges of all datasets, a word for each gene name: (gene, dim) per graph."""
    names, positions = union_genes(graphs)
    pairs = []
    for graph, place in zip(graphs, positions, strict=True):
        rows, columns, _ = upper_edges(graph.adjacency)
        pairs += [np.c_[place[rows], place[columns]], np.c_[place[columns], place[rows]]]
    table = skip_gram(np.concatenate(pairs), n_words=len(names), dim=dim, negatives=negatives, epochs=epochs, seed=seed)
    return [table[place] for place in positions]


def on_walks(
    graphs: Sequence[GeneGraph],
    *,
    dim: int,
    negatives: int,
    epochs: int,
    walks: int,
    length: int,
    window: int,
    jump: float,
    seed: int,
) -> list[np.ndarray]:
    """Skip-gram on random walks over all datasets, a word for each gene of each dataset: (gene, dim) per graph.

    walks : from each node; length : nodes of a walk; jump : chance to change to the same gene of another dataset
    """
    begin = np.cumsum([0, *[len(graph.genes) for graph in graphs]])
    starts = np.tile(np.arange(begin[-1]), walks)
    path = random_walks(graphs, starts, length=length, jump=jump, rng=generator(seed, "genegraph/walks"))
    pairs = [np.c_[path[:, i], path[:, i + step]] for step in range(1, window + 1) for i in range(length - step)]
    both = np.concatenate([np.concatenate(pairs), np.concatenate(pairs)[:, ::-1]])
    table = skip_gram(
        both, n_words=begin[-1], dim=dim, negatives=negatives, epochs=epochs, seed=derive_seed(seed, "walks")
    )
    return [table[a:b] for a, b in zip(begin[:-1], begin[1:], strict=True)]


def random_walks(
    graphs: Sequence[GeneGraph], starts: np.ndarray, *, length: int, jump: float, rng: np.random.Generator
) -> np.ndarray:
    """(walk, length) nodes visited from `starts`; nodes are numbered over all datasets in order.

    A node without neighbours stays where it is.
    """
    names, positions = union_genes(graphs)
    begin = np.cumsum([0, *[len(graph.genes) for graph in graphs]])
    gene = np.concatenate(positions)
    # node of each gene in each dataset, -1 where it is not
    node = np.full((len(names), len(graphs)), -1)
    for number, place in enumerate(positions):
        node[place, number] = begin[number] + np.arange(len(place))
    first = np.concatenate(
        [graph.adjacency.indptr[:-1] + offset for graph, offset in zip(graphs, _offsets(graphs), strict=True)]
    )
    degree = np.concatenate([np.diff(graph.adjacency.indptr) for graph in graphs])
    neighbour = np.concatenate(
        [graph.adjacency.indices + start for graph, start in zip(graphs, begin[:-1], strict=True)]
    )
    path = np.empty((len(starts), length), dtype=np.int64)
    path[:, 0] = here = starts
    for step in range(1, length):
        pick = first[here] + (rng.random(len(here)) * degree[here]).astype(np.int64)
        moved = np.where(degree[here] > 0, neighbour[np.minimum(pick, len(neighbour) - 1)], here)
        other = node[gene[moved], rng.integers(0, len(graphs), size=len(here))]
        here = np.where((rng.random(len(here)) < jump) & (other >= 0), other, moved)
        path[:, step] = here
    return path


def _offsets(graphs: Sequence[GeneGraph]) -> np.ndarray:
    return np.cumsum([0, *[graph.adjacency.nnz for graph in graphs]])[:-1]
