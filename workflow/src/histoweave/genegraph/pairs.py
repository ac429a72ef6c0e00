"""What two datasets have in common and what only one has: the ground of the two joint losses."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from histoweave.genegraph.graph import GeneGraph


@dataclass(frozen=True)
class SharedGenes:
    """Genes of two datasets by name.

    first, second : (shared gene,) positions in either dataset; overlap : (shared gene,) Jaccard index of the neighbours
    only_first, only_second : (gene,) positions of the genes of one dataset only
    """

    first: Tensor
    second: Tensor
    overlap: Tensor
    only_first: Tensor
    only_second: Tensor


def shared_genes(first: GeneGraph, second: GeneGraph) -> SharedGenes:
    """Compare two graphs by the names of their genes; neighbours include the gene itself."""
    _, at_first, at_second = np.intersect1d(first.genes, second.genes, return_indices=True)
    near_first, near_second = with_self(first.adjacency), with_self(second.adjacency)
    # A common neighbour is a shared gene, so the product of the two shared blocks counts them.
    common = near_first[at_first][:, at_first].multiply(near_second[at_second][:, at_second]).sum(axis=1)
    either = near_first.sum(axis=1)[at_first] + near_second.sum(axis=1)[at_second] - common
    only_first = np.setdiff1d(np.arange(len(first.genes)), at_first)
    only_second = np.setdiff1d(np.arange(len(second.genes)), at_second)
    return SharedGenes(
        torch.from_numpy(at_first),
        torch.from_numpy(at_second),
        torch.from_numpy((common / either).astype(np.float32)),
        torch.from_numpy(only_first),
        torch.from_numpy(only_second),
    )


def with_self(adjacency: sparse.csr_array) -> sparse.csr_array:
    """0/1 adjacency (gene, gene) with self-loops."""
    return sparse.csr_array((adjacency != 0).astype(np.float64) + sparse.eye_array(adjacency.shape[0], format="csr"))


def draw_positives(
    adjacency: sparse.csr_array, candidates: Tensor, number: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`number` different genes of `candidates` and a random neighbour of each (the gene itself if it has none)."""
    genes = candidates[torch.randperm(len(candidates), generator=generator)[:number]]
    start = torch.from_numpy(adjacency.indptr.astype(np.int64))
    degree = start[genes + 1] - start[genes]
    offset = (torch.rand(len(genes), generator=generator) * degree).long()
    place = (start[genes] + offset).clamp(max=max(adjacency.nnz - 1, 0))
    neighbour = torch.from_numpy(adjacency.indices.astype(np.int64))[place]
    return genes, torch.where(degree > 0, neighbour, genes)
