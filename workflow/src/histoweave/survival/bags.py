"""Bags of tiles as tensors: batches of patients, drawing tiles under a budget, attention pooling."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from histoweave.errors import InputError
from histoweave.survival.interface import Patients

_LARGE_NEGATIVE = -1e9
PIECE = 4096  # tiles of a long bag that are scaled and encoded at once


@dataclass(frozen=True)
class Batch:
    """Patients as tensors.

    tiles : (patient, tile, feature), padded with zeros, or a `TileStream` of one patient, or None
    mask : (patient, tile) True = a tile
    vectors : further (patient, ...) tensors by name
    time_days, event : (patient,)
    """

    tiles: "torch.Tensor | TileStream | None"
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
        means = np.stack([np.mean(bag, axis=0, dtype=np.float64) for bag in bags])
        squares = np.stack([_mean_square(bag) for bag in bags])
        mean = means.mean(axis=0)
        sd = np.sqrt(np.maximum(squares.mean(axis=0) - mean**2, 0.0))
        sd[sd < 1e-8 * np.maximum(1.0, np.abs(mean))] = np.inf  # a constant feature says nothing
        return cls(mean.astype(np.float32), sd.astype(np.float32), clip)

    def __call__(self, bag: np.ndarray) -> np.ndarray:
        """Return the standardised, clipped (tile, feature) float32."""
        return self.into(np.empty(bag.shape, dtype=np.float32), bag)

    def into(self, out: np.ndarray, bag: np.ndarray) -> np.ndarray:
        """Write the standardised, clipped `bag` into `out` (tile, feature) float32, without another copy."""
        np.subtract(bag, self.mean, out=out, casting="same_kind")
        np.divide(out, self.sd, out=out)
        return np.clip(out, -self.clip, self.clip, out=out)


def _mean_square(bag: np.ndarray) -> np.ndarray:
    """(feature,) mean of squares in float64, piece by piece: no copy of a long bag."""
    pieces = (np.asarray(bag[start : start + PIECE], dtype=np.float64) for start in range(0, bag.shape[0], PIECE))
    return sum(np.square(piece).sum(axis=0) for piece in pieces) / bag.shape[0]


class TileStream:
    """A long bag of one patient that stays where it is (in memory or in its file) and is scaled as it is read.

    Stands in a batch for a (1, tile, feature) tensor, for models that say ``streams``.
    """

    def __init__(self, bag: np.ndarray, *, scale: FeatureScale, device: object, patient: str) -> None:
        self.bag, self.scale, self.device, self.patient = bag, scale, device, patient
        self.shape = (1, *bag.shape)

    def part(self, start: int, stop: int) -> torch.Tensor:
        """Return the scaled tiles (1, tile, feature) from `start` up to `stop`."""
        scaled = self.scale(self.bag[start:stop])
        _refuse_missing(scaled, patient=self.patient, first=start)
        return torch.from_numpy(scaled)[None].to(self.device)


def _refuse_missing(scaled: np.ndarray, *, patient: str, first: int) -> None:
    if np.isfinite(scaled).all():
        return
    bad = np.flatnonzero(~np.isfinite(scaled).all(axis=1))
    msg = (
        f"patient '{patient}': {len(bad)} of {len(scaled)} tiles have NaN features "
        f"(first: tile {first + bad[0]}). Extract the features of its slides again."
    )
    raise InputError(msg)


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

    def chunks(
        self, index: Sequence[int], *, budget: int, tiles_in_memory: int, stream: bool = False
    ) -> Iterator[list[int]]:
        """Split `index` in order into chunks of at most `tiles_in_memory` padded tiles, one patient at least.

        stream : a bag longer than `PIECE` is a chunk of its own, see `batch`
        """
        chunk: list[int] = []
        longest = 0
        for one in index:
            longest_with = max(longest, self.n_tiles(one, budget))
            alone = stream and longest_with > PIECE
            if chunk and (alone or longest_with * (len(chunk) + 1) > tiles_in_memory):
                yield chunk
                chunk, longest_with = [], self.n_tiles(one, budget)
            chunk.append(int(one))
            longest = longest_with
        if chunk:
            yield chunk

    def batch(
        self,
        index: Sequence[int],
        *,
        budget: int = 0,
        rng: np.random.Generator | None = None,
        stream: bool = False,
    ) -> Batch:
        """Batch of the patients at `index`; `rng` draws `budget` tiles without replacement from longer bags.

        stream : a single bag longer than `PIECE` comes as a `TileStream`, which copies nothing
        """
        rows = torch.as_tensor(np.asarray(index, dtype=np.int64))
        tiles = mask = None
        if self.scale is not None:
            bags = [self._draw(one, budget, rng) for one in index]
            streamed = stream and len(bags) == 1 and bags[0].shape[0] > PIECE
            tiles, mask = self._streamed(bags[0], index[0]) if streamed else self._tiles(bags, index)
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
        return bag

    def _streamed(self, bag: np.ndarray, index: int) -> tuple[TileStream, torch.Tensor]:
        tiles = TileStream(bag, scale=self.scale, device=self.device, patient=self.patients.ids[index])
        return tiles, torch.ones(1, bag.shape[0], dtype=torch.bool, device=self.device)

    def _tiles(self, bags: list[np.ndarray], index: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(1, *(bag.shape[0] for bag in bags))
        tiles = torch.zeros(len(bags), longest, len(self.scale.mean))
        mask = torch.zeros(len(bags), longest, dtype=torch.bool)
        for row, bag in enumerate(bags):
            scaled = self.scale.into(tiles[row, : bag.shape[0]].numpy(), bag)
            _refuse_missing(scaled, patient=self.patients.ids[index[row]], first=0)
            mask[row, : bag.shape[0]] = True
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
    More than `chunk` tiles go piece by piece under a running softmax (Milakov and Gimelshein 2018, arXiv:1805.02867),
    each tile once; in training a piece is computed again when its gradient is due (Chen et al. 2016,
    arXiv:1604.06174). Memory is that of one piece, and of one score per tile, whatever the bag's length.
    """

    def __init__(self, encode: nn.Module, attention: GatedAttention, *, chunk: int = PIECE) -> None:
        super().__init__()
        self.encode = encode
        self.attention = attention
        self.chunk = chunk

    def forward(self, tiles: "torch.Tensor | TileStream", mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the pooled vectors and the attention weights (without a gradient where they come in pieces)."""
        if isinstance(tiles, torch.Tensor) and tiles.shape[1] <= self.chunk:
            hidden = self.encode(tiles)  # (patient, tile, hidden)
            weights = masked_softmax(self.attention(hidden), mask)
            return torch.einsum("pt,pth->ph", weights, hidden), weights
        scores, state = [], None
        for start in range(0, tiles.shape[1], self.chunk):
            ends = (start, min(start + self.chunk, tiles.shape[1]))
            if torch.is_grad_enabled():
                found = checkpoint(self._piece, tiles, mask, *ends, use_reentrant=False)
            else:
                found = self._piece(tiles, mask, *ends)
            scores.append(found[0].detach())
            state = found[1:] if state is None else _merged(state, found[1:])
        peak, total, pooled = state
        total = total.clamp_min(torch.finfo(total.dtype).tiny)[:, None]  # a row without tiles gives zeros
        weights = torch.exp(torch.cat(scores, dim=1) - peak[:, None]) * mask / total.detach()
        return pooled / total, weights

    def _piece(
        self, tiles: "torch.Tensor | TileStream", mask: torch.Tensor, start: int, stop: int
    ) -> tuple[torch.Tensor, ...]:
        """Scores (patient, tile), their peak and sum of exponentials (patient,), and the sum of h so weighted."""
        own = tiles[:, start:stop] if isinstance(tiles, torch.Tensor) else tiles.part(start, stop)
        where = mask[:, start:stop]
        hidden = self.encode(own)
        scores = self.attention(hidden).float().masked_fill(~where, _LARGE_NEGATIVE)
        peak = scores.detach().amax(dim=1)
        weights = torch.exp(scores - peak[:, None]) * where
        return scores, peak, weights.sum(dim=1), torch.einsum("pt,pth->ph", weights, hidden.float())


def _merged(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Peak, sum and weighted sum of two pieces as one."""
    peak = torch.maximum(one[0], other[0])
    left, right = torch.exp(one[0] - peak), torch.exp(other[0] - peak)
    total = one[1] * left + other[1] * right
    return peak, total, one[2] * left[:, None] + other[2] * right[:, None]
