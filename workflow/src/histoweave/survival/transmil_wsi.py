"""TransMIL: tiles see each other through a transformer whose attention is approximated, a class token gives the risk.

Sources: Shao et al. 2021, "TransMIL: Transformer based correlated multiple instance learning for whole slide image
classification", NeurIPS 2021 (arXiv:2106.00908); attention of Xiong et al. 2021, "Nystroemformer" (arXiv:2102.03902).

| symbol | name here | axes | meaning |
|---|---|---|---|
| H | tokens | (token, hidden) | class token, tiles, and tiles repeated from the first until they fill a square |
| Q~, K~ | q_marks, k_marks | (head, landmark, width) | means of consecutive tokens |
| Z* | inverse | (head, landmark, landmark) | pseudo-inverse of softmax(Q~ K~^T), by iteration |
| S | attended | (token, hidden) | softmax(Q K~^T) Z* softmax(Q~ K^T) V (Nystroemformer, eq. 13) |

Deviations: a Cox loss in place of cross-entropy, since the outcome is a time; segments of landmarks differ by a token
at most, in place of zeros in front; with as many landmarks as tokens attention is exact. Patients go through one by
one, as published, since each bag is its own square.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool1d, pad

from histoweave.survival.bags import Batch
from histoweave.survival.interface import SLIDE, Context, Patients
from histoweave.survival.network import NetworkFitted, fit_slide_network, no_vectors, restored_network
from histoweave.survival.train import Outputs, TrainSettings

NAME = "transmil_wsi"
RESUMES = True
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({SLIDE})
_ITERATIONS = 6  # of the pseudo-inverse, as published
_KERNELS = (7, 5, 3)  # of the position encoding, as published
_VALUES_KERNEL = 33  # of the depth-wise convolution of the values, as published


@dataclass(frozen=True)
class TransmilSettings:
    """Width, heads, landmarks of the attention, dropout, bound of standardised features, ties of the loss."""

    section: ClassVar[str] = "survival.transmil_wsi"
    hidden: int
    heads: int
    landmarks: int
    dropout: float
    clip: float
    ties: str
    training: TrainSettings


Settings = TransmilSettings


class NystromAttention(nn.Module):
    """Self-attention through landmarks; forward: (token, hidden) -> (token, hidden)."""

    def __init__(self, hidden: int, heads: int, landmarks: int, *, dropout: float) -> None:
        super().__init__()
        self.heads, self.landmarks = heads, landmarks
        self.project = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Sequential(nn.Linear(hidden, hidden), nn.Dropout(dropout))
        self.near = nn.Conv2d(heads, heads, (_VALUES_KERNEL, 1), padding=(_VALUES_KERNEL // 2, 0), groups=heads)

    def factors(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """left (head, token, landmark) and right (head, landmark, token), whose product is attention; and v."""
        q, k, v = self.project(tokens).unflatten(1, (3, self.heads, -1)).permute(1, 2, 0, 3)  # (head, token, width)
        q = q / q.shape[2] ** 0.5
        if q.shape[1] <= self.landmarks:
            attention = torch.softmax(q @ k.transpose(1, 2), dim=2)
            return attention, torch.eye(q.shape[1], device=q.device).expand(self.heads, -1, -1), v
        q_marks, k_marks = (adaptive_avg_pool1d(x.transpose(1, 2), self.landmarks).transpose(1, 2) for x in (q, k))
        left = torch.softmax(q @ k_marks.transpose(1, 2), dim=2)
        inverse = pseudo_inverse(torch.softmax(q_marks @ k_marks.transpose(1, 2), dim=2))
        return left @ inverse, torch.softmax(q_marks @ k.transpose(1, 2), dim=2), v

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the attended tokens."""
        left, right, v = self.factors(tokens)
        attended = left @ (right @ v) + self.near(v[None])[0]  # (head, token, width)
        return self.out(attended.transpose(0, 1).flatten(1))


def pseudo_inverse(matrix: torch.Tensor) -> torch.Tensor:
    """Moore-Penrose inverse of (head, n, n) rows that sum to 1, by iteration (Nystroemformer, eq. 11)."""
    absolute = matrix.abs()
    z = matrix.transpose(1, 2) / (absolute.sum(dim=1).amax() * absolute.sum(dim=2).amax())
    eye = torch.eye(matrix.shape[1], device=matrix.device)
    for _ in range(_ITERATIONS):
        az = matrix @ z
        z = z @ (13 * eye - az @ (15 * eye - az @ (7 * eye - az))) / 4
    return z


class PositionEncoding(nn.Module):
    """PPEG: convolutions of three sizes over the square of tiles; forward: (token, hidden), side -> the same."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.convolve = nn.ModuleList(nn.Conv2d(hidden, hidden, k, padding=k // 2, groups=hidden) for k in _KERNELS)

    def forward(self, tokens: torch.Tensor, side: int) -> torch.Tensor:
        """Return the tokens with their surroundings added; the class token stays."""
        square = tokens[1:].transpose(0, 1).unflatten(1, (side, side))[None]  # (1, hidden, side, side)
        around = square + sum(convolve(square) for convolve in self.convolve)
        return torch.cat([tokens[:1], around[0].flatten(1).transpose(0, 1)])


class Transmil(nn.Module):
    """Tiles -> risk."""

    def __init__(self, n_features: int, *, hidden: int, heads: int, landmarks: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU())
        self.token = nn.Parameter(torch.randn(1, hidden))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))
        self.layers = nn.ModuleList(NystromAttention(hidden, heads, landmarks, dropout=dropout) for _ in range(2))
        self.encode = PositionEncoding(hidden)
        self.risk = nn.Linear(hidden, 1)

    def before_last(self, tiles: torch.Tensor) -> torch.Tensor:
        """(token, hidden) of one patient's (tile, feature) before the last attention."""
        n = len(tiles)
        side = int(np.ceil(np.sqrt(n)))
        h = self.embed(tiles)
        h = torch.cat([self.token, h, h[: side**2 - n]])  # never repeats more than the n tiles there are
        h = h + self.layers[0](self.norms[0](h))
        return self.encode(h, side)

    def forward(self, batch: Batch) -> Outputs:
        """Return ``risk`` (patient,)."""
        made = []
        for tiles, mask in zip(batch.tiles, batch.mask, strict=True):
            h = self.before_last(tiles[mask])
            h = h + self.layers[1](self.norms[1](h))
            made.append(self.risk(self.norms[2](h[0])))
        return {"risk": torch.cat(made)}

    def attention(self, batch: Batch) -> torch.Tensor:
        """(patient, tile) what the class token takes of each tile in the last layer, its repeats included."""
        weights = torch.zeros(batch.mask.shape, device=batch.mask.device)
        for row, (tiles, mask) in enumerate(zip(batch.tiles, batch.mask, strict=True)):
            n = int(mask.sum())
            left, right, _ = self.layers[1].factors(self.norms[1](self.before_last(tiles[mask])))
            given = (left[:, :1] @ right).mean(dim=0)[0, 1:].clamp(min=0)  # the approximation may fall below 0
            again = pad(given[n:], (0, n))[:n]
            share = given[:n] + again
            weights[row, mask] = share / share.sum().clamp(min=1e-12)
        return weights


def fit(train: Patients, validation: Patients, *, settings: TransmilSettings, context: Context) -> NetworkFitted:
    """Train; the inner validation part picks the epoch."""
    sizes = {name: getattr(settings, name) for name in ("hidden", "heads", "landmarks", "dropout")}
    return fit_slide_network(NAME, Transmil, sizes, (train, validation), settings=settings, context=context)


def restore(tensors: dict[str, np.ndarray], meta: dict) -> NetworkFitted:
    """Inverse of ``state``."""
    return restored_network(NAME, NEEDS_PREDICT, Transmil(**meta["sizes"]), no_vectors, tensors, meta)
