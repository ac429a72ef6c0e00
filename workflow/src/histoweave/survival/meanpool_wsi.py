"""Mean of embedded tiles, a linear risk, Cox loss: the control without attention.

Source: the "mean pooling" baseline of Ilse et al. 2018 (arXiv:1802.04712), with a Cox loss.

| symbol | name here | axes | meaning |
|---|---|---|---|
| h_k | encode(tiles) | (patient, tile, hidden) | embedding of tile k |
| z | pooled | (patient, hidden) | mean of h_k |
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from histoweave.survival.bags import Batch
from histoweave.survival.interface import SLIDE, Context, Patients
from histoweave.survival.network import NetworkFitted, fit_slide_network, no_vectors, restored_network
from histoweave.survival.train import Outputs, TrainSettings

NAME = "meanpool_wsi"
RESUMES = True
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({SLIDE})


@dataclass(frozen=True)
class MeanpoolSettings:
    """Width of the tile embedding, dropout, bound of standardised features, ties of the loss."""

    section: ClassVar[str] = "survival.meanpool_wsi"
    hidden: int
    dropout: float
    clip: float
    ties: str
    training: TrainSettings


Settings = MeanpoolSettings


class Meanpool(nn.Module):
    """Tiles -> risk."""

    def __init__(self, n_features: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.risk = nn.Linear(hidden, 1)

    def forward(self, batch: Batch) -> Outputs:
        """Return ``risk`` (patient,)."""
        pooled = torch.einsum("pt,pth->ph", self.attention(batch), self.encode(batch.tiles))
        return {"risk": self.risk(pooled)[:, 0]}

    def attention(self, batch: Batch) -> torch.Tensor:
        """(patient, tile) equal weights."""
        return batch.mask / batch.mask.sum(dim=1, keepdim=True).clamp(min=1)


def fit(train: Patients, validation: Patients, *, settings: MeanpoolSettings, context: Context) -> NetworkFitted:
    """Train; the inner validation part picks the epoch."""
    sizes = {name: getattr(settings, name) for name in ("hidden", "dropout")}
    return fit_slide_network(NAME, Meanpool, sizes, (train, validation), settings=settings, context=context)


def restore(tensors: dict[str, np.ndarray], meta: dict) -> NetworkFitted:
    """Inverse of ``state``."""
    return restored_network(NAME, NEEDS_PREDICT, Meanpool(**meta["sizes"]), no_vectors, tensors, meta)
