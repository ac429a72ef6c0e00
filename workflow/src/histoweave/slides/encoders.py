"""What turns a tile into a vector: chosen by name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from histoweave.errors import InputError
from histoweave.slides import handcrafted


@dataclass(frozen=True)
class EncoderSettings:
    """Which encoder is used.

    name : `handcrafted`
    """

    section: ClassVar[str] = "slides.encoder"
    name: str


@dataclass(frozen=True)
class Encoder:
    """An encoder ready to use.

    names : of the features; hash : changes with what the features mean
    encode : tiles (tile, row, column, rgb) uint8 -> features (tile, feature) float32
    """

    name: str
    names: list[str]
    hash: str
    encode: Callable[[np.ndarray], np.ndarray]


def make_encoder(settings: EncoderSettings, *, mpp: float, tile_px: int) -> Encoder:
    """Encoder for tiles of `tile_px` pixels at `mpp` um/px; raises InputError for an unknown name."""
    if settings.name != "handcrafted":
        msg = f"encoder '{settings.name}' is not known. Set slides.encoder.name to 'handcrafted'."
        raise InputError(msg)

    def encode(tiles: np.ndarray) -> np.ndarray:
        return handcrafted.encode(tiles, mpp=mpp)

    names, made = handcrafted.feature_names(), handcrafted.encoder_hash(mpp=mpp, tile_px=tile_px)
    return Encoder(settings.name, names, made, encode)


def encode_all(encoder: Encoder, tiles: Iterator[np.ndarray | None], *, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (tile, feature) float32 of the tiles that are there, and which are (tile given,) bool."""
    parts, waiting, there = [np.zeros((0, len(encoder.names)), dtype=np.float32)], [], []
    for tile in tiles:
        there.append(tile is not None)
        if tile is not None:
            waiting.append(tile)
        if len(waiting) == batch:
            parts.append(encoder.encode(np.stack(waiting)))
            waiting = []
    if waiting:
        parts.append(encoder.encode(np.stack(waiting)))
    return np.concatenate(parts), np.asarray(there, dtype=bool)
