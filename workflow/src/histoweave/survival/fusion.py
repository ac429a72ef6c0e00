"""Two vectors per patient into one risk: concatenation, Kronecker product, gates; and the network for gene alterations.

Sources: Path-GPTOmic, eq. 1 (doi:10.1109/ISBI56570.2024.10635171); PathomicFusion (doi:10.1109/TMI.2020.3021387) for
Kronecker and gates; self-normalising networks (arXiv:1706.02515).

| symbol    | name here | axes              | meaning                              |
|-----------|-----------|-------------------|--------------------------------------|
| G_k, P_k  | gene, slide | (patient, hidden) | vectors of the two branches        |
| theta_k   | output    | (patient,)        | log hazard ratio                     |

Deviation: PathomicFusion squeezes the risk into -3..3 by a sigmoid; a Cox model needs no bound, so there is none.
"""

import torch
from torch import Tensor, nn

FUSIONS = ("concat", "kronecker", "gated")
_SMALL = 32


def mlp(n_in: int, hidden: int, *, layers: int, dropout: float) -> nn.Sequential:
    """`layers` linear layers of width `hidden`, ReLU and dropout between them."""
    parts: list[nn.Module] = []
    for layer in range(layers):
        parts += [nn.ReLU(), nn.Dropout(dropout)] * bool(layer)
        parts.append(nn.Linear(hidden if layer else n_in, hidden))
    return nn.Sequential(*parts)


class SelfNormalising(nn.Module):
    """Network for copy numbers and mutations: ELU layers with alpha dropout, weights of variance 1 / inputs."""

    def __init__(self, n_in: int, hidden: int, *, layers: int, dropout: float) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for layer in range(layers):
            linear = nn.Linear(hidden if layer else n_in, hidden)
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
            nn.init.zeros_(linear.bias)
            parts += [linear, nn.ELU(), nn.AlphaDropout(dropout)]
        self.layers = nn.Sequential(*parts)

    def forward(self, alterations: Tensor) -> Tensor:
        """Return (patient, hidden) from (patient, alteration)."""
        return self.layers(alterations)


class Concat(nn.Module):
    """theta = W_G G + W_P P + b (eq. 1); b is left out, since a Cox likelihood does not see it."""  # noqa: D403

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gene = nn.Linear(hidden, 1, bias=False)
        self.slide = nn.Linear(hidden, 1, bias=False)

    def forward(self, gene: Tensor, slide: Tensor) -> Tensor:
        """Return (patient,) from two (patient, hidden)."""
        return (self.gene(gene) + self.slide(slide))[:, 0]

    def parts(self) -> dict[str, nn.Linear]:
        """W_G and W_P by the name of their branch."""
        return {"gene": self.gene, "slide": self.slide}


class Gated(nn.Module):
    """Each vector is gated by both, reduced, then joined: theta = w . [gate_G * h_G, gate_P * h_P]."""

    def __init__(self, hidden: int, *, dropout: float) -> None:
        super().__init__()
        self.reduce = nn.ModuleList([nn.Linear(hidden, _SMALL) for _ in range(2)])
        self.gate = nn.ModuleList([nn.Linear(2 * hidden, _SMALL) for _ in range(2)])
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(2 * _SMALL, 1)

    def gated(self, gene: Tensor, slide: Tensor) -> list[Tensor]:
        """Return the two gated vectors (patient, 32)."""
        both = torch.cat([gene, slide], dim=1)
        pairs = zip(self.reduce, self.gate, (gene, slide), strict=True)
        return [torch.relu(reduce(own)) * torch.sigmoid(gate(both)) for reduce, gate, own in pairs]

    def forward(self, gene: Tensor, slide: Tensor) -> Tensor:
        """Return (patient,) from two (patient, hidden)."""
        return self.out(self.dropout(torch.cat(self.gated(gene, slide), dim=1)))[:, 0]


class Kronecker(Gated):
    """Outer product of the gated vectors, each with a one appended (keeps single features), then two layers."""

    def __init__(self, hidden: int, *, dropout: float) -> None:
        super().__init__(hidden, dropout=dropout)
        width = 2 * _SMALL
        self.out = nn.Sequential(
            nn.Linear((_SMALL + 1) ** 2, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 1)
        )

    def forward(self, gene: Tensor, slide: Tensor) -> Tensor:
        """Return (patient,) from two (patient, hidden)."""
        left, right = (torch.cat([part, torch.ones_like(part[:, :1])], 1) for part in self.gated(gene, slide))
        return self.out(self.dropout(torch.einsum("pi,pj->pij", left, right).flatten(1)))[:, 0]


def make_fusion(name: str, hidden: int, *, dropout: float) -> nn.Module:
    """Fusion called `name`, one of `FUSIONS`."""
    if name == "concat":
        return Concat(hidden)
    return {"gated": Gated, "kronecker": Kronecker}[name](hidden, dropout=dropout)
