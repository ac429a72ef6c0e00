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
from histoweave.survival.bags import Batch, FeatureScale, GatedAttention
from histoweave.survival.gene_groups import group_columns
from histoweave.survival.interface import EXPRESSION, SLIDE, Context, Patients
from histoweave.survival.network import NetworkFitted, fit_cox_network, restored_network, seeded
from histoweave.survival.profiles import ProfileScale
from histoweave.survival.snn_rna import profile_vectors, snn_layers
from histoweave.survival.train import Outputs, TrainSettings

NAME = "mcat"
RESUMES = True
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({SLIDE, EXPRESSION})
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


class Mcat(nn.Module):
    """Tiles and expression -> risk."""

    def __init__(self, n_features: int, members: list[list[int]], *, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.members = [torch.tensor(columns) for columns in members]
        self.embed = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Dropout(dropout))
        self.genes = nn.ModuleList(snn_layers(len(columns), hidden, dropout=dropout) for columns in members)
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
        x = batch.vectors["expression"]
        parts = [net(x[:, columns.to(x.device)]) for net, columns in zip(self.genes, self.members, strict=True)]
        g = torch.stack(parts, dim=1)
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
    train.require(NEEDS_TRAIN, method=NAME)
    scale, members = group_columns(train, context.gene_groups, clip=settings.expression_clip, method=NAME)
    sizes = {
        "n_features": len(train.feature_names),
        "members": [columns.tolist() for columns in members.values()],
        **{name: getattr(settings, name) for name in ("hidden", "heads", "dropout")},
    }
    arrays, profile = scale.state("genes")
    return fit_cox_network(
        NAME,
        NEEDS_PREDICT,
        seeded(Mcat, context, **sizes),
        (train, validation),
        scale=FeatureScale.fitted(train.bags, clip=settings.clip),
        vectors=profile_vectors(scale),
        ties=settings.ties,
        training=settings.training,
        context=context,
        meta={"sizes": sizes, "profile": profile, "gene_groups": list(members)},
        arrays=arrays,
    )


def restore(tensors: dict[str, np.ndarray], meta: dict) -> NetworkFitted:
    """Inverse of ``state``."""
    scale = ProfileScale.restored(tensors, meta["profile"], "genes")
    return restored_network(NAME, NEEDS_PREDICT, Mcat(**meta["sizes"]), profile_vectors(scale), tensors, meta)
