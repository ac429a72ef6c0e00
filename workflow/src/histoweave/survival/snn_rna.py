"""A self-normalising network on bulk expression, Cox loss.

Source: Klambauer et al. 2017, "Self-normalizing neural networks" (arXiv:1706.02515): SELU (eq. 2), starting weights
N(0, 1/n) and alpha dropout, in two hidden layers as multimodal survival networks use it for genomics.

| symbol | name here | axes | meaning |
|---|---|---|---|
| x | profile | (patient, gene) | standardised expression |
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from histoweave.survival.bags import Batch
from histoweave.survival.interface import EXPRESSION, Context, Patients
from histoweave.survival.network import NetworkFitted, Vectors, fit_cox_network, restored_network, seeded
from histoweave.survival.profiles import ProfileScale
from histoweave.survival.train import Outputs, TrainSettings

NAME = "snn_rna"
RESUMES = True
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({EXPRESSION})


@dataclass(frozen=True)
class SnnSettings:
    """Genes by variance (0 = all), width, alpha dropout, bound of standardised values, ties of the loss."""

    section: ClassVar[str] = "survival.snn_rna"
    genes: int
    hidden: int
    dropout: float
    clip: float
    ties: str
    training: TrainSettings


Settings = SnnSettings


def snn_layers(n_inputs: int, hidden: int, *, dropout: float) -> nn.Sequential:
    """Two self-normalising layers; (..., input) -> (..., hidden)."""
    first, second = nn.Linear(n_inputs, hidden), nn.Linear(hidden, hidden)
    for layer in (first, second):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.SELU(), nn.AlphaDropout(dropout), second, nn.SELU(), nn.AlphaDropout(dropout))


class Snn(nn.Module):
    """Profile -> risk."""

    def __init__(self, n_genes: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = snn_layers(n_genes, hidden, dropout=dropout)
        self.risk = nn.Linear(hidden, 1)

    def forward(self, batch: Batch) -> Outputs:
        """Return ``risk`` (patient,)."""
        return {"risk": self.risk(self.layers(batch.vectors["expression"]))[:, 0]}


def fit(train: Patients, validation: Patients, *, settings: SnnSettings, context: Context) -> NetworkFitted:
    """Train; the inner validation part picks the epoch."""
    train.require(NEEDS_TRAIN, method=NAME)
    scale = ProfileScale.fitted(
        train.expression, train.genes, train.expression_scale, n_genes=settings.genes, clip=settings.clip
    )
    sizes = {"n_genes": len(scale.genes), "hidden": settings.hidden, "dropout": settings.dropout}
    arrays, profile = scale.state("genes")
    return fit_cox_network(
        NAME,
        NEEDS_PREDICT,
        seeded(Snn, context, **sizes),
        (train, validation),
        scale=None,
        vectors=profile_vectors(scale),
        ties=settings.ties,
        training=settings.training,
        context=context,
        meta={"sizes": sizes, "profile": profile},
        arrays=arrays,
    )


def profile_vectors(scale: ProfileScale) -> Vectors:
    """Patients -> their standardised expression."""
    return lambda patients: {"expression": scale(patients.expression, patients.genes, patients.expression_scale)}


def restore(tensors: dict[str, np.ndarray], meta: dict) -> NetworkFitted:
    """Inverse of ``state``."""
    scale = ProfileScale.restored(tensors, meta["profile"], "genes")
    return restored_network(NAME, NEEDS_PREDICT, Snn(**meta["sizes"]), profile_vectors(scale), tensors, meta)
