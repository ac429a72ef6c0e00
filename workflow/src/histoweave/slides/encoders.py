"""What turns a tile into a vector: the built-in features, or a network whose weights lie in a local file."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from histoweave.errors import InputError
from histoweave.slides import handcrafted
from histoweave.slides.registry import EncoderCard, check_licence, encoder_card
from histoweave.slides.resample import resample_area

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class EncoderSettings:
    """Which encoder is used, and how.

    name : handcrafted, handcrafted_torch, or one of the registry; weights : local file, sha256 : its hash
    accept_licence : a licence that restricts use was read; precision : fp32 | bf16; batch_tiles : per pass
    device : auto | cpu | cuda
    """

    section: ClassVar[str] = "slides.encoder"
    name: str
    weights: str | None
    sha256: str | None
    accept_licence: bool
    precision: str
    batch_tiles: int
    device: str


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


def make_encoder(settings: EncoderSettings, *, registry: Mapping[str, Mapping], mpp: float, tile_px: int) -> Encoder:
    """Encoder for tiles of `tile_px` pixels at `mpp` um/px; raises InputError for what does not fit together."""
    if settings.name.startswith("handcrafted"):
        encode = partial(handcrafted.encode, mpp=mpp)
        if settings.name == "handcrafted_torch":
            from histoweave.slides import handcrafted_torch

            encode = partial(handcrafted_torch.encode, mpp=mpp, device=_device(settings))
        # both give the same numbers, so that features of one may stand beside those of the other
        made = handcrafted.encoder_hash(mpp=mpp, tile_px=tile_px)
        return Encoder("handcrafted", handcrafted.feature_names(), made, encode)
    card = encoder_card(registry, settings.name)
    check_licence(card, accepted=settings.accept_licence)
    if abs(mpp / card.mpp - 1) > 0.1:
        msg = f"encoder '{card.name}' was trained at {card.mpp:g} um/px, tiles have {mpp:g}. Set slides.tiles.mpp so."
        raise InputError(msg)
    digest = _checked_weights(card, settings)
    names = [f"{card.name}_{number:04d}" for number in range(card.dims)]
    text = f"{card.name} {digest} {mpp:.6g} {tile_px} {card.tile} {settings.precision}"
    made = hashlib.sha256(text.encode()).hexdigest()[:24]
    return Encoder(card.name, names, made, _network_encoder(card, settings))


def _device(settings: EncoderSettings) -> "torch.device":
    from histoweave.device import pick_device

    return pick_device(settings.device)


def _checked_weights(card: EncoderCard, settings: EncoderSettings) -> str:
    """SHA-256 of the weights, which must be the one that is expected."""
    from histoweave.slides.weights import file_hash

    if not settings.weights or not Path(settings.weights).is_file():
        given = f"'{settings.weights}' is no file" if settings.weights else "none are given"
        msg = f"encoder '{card.name}' needs weights and {given}. Set slides.encoder.weights (published at {card.hub})."
        raise InputError(msg)
    found, wanted = file_hash(Path(settings.weights)), settings.sha256 or card.sha256
    if wanted is None:
        msg = f"no hash of '{card.name}' is known. If you trust your weights, set slides.encoder.sha256 to {found}."
        raise InputError(msg)
    if found != wanted:
        msg = f"the weights of '{card.name}' have the hash {found}, not {wanted}. Fetch them again from {card.hub}."
        raise InputError(msg)
    return found


def _network_encoder(card: EncoderCard, settings: EncoderSettings) -> Callable[[np.ndarray], np.ndarray]:
    import torch

    from histoweave.slides.resnet import ResNet50Stage3
    from histoweave.slides.vit import VisionTransformer, VitShape
    from histoweave.slides.weights import fill, read_weights

    device = _device(settings)
    model = ResNet50Stage3() if card.model == "resnet50_stage3" else VisionTransformer(VitShape(**card.model))
    fill(model, read_weights(Path(settings.weights)), name=card.name)
    kind = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    model = model.eval().to(device=device, dtype=kind, memory_format=torch.channels_last)
    mean, sd = (torch.tensor(part, device=device).view(1, 3, 1, 1) * 255 for part in card.norm)

    def encode(tiles: np.ndarray) -> np.ndarray:
        fitted = np.stack([fit_tile(tile, card.tile) for tile in tiles])
        with torch.inference_mode():
            # bytes go to the device, a quarter of the floats; a view of (row, column, rgb) is channels_last already
            x = torch.from_numpy(fitted).to(device).permute(0, 3, 1, 2)
            return model(((x.float() - mean) / sd).to(kind)).float().cpu().numpy()

    return encode


def fit_tile(tile: np.ndarray, side: int) -> np.ndarray:
    """Tile (row, column, rgb) uint8 resampled by area to `side` px, so that its whole field is seen."""
    if tile.shape[0] == side:
        return tile
    return resample_area(tile, left=0.0, top=0.0, step=tile.shape[0] / side, size=side)


def encode_all(encoder: Encoder, tiles: Iterable[np.ndarray | None], *, batch: int) -> tuple[np.ndarray, np.ndarray]:
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
