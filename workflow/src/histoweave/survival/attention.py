"""Attention blocks that several models share."""

import torch
from torch import nn
from torch.nn.functional import gelu

from histoweave.survival.bags import masked_softmax
from histoweave.survival.tile_layers import NormedTiles


class FoldedAttention(nn.Module):
    """Multi-head attention of few queries over many tiles without forming keys and values of the tiles.

    forward: queries (patient or 1, group, hidden), context (patient, tile, hidden), mask (patient, tile)
    -> (patient, group, hidden), logits (patient, group, head, tile)
    """

    def __init__(self, hidden: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.value = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, queries: torch.Tensor, context: torch.Tensor | NormedTiles, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the attended vectors and the logits."""
        patients, tiles, hidden = context.shape
        groups, width = queries.shape[1], hidden // self.heads
        q = self.query(queries).unflatten(-1, (self.heads, width))  # (patient|1, group, head, width)
        by_head = self.key.weight.unflatten(0, (self.heads, width))  # (head, width, hidden)
        folded = torch.einsum("pghw,hwd->pghd", q, by_head) / width**0.5  # W_k folded into q
        folded = folded.flatten(1, 2).expand(patients, -1, -1)  # (patient, group*head, hidden)
        if isinstance(context, NormedTiles):
            pooled, scores = context.attended(folded, mask, self.dropout)
        else:
            scores = folded @ context.transpose(1, 2)  # (patient, group*head, tile)
            pooled = self.dropout(masked_softmax(scores, mask[:, None, :])) @ context
        pooled = pooled.unflatten(1, (groups, self.heads))  # (patient, group, head, hidden)
        by_head = self.value.weight.unflatten(0, (self.heads, width))
        values = torch.einsum("pghd,hwd->pghw", pooled, by_head).flatten(2)  # W_v after pooling
        return self.out(values), scores.unflatten(1, (groups, self.heads))


class FeedForward(nn.Module):
    """GEGLU: Dropout(W2 (u * GELU(v))), [u, v] = W1 x; forward: (..., hidden) -> (..., hidden)."""

    def __init__(self, hidden: int, inner: int, *, dropout: float) -> None:
        super().__init__()
        self.into = nn.Linear(hidden, 2 * inner)
        self.back = nn.Linear(inner, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the transformed vectors."""
        u, v = self.into(x).chunk(2, dim=-1)
        return self.dropout(self.back(u * gelu(v)))
