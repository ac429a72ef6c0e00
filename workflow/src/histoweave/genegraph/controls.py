"""Embeddings to stand beside a trained one: without data, in closed form."""

from collections.abc import Callable, Sequence

import numpy as np

from histoweave.genegraph.graph import GeneGraph, union_genes
from histoweave.genegraph.spectral import joint_spectral, principal_components
from histoweave.rng import generator


def random_per_gene(graphs: Sequence[GeneGraph], *, dim: int, seed: int) -> list[np.ndarray]:
    """A random vector per gene name, the same in all datasets: no data at all."""
    names, positions = union_genes(graphs)
    table = generator(seed, "genegraph/random_per_gene").standard_normal((len(names), dim)).astype(np.float32)
    return [table[place] for place in positions]


def pca_per_dataset(graphs: Sequence[GeneGraph], *, dim: int, seed: int) -> list[np.ndarray]:
    """Principal components of each dataset by itself."""
    del seed
    return [principal_components(graph, dim=dim) for graph in graphs]


def spectral_of_all(graphs: Sequence[GeneGraph], *, dim: int, seed: int) -> list[np.ndarray]:
    """Joint spectral embedding."""
    del seed
    return joint_spectral(graphs, dim=dim)


METHODS: dict[str, Callable[..., list[np.ndarray]]] = {
    "random_per_gene": random_per_gene,
    "pca": pca_per_dataset,
    "joint_spectral": spectral_of_all,
}
