"""SurvPath: one token per pathway, tokens of pathways and tiles ask each other.

Source: Jaume et al. 2024, "Modeling dense multimodal interactions between biological pathways and histology for
survival prediction", CVPR 2024 (arXiv:2304.06819).

| symbol | name here | axes | meaning |
|---|---|---|---|
| X_P | pathways | (patient, pathway, hidden) | one self-normalising network per pathway |
| X_H | tiles | (patient, tile, hidden) | linear embedding of the tile features |
| Q, K, V | q, k, v | (patient, token, width) | projections of the normed tokens, one head |
| A_PP, A_PH, A_HP | pp, ph, hp | (patient, token, token) | logits; tile to tile is left out (eq. 2) |

Deviations: a Cox loss in place of the discrete likelihood, so that all peers share one; pathways are the gene groups of
the config (any GMT, the families or the gene graph's modules), in place of 331 fixed ones; expression alone.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from histoweave.survival.bags import Batch, masked_softmax
from histoweave.survival.group_network import NEEDS, GroupTokens, fit_group_network, restore_group_network
from histoweave.survival.interface import Context, Patients
from histoweave.survival.network import NetworkFitted
from histoweave.survival.train import Outputs, TrainSettings

NAME = "survpath"
RESUMES = True
NEEDS_TRAIN = NEEDS_PREDICT = NEEDS
USES = frozenset({"gene_groups"})


@dataclass(frozen=True)
class SurvpathSettings:
    """Widths of tokens and of attention, dropout, bounds of standardised features and expression, ties of the loss."""

    section: ClassVar[str] = "survival.survpath"
    hidden: int
    attention: int
    dropout: float
    clip: float
    expression_clip: float
    ties: str
    training: TrainSettings


Settings = SurvpathSettings
SIZES = ("hidden", "attention", "dropout")


class DenseAttention(nn.Module):
    """Pathways ask pathways and tiles, tiles ask pathways (eq. 2).

    forward: pathways (patient, pathway, hidden), tiles (patient, tile, hidden), mask (patient, tile)
    -> both (…, width), and the share of attention that pathways give to each tile (patient, pathway, tile)
    """

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, 3 * width, bias=False)

    def forward(
        self, pathways: torch.Tensor, tiles: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return attended pathways, attended tiles, and attention to tiles."""
        q_p, k_p, v_p = self.project(self.norm(pathways)).chunk(3, dim=2)
        q_h, k_h, v_h = self.project(self.norm(tiles)).chunk(3, dim=2)
        root = q_p.shape[2] ** 0.5
        logits = torch.cat([q_p @ k_p.transpose(1, 2), q_p @ k_h.transpose(1, 2)], dim=2) / root  # A_PP, A_PH
        known = mask.new_ones(len(mask), pathways.shape[1])
        weights = masked_softmax(logits, torch.cat([known, mask], dim=1)[:, None])
        to_pathways, to_tiles = weights.split([pathways.shape[1], tiles.shape[1]], dim=2)
        hp = torch.softmax(q_h @ k_p.transpose(1, 2) / root, dim=2)  # A_HP
        return to_pathways @ v_p + to_tiles @ v_h, hp @ v_p, to_tiles


class Survpath(nn.Module):
    """Tiles and expression -> risk."""

    def __init__(
        self, n_features: int, members: list[list[int]], *, hidden: int, attention: int, dropout: float
    ) -> None:
        super().__init__()
        self.tokens = GroupTokens(members, hidden, dropout=dropout)
        self.embed = nn.Linear(n_features, hidden)
        self.attend = DenseAttention(hidden, attention)
        self.forwards = nn.Sequential(
            nn.LayerNorm(attention), nn.Linear(attention, attention), nn.GELU(), nn.Dropout(dropout)
        )
        self.norm = nn.LayerNorm(attention)
        self.risk = nn.Sequential(nn.Linear(2 * attention, attention), nn.ReLU(), nn.Linear(attention, 1))

    def attended(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pathways and tiles after attention, and attention to tiles."""
        return self.attend(self.tokens(batch.vectors["expression"]), self.embed(batch.tiles), batch.mask)

    def forward(self, batch: Batch) -> Outputs:
        """Return ``risk`` (patient,)."""
        pathways, tiles, _ = self.attended(batch)
        pathways, tiles = (self.norm(self.forwards(part)) for part in (pathways, tiles))
        shares = batch.mask / batch.mask.sum(dim=1, keepdim=True).clamp(min=1)
        pooled = torch.cat([pathways.mean(dim=1), torch.einsum("pt,pth->ph", shares, tiles)], dim=1)
        return {"risk": self.risk(pooled)[:, 0]}

    def attention(self, batch: Batch) -> torch.Tensor:
        """(patient, tile) attention of the pathways to tiles, mean over pathways."""
        shares = self.attended(batch)[2].mean(dim=1)
        return shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-12)


def fit(train: Patients, validation: Patients, *, settings: SurvpathSettings, context: Context) -> NetworkFitted:
    """Train; the inner validation part picks the epoch."""
    return fit_group_network(NAME, Survpath, SIZES, (train, validation), settings=settings, context=context)


def restore(tensors: dict[str, np.ndarray], meta: dict) -> NetworkFitted:
    """Inverse of ``state``."""
    return restore_group_network(NAME, Survpath, tensors, meta)
