"""The network and losses of Path-GPTOmic; source, symbols and deviations stand at the head of `path_gptomic`."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from histoweave.survival.bags import AttentionPooling, Batch, GatedAttention
from histoweave.survival.fusion import SelfNormalising, make_fusion, mlp
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
            self.gene_head = nn.Linear(hidden, 1, bias=False)
        if "slide" in self.modalities:
            encode = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Dropout(dropout))
            attention = GatedAttention(hidden, settings.attention, dropout=dropout)
            self.pooling = AttentionPooling(encode, attention)
            self.slide_head = nn.Linear(hidden, 1, bias=False)
        if len(self.modalities) > 1:
            self.fusion = make_fusion(fusion, hidden, dropout=dropout)

    def branches(self) -> dict[str, list[nn.Parameter]]:
        """Weights of each branch, with its own head and its part of a linear fusion."""
        parts = {
            "gene": [self.genomic, self.alterations, self.mlp_b, self.gene_head, getattr(self.fusion, "gene", None)],
            "slide": [self.pooling, self.slide_head, getattr(self.fusion, "slide", None)],
        }
        return {name: [w for part in own if part is not None for w in part.parameters()] for name, own in parts.items()}

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
        """Return named (patient,) outputs: ``risk``, and for two modalities the parts that it comes from."""
        vectors = {}
        if "gene" in self.modalities:
            vectors["gene"] = self.gene_vector(batch)
        if "slide" in self.modalities:
            vectors["slide"], attention = self.pooling(batch.tiles, batch.mask)
        if len(vectors) == 1:
            ((name, vector),) = vectors.items()
            return {"risk": self._head(name)(vector)[:, 0]}
        gene, slide = vectors["gene"], vectors["slide"]
        own = {name: v if self.rule in OWN_LOSS_TRAINS_BRANCH else v.detach() for name, v in vectors.items()}
        single = {name: self._head(name)(own[name])[:, 0] for name in vectors}
        joint = (gene.detach(), slide.detach()) if self.rule == "dgl" else (gene, slide)
        fused = self.fusion(*joint)  # eq. 1
        has_gene, has_slide = batch.vectors["has_gene"] > 0, batch.mask.any(dim=1)
        risk = torch.where(has_gene & has_slide, fused, torch.where(has_gene, single["gene"], single["slide"]))
        logits = self._logits(gene, slide, single)
        return {"risk": risk, "fused": fused, **single, **logits}

    def _head(self, name: str) -> nn.Linear:
        return self.gene_head if name == "gene" else self.slide_head

    def _logits(self, gene: Tensor, slide: Tensor, single: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """theta^u: the branch's part of a linear fusion, or its own head's risk where the fusion is not linear."""  # noqa: D403
        linear = isinstance(getattr(self.fusion, "gene", None), nn.Linear)
        parts = (self.fusion.gene(gene), self.fusion.slide(slide)) if linear else (None, None)
        named = zip(("gene", "slide"), parts, strict=True)
        return {f"{name}_logit": (single[name] if part is None else part[:, 0]).detach() for name, part in named}


def fused_loss(outputs: Mapping[str, Tensor], targets: Batch, *, ties: str) -> Tensor:
    """Eq. 2 per event: Cox loss of the fused risk over patients with both modalities (of the risk, with one)."""
    if "fused" not in outputs:
        return cox_loss(outputs["risk"], targets.time_days, targets.event, ties=ties)
    both = (targets.vectors["has_gene"] * targets.vectors["has_slide"]) > 0
    return cox_loss(outputs["fused"][both], targets.time_days[both], targets.event[both], ties=ties)


def own_losses(outputs: Mapping[str, Tensor], targets: Batch, *, ties: str) -> Tensor:
    """Sum of the branches' own Cox losses, each over the patients that have it."""
    total = outputs["fused"].new_zeros(())
    for name in ("gene", "slide"):
        has = targets.vectors[f"has_{name}"] > 0
        total = total + cox_loss(outputs[name][has], targets.time_days[has], targets.event[has], ties=ties)
    return total
