"""Gated attention over the tiles of a patient's slides, a linear risk, Cox loss: the baseline of bag models.

Source: Ilse et al. 2018, "Attention-based deep multiple instance learning" (arXiv:1802.04712).

| symbol | name here | axes | meaning |
|---|---|---|---|
| h_k | encode(tiles) | (patient, tile, hidden) | embedding of tile k |
| a_k | attention | (patient, tile) | softmax of gated attention (eq. 8, 9) |
| z | pooled | (patient, hidden) | sum_k a_k h_k (eq. 7) |

Deviations: a Cox loss in place of the Bernoulli likelihood, since the outcome is a time; dropout.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from histoweave.survival.bags import AttentionPooling, Batch, GatedAttention
from histoweave.survival.interface import SLIDE, Context, Patients
from histoweave.survival.network import NetworkFitted, fit_slide_network, no_vectors, restored_network
from histoweave.survival.train import Outputs, TrainSettings

NAME = "abmil_wsi"
RESUMES = True
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({SLIDE})


@dataclass(frozen=True)
class AbmilSettings:
    """Widths of the tile embedding and of the attention, dropout, bound of standardised features, ties of the loss."""

    section: ClassVar[str] = "survival.abmil_wsi"
    hidden: int
    attention: int
    dropout: float
    clip: float
    ties: str
    training: TrainSettings


Settings = AbmilSettings


class Abmil(nn.Module):
    """Tiles -> risk."""

    streams = True  # long bags are pooled piece by piece

    def __init__(self, n_features: int, *, hidden: int, attention: int, dropout: float) -> None:
        super().__init__()
        encode = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.pool = AttentionPooling(encode, GatedAttention(hidden, attention, dropout=dropout))
        self.risk = nn.Linear(hidden, 1)

    def forward(self, batch: Batch) -> Outputs:
        """Return ``risk`` (patient,)."""
        pooled, _ = self.pool(batch.tiles, batch.mask)  # (patient, hidden)
        return {"risk": self.risk(pooled)[:, 0]}

    def attention(self, batch: Batch) -> torch.Tensor:
        """(patient, tile) attention weights."""
        return self.pool(batch.tiles, batch.mask)[1]


def fit(train: Patients, validation: Patients, *, settings: AbmilSettings, context: Context) -> NetworkFitted:
    """Train; the inner validation part picks the epoch."""
    sizes = {name: getattr(settings, name) for name in ("hidden", "attention", "dropout")}
    return fit_slide_network(NAME, Abmil, sizes, (train, validation), settings=settings, context=context)


def restore(tensors: dict[str, np.ndarray], meta: dict) -> NetworkFitted:
    """Inverse of ``state``."""
    return restored_network(NAME, NEEDS_PREDICT, Abmil(**meta["sizes"]), no_vectors, tensors, meta)
