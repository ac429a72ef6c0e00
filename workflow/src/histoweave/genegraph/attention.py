"""Attention of each gene to its neighbours: TransformerConv, dense or along the edges (doi:10.24963/ijcai.2021/214).

| symbol | name here | axes | meaning |
|---|---|---|---|
| q, k, v | query, key, value | (head, gene, width) | linear maps of the genes' vectors, with bias |
| alpha | softmax of q.k / sqrt(width) | (head, gene, gene) | over the neighbours of a gene and itself |
| W_s | skip | (gene, head x width) | linear map of the gene itself, with bias |

Both ways give the same numbers up to rounding. Dense work grows with the square of the number of genes,
edge-wise work with the edges: on a CPU, where a compiled loop does it, dense is faster above about one edge per seven
pairs.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Neighbours:
    """Who attends to whom, each gene itself included.

    mask : (gene, gene) bool, or None; edges : (2, edge) receiver and sender, sorted by receiver, or None
    starts : (gene + 1,) int32 where the edges of each receiver begin, or None
    """

    mask: Tensor | None
    edges: Tensor | None
    starts: Tensor | None = None

    def to(self, device: torch.device) -> "Neighbours":
        """Return the same on `device`."""
        return Neighbours(*(None if part is None else part.to(device) for part in (self.mask, self.edges, self.starts)))


def neighbours_of(adjacency: sparse.csr_array, *, attention: str, dense_above: float) -> Neighbours:
    """Neighbours of each gene of a symmetric (gene, gene) adjacency, with self-loops.

    attention : ``dense``, ``sparse``, or ``auto``: dense if the share of pairs with an edge is above `dense_above`
    """
    n = adjacency.shape[0]
    dense = attention == "dense" or (attention == "auto" and adjacency.nnz > dense_above * n * n)
    if dense:
        mask = np.eye(n, dtype=bool)
        mask[np.repeat(np.arange(n), np.diff(adjacency.indptr)), adjacency.indices] = True
        return Neighbours(torch.from_numpy(mask), None)
    with_self = (adjacency != 0).astype(np.int8) + sparse.eye_array(n, dtype=np.int8, format="csr")
    with_self.sort_indices()
    receiver = np.repeat(np.arange(n), np.diff(with_self.indptr))
    edges = np.stack([receiver, with_self.indices]).astype(np.int64)
    return Neighbours(None, torch.from_numpy(edges), torch.from_numpy(with_self.indptr.astype(np.int32)))


class TransformerConv(nn.Module):
    """Multi-head attention over the neighbours, heads side by side, plus a linear map of the gene itself.

    n_in : width of a gene's vector; width, heads : the result is (gene, heads x width)
    """

    def __init__(self, n_in: int, width: int, *, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.query, self.key, self.value, self.skip = (nn.Linear(n_in, heads * width) for _ in range(4))

    def forward(self, x: Tensor, neighbours: Neighbours) -> Tensor:
        """(gene, n_in) -> (gene, heads x width)."""
        query, key, value = (self._by_head(part(x)) for part in (self.query, self.key, self.value))
        if neighbours.mask is not None:
            mixed = dense_attention(query, key, value, neighbours.mask)  # (head, gene, width)
        elif query.device.type == "cpu":
            mixed = edge_attention(query, key, value, neighbours)
        else:
            mixed = sparse_attention(query, key, value, neighbours.edges)
        return mixed.transpose(0, 1).reshape(len(x), -1) + self.skip(x)

    def _by_head(self, x: Tensor) -> Tensor:
        return x.view(len(x), self.heads, self.width).transpose(0, 1)  # (head, gene, width)


def dense_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Softmax attention, (head, gene, width) each, where `mask` (gene, gene) is true."""
    # The fused kernel keeps no (head, gene, gene) tensor: half the time and a fraction of the memory.
    return scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=mask[None, None])[0]


def edge_attention(query: Tensor, key: Tensor, value: Tensor, neighbours: Neighbours) -> Tensor:
    """`sparse_attention` on the CPU, by a compiled loop (in float32 whatever the precision)."""
    from histoweave.genegraph.edge_attention import EdgeAttention

    senders = neighbours.edges[1].to(torch.int32)
    mixed = EdgeAttention.apply(query.float(), key.float(), value.float(), neighbours.starts, senders)
    return mixed.to(query.dtype)


def sparse_attention(query: Tensor, key: Tensor, value: Tensor, edges: Tensor) -> Tensor:
    """Softmax attention, (head, gene, width) each, along `edges` (2, edge)."""
    receiver, sender = edges
    n = query.shape[1]
    score = (query[:, receiver] * key[:, sender]).sum(dim=2) / math.sqrt(query.shape[2])  # (head, edge)
    index = receiver.expand_as(score)
    highest = score.new_full((len(score), n), float("-inf")).scatter_reduce(1, index, score.detach(), "amax")
    weight = (score - highest[:, receiver]).exp()
    total = torch.zeros_like(highest).scatter_add(1, index, weight)
    alpha = weight / total[:, receiver]
    return torch.zeros_like(query).index_add(1, receiver, alpha.unsqueeze(2) * value[:, sender])
