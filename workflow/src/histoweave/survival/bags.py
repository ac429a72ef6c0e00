"""Bags of tiles as tensors: batches of patients, drawing tiles under a budget, attention pooling."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from histoweave.errors import InputError
from histoweave.survival.interface import Patients

_LARGE_NEGATIVE = -1e9


@dataclass(frozen=True)
class Batch:
    """Patients as tensors.

    tiles : (patient, tile, feature), padded with zeros, or None; mask : (patient, tile) True = a tile
    vectors : further (patient, ...) tensors by name
    time_days, event : (patient,)
    """

    tiles: torch.Tensor | None
    mask: torch.Tensor | None
    vectors: Mapping[str, torch.Tensor]
    time_days: torch.Tensor
    event: torch.Tensor

    def __len__(self) -> int:
        return len(self.time_days)


@dataclass(frozen=True)
class FeatureScale:
    """Mean and standard deviation of each tile feature, over the tiles of the training part; all patients weigh alike.

    mean, sd : (feature,); clip : bound of the standardised values
    """

    mean: np.ndarray
    sd: np.ndarray
    clip: float

    @classmethod
    def fitted(cls, bags: Sequence[np.ndarray | None], *, clip: float) -> "FeatureScale":
        """Fit on the `bags` of the training part; features that never change become 0."""
        bags = [bag for bag in bags if bag is not None and bag.shape[0]]
        means = np.stack([np.asarray(bag, dtype=np.float64).mean(axis=0) for bag in bags])
        squares = np.stack([np.square(np.asarray(bag, dtype=np.float64)).mean(axis=0) for bag in bags])
        mean = means.mean(axis=0)
        sd = np.sqrt(np.maximum(squares.mean(axis=0) - mean**2, 0.0))
        sd[sd < 1e-8 * np.maximum(1.0, np.abs(mean))] = np.inf  # a constant feature says nothing
        return cls(mean.astype(np.float32), sd.astype(np.float32), clip)

    def __call__(self, bag: np.ndarray) -> np.ndarray:
        """Return the standardised, clipped (tile, feature) float32."""
        scaled = (np.asarray(bag, dtype=np.float32) - self.mean) / self.sd
        return np.clip(scaled, -self.clip, self.clip)


class BatchSource:
    """Makes batches from patients.

    scale : standardises tiles; None = the model sees no tiles
    vectors : (patient, ...) float arrays by name that go along
    """

    def __init__(
        self, patients: Patients, *, scale: FeatureScale | None, vectors: Mapping[str, np.ndarray], device: object
    ) -> None:
        self.patients = patients
        self.scale = scale
        self.device = device
        self.vectors = {
            name: torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32) for name, values in vectors.items()
        }
        self.time_days = torch.as_tensor(np.asarray(patients.time_days, dtype=np.float32))
        self.event = torch.as_tensor(np.asarray(patients.event, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.patients)

    def n_tiles(self, index: int, budget: int) -> int:
        """Tiles that patient `index` contributes under `budget` tiles (0 = all)."""
        bag = self.patients.bags[index] if self.scale is not None else None
        count = 0 if bag is None else bag.shape[0]
        return min(count, budget) if budget else count

    def chunks(self, index: Sequence[int], *, budget: int, tiles_in_memory: int) -> Iterator[list[int]]:
        """Split `index` in order into chunks of at most `tiles_in_memory` padded tiles, one patient at least."""
        chunk: list[int] = []
        longest = 0
        for one in index:
            longest_with = max(longest, self.n_tiles(one, budget))
            if chunk and longest_with * (len(chunk) + 1) > tiles_in_memory:
                yield chunk
                chunk, longest_with = [], self.n_tiles(one, budget)
            chunk.append(int(one))
            longest = longest_with
        if chunk:
            yield chunk

    def batch(self, index: Sequence[int], *, budget: int = 0, rng: np.random.Generator | None = None) -> Batch:
        """Batch of the patients at `index`; `rng` draws `budget` tiles without replacement from longer bags."""
        rows = torch.as_tensor(np.asarray(index, dtype=np.int64))
        tiles = mask = None
        if self.scale is not None:
            tiles, mask = self._tiles([self._draw(one, budget, rng) for one in index])
        return Batch(
            tiles=tiles,
            mask=mask,
            vectors={name: values[rows].to(self.device) for name, values in self.vectors.items()},
            time_days=self.time_days[rows].to(self.device),
            event=self.event[rows].to(self.device),
        )

    def targets(self, index: Sequence[int]) -> Batch:
        """Like `batch`, without tiles: what a loss needs."""
        rows = torch.as_tensor(np.asarray(index, dtype=np.int64))
        vectors = {name: values[rows].to(self.device) for name, values in self.vectors.items()}
        return Batch(None, None, vectors, self.time_days[rows].to(self.device), self.event[rows].to(self.device))

    def _draw(self, index: int, budget: int, rng: np.random.Generator | None) -> np.ndarray:
        bag = self.patients.bags[index]
        if bag is None:
            return np.empty((0, len(self.scale.mean)), dtype=np.float32)
        if bag.shape[1] != len(self.scale.mean):
            msg = (
                f"patient '{self.patients.ids[index]}' has tiles of {bag.shape[1]} features, the model was made for "
                f"{len(self.scale.mean)}. Extract the slides with the encoder that the model names."
            )
            raise InputError(msg)
        if budget and bag.shape[0] > budget:
            bag = bag[np.sort(rng.choice(bag.shape[0], budget, replace=False))]
        scaled = self.scale(bag)
        if not np.isfinite(scaled).all():
            bad = np.flatnonzero(~np.isfinite(scaled).all(axis=1))
            msg = (
                f"patient '{self.patients.ids[index]}': {len(bad)} of {len(scaled)} tiles have NaN features "
                f"(first: tile {bad[0]}). Extract the features of its slides again."
            )
            raise InputError(msg)
        return scaled

    def _tiles(self, bags: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(1, *(len(bag) for bag in bags))
        tiles = torch.zeros(len(bags), longest, len(self.scale.mean))
        mask = torch.zeros(len(bags), longest, dtype=torch.bool)
        for row, bag in enumerate(bags):
            tiles[row, : len(bag)] = torch.from_numpy(bag)
            mask[row, : len(bag)] = True
        return tiles.to(self.device), mask.to(self.device)


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Softmax over the last axis (tile) of `scores` where `mask` holds; a row without tiles gives zeros."""
    weights = torch.softmax(scores.masked_fill(~mask, _LARGE_NEGATIVE), dim=-1)
    return weights * mask


class GatedAttention(nn.Module):
    """Scores of gated attention, c^T (tanh(U h) * sigmoid(V h)) (Ilse et al. 2018, arXiv:1802.04712, eq. 9).

    forward: (..., tile, hidden) -> (..., tile) scores before the softmax
    """

    def __init__(self, hidden: int, attention: int, *, dropout: float) -> None:
        super().__init__()
        self.tanh = nn.Linear(hidden, attention)
        self.gate = nn.Linear(hidden, attention)
        self.score = nn.Linear(attention, 1, bias=False)  # a bias would cancel in the softmax
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return one score per tile."""
        gated = torch.tanh(self.tanh(hidden)) * torch.sigmoid(self.gate(hidden))  # (..., tile, attention)
        return self.score(self.dropout(gated))[..., 0]


class AttentionPooling(nn.Module):
    """Tiles -> one vector per patient: h = encode(x), a = softmax over tiles of gated attention, z = sum a h.

    forward: tiles (patient, tile, feature), mask (patient, tile) -> (patient, hidden), attention (patient, tile)
    In evaluation more than `chunk` tiles are encoded piece by piece: memory stays bounded, the result is the same.
    """

    def __init__(self, encode: nn.Module, attention: GatedAttention, *, chunk: int = 16384) -> None:
        super().__init__()
        self.encode = encode
        self.attention = attention
        self.chunk = chunk

    def forward(self, tiles: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the pooled vectors and the attention weights."""
        if torch.is_grad_enabled() or tiles.shape[1] <= self.chunk:
            hidden = self.encode(tiles)  # (patient, tile, hidden)
            weights = masked_softmax(self.attention(hidden), mask)
            return torch.einsum("pt,pth->ph", weights, hidden), weights
        scores = self._pieces(tiles, lambda piece: self.attention(self.encode(piece)))
        weights = masked_softmax(torch.cat(scores, dim=1), mask)
        shares = iter(weights.split(self.chunk, dim=1))
        pooled = self._pieces(tiles, lambda piece: torch.einsum("pt,pth->ph", next(shares), self.encode(piece)))
        return torch.stack(pooled).sum(dim=0), weights

    def _pieces(self, tiles: torch.Tensor, do: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        return [do(piece) for piece in tiles.split(self.chunk, dim=1)]
