"""What networks of tiles and gene groups share: tokens of the groups, the fit, and the model of a bundle."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from histoweave.survival.bags import FeatureScale
from histoweave.survival.gene_groups import group_columns
from histoweave.survival.interface import EXPRESSION, SLIDE, Context, Patients
from histoweave.survival.network import NetworkFitted, fit_cox_network, restored_network, seeded
from histoweave.survival.profiles import ProfileScale
from histoweave.survival.snn_rna import profile_vectors, snn_layers

NEEDS = frozenset({SLIDE, EXPRESSION})


class GroupTokens(nn.Module):
    """One self-normalising network per gene group: expression (patient, gene) -> (patient, group, hidden)."""

    def __init__(self, members: list[list[int]], hidden: int, *, dropout: float) -> None:
        super().__init__()
        self.members = [torch.tensor(columns) for columns in members]
        self.networks = nn.ModuleList(snn_layers(len(columns), hidden, dropout=dropout) for columns in members)

    def forward(self, expression: torch.Tensor) -> torch.Tensor:
        """Return the tokens."""
        pairs = zip(self.networks, self.members, strict=True)
        return torch.stack([net(expression[:, columns.to(expression.device)]) for net, columns in pairs], dim=1)


def fit_group_network(
    name: str,
    kind: type[nn.Module],
    sizes: Sequence[str],
    parts: Sequence[Patients],
    *,
    settings: Any,
    context: Context,
) -> NetworkFitted:
    """Train a network of the class `kind` on tiles and gene groups; sizes : settings that its constructor takes."""
    train = parts[0]
    train.require(NEEDS, method=name)
    scale, members = group_columns(train, context.gene_groups, clip=settings.expression_clip, method=name)
    widths = {
        "n_features": len(train.feature_names),
        "members": [columns.tolist() for columns in members.values()],
        **{size: getattr(settings, size) for size in sizes},
    }
    arrays, profile = scale.state("genes")
    return fit_cox_network(
        name,
        NEEDS,
        seeded(kind, context, **widths),
        parts,
        scale=FeatureScale.fitted(train.bags, clip=settings.clip),
        vectors=profile_vectors(scale),
        ties=settings.ties,
        training=settings.training,
        context=context,
        meta={"sizes": widths, "profile": profile, "gene_groups": list(members)},
        arrays=arrays,
    )


def restore_group_network(
    name: str, kind: type[nn.Module], tensors: dict[str, np.ndarray], meta: dict
) -> NetworkFitted:
    """Inverse of the ``state`` of what `fit_group_network` gives."""
    scale = ProfileScale.restored(tensors, meta["profile"], "genes")
    return restored_network(name, NEEDS, kind(**meta["sizes"]), profile_vectors(scale), tensors, meta)
