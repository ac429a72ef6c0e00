"""Tile features of patients: the feature files of all their slides, as one bag per patient that stays in the files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from histoweave.errors import InputError
from histoweave.formats.slides import FEATURES


@dataclass(frozen=True)
class SlideBags:
    """Bags of patients, all of one encoder.

    bags : per patient (tile, feature) float32, slide after slide, read from the files as it is used; None without one
    positions : per patient (tile, 2) level-0 px of the top left, NaN where unknown; None without a slide
    slide_of_tile : per patient (tile,) name of the slide; feature_names : (feature,)
    encoder : name, hash, mpp and tile_um, as the feature files state them
    tile_px : slide -> side of its tiles in level-0 px, NaN where unknown
    """

    bags: "list[np.ndarray | JoinedBag | None]"
    positions: list[np.ndarray | None]
    slide_of_tile: list[np.ndarray | None]
    feature_names: tuple[str, ...]
    encoder: dict
    tile_px: dict[str, float]


class JoinedBag:
    """The tiles of several slides as one (tile, feature) array that is never held whole; indexed along tiles."""

    ndim = 2

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self._ends[-1]), parts[0].shape[1])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        """Tiles of a slice, or at an array of positions or booleans, in that order."""
        rows = np.arange(len(self))[index]
        owner = np.searchsorted(self._ends, rows, side="right")
        out = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        for number in np.unique(owner):
            mine, part = owner == number, self._parts[number]
            out[mine] = part[rows[mine] - (self._ends[number] - len(part))]
        return out

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:  # noqa: FBT001 numpy's
        """All tiles."""
        return np.concatenate(self._parts).astype(dtype or self.dtype, copy=False)


def read_bags(folder: str | Path, slides: Sequence[Sequence[str]]) -> SlideBags:
    """Read ``<folder>/<slide>.h5ad`` for the `slides` of each patient.

    Raises InputError if a file is missing or not of the same encoder and width as the first.
    """
    bags, positions, owners = [], [], []
    names: tuple[str, ...] = ()
    encoder: dict = {}
    tile_px: dict[str, float] = {}
    first = ""
    for of_patient in slides:
        tiles, places, owner = [], [], []
        for slide in of_patient:
            wanted = ["X", "obsm/spatial"] if first else ["X", "obsm/spatial", "var_names"]
            parts, about = FEATURES.read_parts(Path(folder) / f"{slide}.h5ad", wanted, mapped=["X"])
            found = _encoder(about)
            if not first:
                first, names, encoder = slide, tuple(map(str, parts["var_names"])), found
            _same(slide, found, parts["X"].shape[1], first, names, encoder)
            tile_px[slide] = float(about.get("tile_level0_px", "nan"))
            tiles.append(parts["X"].astype(np.float32, copy=False))
            places.append(parts["obsm/spatial"].astype(np.float64))
            owner.append(np.full(len(parts["X"]), slide))
        bags.append(JoinedBag(tiles) if len(tiles) > 1 else next(iter(tiles), None))
        for made, pieces in ((positions, places), (owners, owner)):
            made.append(np.concatenate(pieces) if pieces else None)
    return SlideBags(bags, positions, owners, names, encoder, tile_px)


def _encoder(uns: dict) -> dict:
    return {
        "name": str(uns.get("encoder", "")),
        "hash": str(uns.get("encoder_hash", "")),
        "tile_um": float(uns.get("tile_um", "nan")),
        "mpp": float(uns.get("mpp", "nan")),
    }


def _same(slide: str, found: dict, width: int, first: str, names: tuple[str, ...], encoder: dict) -> None:
    if width != len(names) or found["hash"] != encoder["hash"]:
        msg = (
            f"slide '{slide}' has {width} features of encoder '{found['name']}', slide '{first}' has "
            f"{len(names)} of '{encoder['name']}'. Extract all slides with one encoder (slides.encoder)."
        )
        raise InputError(msg)


def check_encoder(bags: SlideBags, expected: dict) -> None:
    """Raise InputError unless the slides were encoded as those that a model was trained on.

    expected : the bundle's ``encoder``: name, hash, mpp, tile_um and the names of the features
    """
    if expected is None:
        msg = "the bundle's model takes no slides; it cannot predict from slides alone."
        raise InputError(msg)
    for key in ("hash", "mpp", "tile_um"):
        found, wanted = bags.encoder[key], expected[key]
        both_unknown = found != found and wanted != wanted
        if found != wanted and not both_unknown:
            msg = (
                f"the slides' features have encoder {key} {found} ('{bags.encoder['name']}'), the model was trained on "
                f"{wanted} ('{expected['name']}'). Extract them with the settings of the training run (config slides)."
            )
            raise InputError(msg)
    if list(bags.feature_names) != list(expected["features"]):
        msg = (
            f"the slides have {len(bags.feature_names)} features, the model was trained on {len(expected['features'])} "
            "of other names or order. Extract them with the encoder of the training run."
        )
        raise InputError(msg)
