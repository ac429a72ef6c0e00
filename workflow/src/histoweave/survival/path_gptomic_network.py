"""The network and losses of Path-GPTOmic; source, symbols and deviations stand at the head of `path_gptomic`."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from histoweave.survival.bags import AttentionPooling, Batch, GatedAttention
from histoweave.survival.fusion import Concat, SelfNormalising, make_fusion, mlp
from histoweave.survival.losses import cox_loss

OWN_LOSS_TRAINS_BRANCH = ("dgl", "mmpareto")


@dataclass(frozen=True)
class NetworkSettings:
    """Sizes of the branches.

    hidden : width of G_k and P_k; layers : linear layers of MLP_B
    attention : width of the gated attention over tiles; dropout : in both branches; feature_clip_sd : bound of tile
    features in standard deviations of the training part
    """

    hidden: int
    layers: int
    attention: int
    dropout: float
    feature_clip_sd: float


@dataclass(frozen=True)
class Panel:
    """The columns of the shared inputs that one member sees, chosen on its own training part; None = all."""

    gene: np.ndarray | None = None
    alterations: np.ndarray | None = None


class PathGptomic(nn.Module):
    """Both branches, their heads and the fusion; called with a Batch.

    genomic : gene encoder with MLP_A, or None where z is given; z_width : length of z
    fusion : one of `FUSIONS`; rule : of balance, decides which losses reach the branches
    n_features : of a tile; n_alterations : copy numbers and mutations, 0 = none
    panel : the columns of these and of the genes that this network sees
    """

    streams = True  # long bags are pooled piece by piece

    def __init__(
        self,
        modalities: tuple[str, ...],
        settings: NetworkSettings,
        *,
        fusion: str,
        rule: str,
        genomic: nn.Module | None,
        z_width: int,
        n_features: int,
        n_alterations: int,
        panel: Panel,
    ) -> None:
        super().__init__()
        hidden, dropout = settings.hidden, settings.dropout
        self.modalities = modalities
        self.rule = rule
        if "gene" in self.modalities:
            for name, columns in (("gene", panel.gene), ("alterations", panel.alterations)):
                self.register_buffer(f"{name}_columns", None if columns is None else torch.as_tensor(columns).long())
            n_alterations = n_alterations if panel.alterations is None else len(panel.alterations)
            self.genomic = genomic or nn.Identity()
            snn = SelfNormalising(n_alterations, hidden, layers=2, dropout=dropout) if n_alterations else None
            self.alterations = snn
            self.mlp_b = mlp(z_width + hidden * bool(snn), hidden, layers=settings.layers, dropout=dropout)
        if "slide" in self.modalities:
            encode = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Dropout(dropout))
            attention = GatedAttention(hidden, settings.attention, dropout=dropout)
            self.pooling = AttentionPooling(encode, attention)
        self.fusion = make_fusion(fusion, hidden, dropout=dropout) if len(modalities) > 1 else None
        self.additive = isinstance(self.fusion, Concat)
        own = () if self.additive else modalities
        self.heads = nn.ModuleDict({name: nn.Linear(hidden, 1, bias=False) for name in own})

    @property
    def own_losses_train(self) -> bool:
        """Whether the branches' own losses have something to teach: heads beside the fusion, or the branches."""
        return not self.additive or self.rule in OWN_LOSS_TRAINS_BRANCH

    def branches(self) -> dict[str, list[nn.Parameter]]:
        """Weights of each branch with its head, which is its part of a linear fusion."""
        parts = {
            "gene": [self.genomic, self.alterations, self.mlp_b, self.head("gene")],
            "slide": [self.pooling, self.head("slide")],
        }
        return {name: [w for part in own if part is not None for w in part.parameters()] for name, own in parts.items()}

    def head(self, name: str) -> nn.Linear:
        """W_G or W_P of a linear fusion (eq. 1), otherwise the branch's own head."""
        return self.fusion.parts()[name] if self.additive else self.heads[name]

    def gene_vector(self, batch: Batch) -> Tensor:
        """G_k = MLP_B([G1, G2]) (patient, hidden)."""
        parts = [self.genomic(self._seen(batch, "gene"))]
        if self.alterations is not None:
            parts.insert(0, self.alterations(self._seen(batch, "alterations")))
        return self.mlp_b(torch.cat(parts, dim=1))

    def _seen(self, batch: Batch, name: str) -> Tensor:
        """The columns of a vector that this network sees."""
        columns, values = getattr(self, f"{name}_columns"), batch.vectors[name]
        return values if columns is None else values[:, columns]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return named (patient,) outputs: ``risk``, and for two modalities ``fused`` and each branch's own risk."""
        vectors = {}
        if "gene" in self.modalities:
            vectors["gene"] = self.gene_vector(batch)
        if "slide" in self.modalities:
            vectors["slide"], attention = self.pooling(batch.tiles, batch.mask)
        alone = {name: self.head(name)(vector)[:, 0] for name, vector in vectors.items()}
        if self.fusion is None:
            (risk,) = alone.values()
            return {"risk": risk}
        own = alone
        if self.rule not in OWN_LOSS_TRAINS_BRANCH and not self.additive:
            own = {name: self.head(name)(vector.detach())[:, 0] for name, vector in vectors.items()}
        joint = {name: v.detach() if self.rule == "dgl" else v for name, v in vectors.items()}
        fused = self.fusion(**joint)  # eq. 1
        has_gene, has_slide = batch.vectors["has_gene"] > 0, batch.mask.any(dim=1)
        risk = torch.where(has_gene & has_slide, fused, torch.where(has_gene, alone["gene"], alone["slide"]))
        return {"risk": risk, "fused": fused, **own}


def fused_loss(outputs: Mapping[str, Tensor], targets: Batch, *, ties: str) -> Tensor:
    """Eq. 2 per event, stratified: patients with both modalities, with slides alone and with genes alone.

    Risks of different kinds are not compared; who has both modalities teaches both branches, who has one its own.
    """
    if "fused" not in outputs:
        return cox_loss(outputs["risk"], targets.time_days, targets.event, ties=ties)
    stratum = targets.vectors["has_gene"] + 2 * targets.vectors["has_slide"]
    total, events = outputs["risk"].sum() * 0.0, targets.event.sum().clamp_min(1)
    for kind in stratum.unique():
        who = stratum == kind
        loss = cox_loss(outputs["risk"][who], targets.time_days[who], targets.event[who], ties=ties)
        total = total + loss * (targets.event[who].sum() / events)
    return total


def own_losses(outputs: Mapping[str, Tensor], targets: Batch, *, ties: str) -> Tensor:
    """Sum of the branches' own Cox losses, each over the patients that have it."""
    total = outputs["fused"].new_zeros(())
    for name in ("gene", "slide"):
        has = targets.vectors[f"has_{name}"] > 0
        total = total + cox_loss(outputs[name][has], targets.time_days[has], targets.event[has], ties=ties)
    return total
