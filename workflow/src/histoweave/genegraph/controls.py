"""What stands beside a trained embedding: controls without data or in closed form, and baselines that train.

All have one form: (graphs, *, dim, settings, seed) -> an embedding (gene, dim) for each graph.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from histoweave.genegraph.graph import GeneGraph, union_genes
from histoweave.genegraph.spectral import joint_spectral, principal_components
from histoweave.rng import generator


@dataclass(frozen=True)
class BaselineSettings:
    """How the baselines are trained.

    published_epochs : epochs of MuSe-GNN as published
    gae_epochs, gae_rate : epochs and learning rate of GAE and VGAE
    skip_epochs, negatives : passes over the pairs and random words per pair of both skip-grams
    walks, walk_length, window, jump : random walks per gene, their length, how far a pair may lie apart,
    and the chance to change to another dataset
    """

    section: ClassVar[str] = "genegraph.baselines"
    published_epochs: int
    gae_epochs: int
    gae_rate: float
    skip_epochs: int
    negatives: int
    walks: int
    walk_length: int
    window: int
    jump: float


Embeddings = list[np.ndarray]


def random_per_gene(graphs: Sequence[GeneGraph], *, dim: int, settings: BaselineSettings, seed: int) -> Embeddings:
    """A random vector per gene name, the same in all datasets: no data at all."""
    del settings
    names, positions = union_genes(graphs)
    table = generator(seed, "genegraph/random_per_gene").standard_normal((len(names), dim)).astype(np.float32)
    return [table[place] for place in positions]


def pca(graphs: Sequence[GeneGraph], *, dim: int, settings: BaselineSettings, seed: int) -> Embeddings:
    """Principal components of each dataset by itself."""
    del settings, seed
    return [principal_components(graph, dim=dim) for graph in graphs]


def spectral(graphs: Sequence[GeneGraph], *, dim: int, settings: BaselineSettings, seed: int) -> Embeddings:
    """Joint spectral embedding."""
    del settings, seed
    return joint_spectral(graphs, dim=dim)


def musegnn_published(graphs: Sequence[GeneGraph], *, dim: int, settings: BaselineSettings, seed: int) -> Embeddings:
    """MuSe-GNN as published."""
    from histoweave.genegraph.published import train_published

    return train_published(graphs, dim=dim, epochs=settings.published_epochs, seed=seed)


def gene2vec(graphs: Sequence[GeneGraph], *, dim: int, settings: BaselineSettings, seed: int) -> Embeddings:
    """Skip-gram on edges."""
    from histoweave.genegraph.skipgram import on_edges

    return on_edges(graphs, dim=dim, negatives=settings.negatives, epochs=settings.skip_epochs, seed=seed)


def node2vec(graphs: Sequence[GeneGraph], *, dim: int, settings: BaselineSettings, seed: int) -> Embeddings:
    """Skip-gram on random walks over all graphs."""
    from histoweave.genegraph.skipgram import on_walks

    return on_walks(
        graphs,
        dim=dim,
        negatives=settings.negatives,
        epochs=settings.skip_epochs,
        walks=settings.walks,
        length=settings.walk_length,
        window=settings.window,
        jump=settings.jump,
        seed=seed,
    )


def gae(graphs: Sequence[GeneGraph], *, dim: int, settings: BaselineSettings, seed: int) -> Embeddings:
    """Graph autoencoder of each dataset."""
    return _autoencoders(graphs, variational=False, dim=dim, settings=settings, seed=seed)


def vgae(graphs: Sequence[GeneGraph], *, dim: int, settings: BaselineSettings, seed: int) -> Embeddings:
    """Variational graph autoencoder of each dataset."""
    return _autoencoders(graphs, variational=True, dim=dim, settings=settings, seed=seed)


def _autoencoders(
    graphs: Sequence[GeneGraph], *, variational: bool, dim: int, settings: BaselineSettings, seed: int
) -> Embeddings:
    from histoweave.genegraph.gae import autoencode

    how = {"epochs": settings.gae_epochs, "learning_rate": settings.gae_rate, "seed": seed}
    return [autoencode(graph, dim=dim, variational=variational, **how) for graph in graphs]


METHODS: dict[str, Callable[..., Embeddings]] = {
    "random_per_gene": random_per_gene,
    "pca": pca,
    "joint_spectral": spectral,
    "musegnn_published": musegnn_published,
    "gene2vec": gene2vec,
    "node2vec": node2vec,
    "gae": gae,
    "vgae": vgae,
}
