"""MCAT: gene groups ask the tiles, two transformers join the answers.

Source: Chen et al. 2021, "Multimodal co-attention transformer for survival prediction in gigapixel whole slide images",
ICCV 2021 (doi:10.1109/ICCV48922.2021.00398).

| symbol | name here | axes | meaning |
|---|---|---|---|
| H | h | (patient, tile, hidden) | tile embeddings |
| G | g | (patient, group, hidden) | one self-normalising network per gene group |
| Hcoattn | asked | (patient, group, hidden) | attention of G over H (eq. 3) |

Deviations: a Cox loss in place of the discrete likelihood, so that all peers share one; keys and values are folded
(see `attention`), without bias and with four heads; groups may be any number; expression alone, no mutations.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from histoweave.survival.attention import FoldedAttention
from histoweave.survival.bags import Batch, GatedAttention
from histoweave.survival.group_network import NEEDS, GroupTokens, fit_group_network, restore_group_network
from histoweave.survival.interface import Context, Patients
from histoweave.survival.network import NetworkFitted
from histoweave.survival.train import Outputs, TrainSettings

NAME = "mcat"
RESUMES = True
NEEDS_TRAIN = NEEDS_PREDICT = NEEDS
USES = frozenset({"gene_groups"})


@dataclass(frozen=True)
class McatSettings:
    """Widths, heads, dropout, bounds of standardised features and expression, ties of the loss."""

    section: ClassVar[str] = "survival.mcat"
    hidden: int
    heads: int
    dropout: float
    clip: float
    expression_clip: float
    ties: str
    training: TrainSettings


Settings = McatSettings
SIZES = ("hidden", "heads", "dropout")


class Mcat(nn.Module):
    """Tiles and expression -> risk."""

    def __init__(self, n_features: int, members: list[list[int]], *, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.tokens = GroupTokens(members, hidden, dropout=dropout)
        self.ask = FoldedAttention(hidden, heads, dropout=0.0)
        layer = {"dim_feedforward": 2 * hidden, "dropout": dropout, "batch_first": True}
        self.mix = nn.ModuleList(
            nn.TransformerEncoder(nn.TransformerEncoderLayer(hidden, heads, **layer), 2, enable_nested_tensor=False)
            for _ in range(2)
        )
        self.pools = nn.ModuleList(GatedAttention(hidden, hidden, dropout=dropout) for _ in range(2))
        self.risk = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 1))

    def asked(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return g and asked (patient, group, hidden), and logits (patient, group, head, tile)."""
        g = self.tokens(batch.vectors["expression"])
        return g, *self.ask(g, self.embed(batch.tiles), batch.mask)

    def forward(self, batch: Batch) -> Outputs:
        """Return ``risk`` (patient,)."""
        g, asked, _ = self.asked(batch)
        pooled = []
        for mix, pool, values in zip(self.mix, self.pools, (asked, g), strict=True):
            mixed = mix(values)  # (patient, group, hidden)
            pooled.append(torch.einsum("pg,pgh->ph", torch.softmax(pool(mixed), dim=1), mixed))
        return {"risk": self.risk(torch.cat(pooled, dim=1))[:, 0]}

    def attention(self, batch: Batch) -> torch.Tensor:
        """(patient, tile) co-attention, mean over groups and heads."""
        scores = self.asked(batch)[2].masked_fill(~batch.mask[:, None, None], -1e9)
        return torch.softmax(scores, dim=3).mean(dim=(1, 2))


def fit(train: Patients, validation: Patients, *, settings: McatSettings, context: Context) -> NetworkFitted:
    """Train; the inner validation part picks the epoch."""
    return fit_group_network(NAME, Mcat, SIZES, (train, validation), settings=settings, context=context)


def restore(tensors: dict[str, np.ndarray], meta: dict) -> NetworkFitted:
    """Inverse of ``state``."""
    return restore_group_network(NAME, Mcat, tensors, meta)
