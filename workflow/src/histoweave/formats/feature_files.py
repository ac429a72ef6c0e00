"""Feature files made by other tools, told apart by what is in them: TRIDENT, CLAM, STAMP, Parquet, npz, or our own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from histoweave.errors import InputError, shorten
from histoweave.formats.slides import FEATURES

_PLACE = ("tile", "x", "y")


@dataclass(frozen=True)
class GivenFeatures:
    """Features (tile, feature) float32 as given, with `names`.

    spatial : (tile, xy) level-0 px of each tile's top left corner, NaN where the file does not say
    encoder : name as the file gives it; tile_um, mpp : NaN where unknown
    encoder_hash : of our own files, "" for others; side_px : side of a tile in level-0 px, NaN where unknown
    """

    features: np.ndarray
    names: list[str]
    spatial: np.ndarray
    encoder: str
    tile_um: float
    mpp: float
    encoder_hash: str = ""
    side_px: float = np.nan


def read_given(path: str | Path, *, mpp: float | None) -> GivenFeatures:
    """Read a feature file; `mpp` (um/px of level 0, from slides.tsv) turns a file's um into pixels.

    Raises InputError for a file of no known layout, for features that are not finite numbers, and for
    coordinates whose unit is not known.
    """
    path = Path(path)
    readers = {".h5ad": _own, ".h5": _hdf5, ".hdf5": _hdf5, ".parquet": _parquet, ".npz": _npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        msg = f"{path.name}: unknown kind of feature file. Give one that ends with {shorten(list(readers), most=9)}"
        raise InputError(msg)
    try:
        given = reader(path, mpp)
    except (OSError, KeyError, ValueError) as error:
        msg = f"{path.name} cannot be read as features ({type(error).__name__}: {error})"
        raise InputError(msg) from error
    bad = int((~np.isfinite(given.features)).any(axis=1).sum())
    if bad:
        msg = f"{path.name}: {bad} of {len(given.features)} tiles have features that are not finite. Encode it again"
        raise InputError(msg)
    return given


def _own(path: Path, _: float | None) -> GivenFeatures:
    data = FEATURES.read(path)
    return GivenFeatures(
        np.asarray(data.X, dtype=np.float32),
        data.var_names.tolist(),
        np.asarray(data.obsm["spatial"], dtype=np.float64),
        str(data.uns["encoder"]),
        float(data.uns["tile_um"]),
        float(data.uns["mpp"]),
        str(data.uns["encoder_hash"]),
        float(data.uns.get("tile_level0_px", np.nan)),
    )


def _hdf5(path: Path, mpp: float | None) -> GivenFeatures:
    with h5py.File(path, "r") as file:
        if "feats" in file:
            return _stamp(path, file, mpp)
        if "features" not in file:
            msg = f"{path.name}: has neither 'features' (TRIDENT, CLAM) nor 'feats' (STAMP), but {shorten(list(file))}"
            raise InputError(msg)
        features = _flat(np.asarray(file["features"], dtype=np.float32), path)
        coords, attrs = _coordinates(file, len(features), path)
        encoder = str(file["features"].attrs.get("encoder", attrs.get("encoder", "given")))
    side = float(attrs.get("patch_size_level0", np.nan))
    known = np.nan if mpp is None else mpp
    return GivenFeatures(features, _numbered(features), coords, encoder, side * known, known, side_px=side)


def _stamp(path: Path, file: h5py.File, mpp: float | None) -> GivenFeatures:
    features = _flat(np.asarray(file["feats"], dtype=np.float32), path)
    unit = file.attrs.get("unit")
    if unit != "um":
        msg = (
            f"{path.name}: coordinates in {unit or 'an unknown unit'}, expected 'um'. Extract it with STAMP 2 or later"
        )
        raise InputError(msg)
    coords, _ = _coordinates(file, len(features), path)
    known = np.nan if mpp is None else mpp
    side = float(file.attrs.get("tile_size_um", np.nan))
    return GivenFeatures(
        features, _numbered(features), coords / known, str(file.attrs.get("extractor", "given")), side, known
    )


def _coordinates(file: h5py.File, count: int, path: Path) -> tuple[np.ndarray, Mapping]:
    if "coords" not in file:
        return np.full((count, 2), np.nan), {}
    coords = np.asarray(file["coords"], dtype=np.float64).reshape(-1, file["coords"].shape[-1])[:, :2]
    if len(coords) != count:
        msg = f"{path.name}: {count} rows of features, but {len(coords)} of coordinates. Encode it again"
        raise InputError(msg)
    return coords, dict(file["coords"].attrs)


def _flat(features: np.ndarray, path: Path) -> np.ndarray:
    """(tile, feature) of an array that may have a leading axis of one slide."""
    if features.ndim == 3 and len(features) == 1:
        features = features[0]
    if features.ndim != 2:
        msg = f"{path.name}: features have the shape {features.shape}, expected one row per tile"
        raise InputError(msg)
    return features


def _numbered(features: np.ndarray) -> list[str]:
    return [f"f{number:04d}" for number in range(features.shape[1])]


def _parquet(path: Path, mpp: float | None) -> GivenFeatures:
    frame = pq.read_table(path).to_pandas()
    columns = [name for name in frame.columns if name not in _PLACE]
    text = [name for name in columns if not pd.api.types.is_numeric_dtype(frame[name])]
    if text or not columns:
        msg = f"{path.name}: {len(text)} column(s) are no numbers: {shorten(text)}. Keep features, x and y (level-0 px)"
        raise InputError(msg)
    place = (
        frame[["x", "y"]].to_numpy(np.float64) if {"x", "y"} <= set(frame.columns) else np.full((len(frame), 2), np.nan)
    )
    features = frame[columns].to_numpy(dtype=np.float32)
    return GivenFeatures(features, [str(c) for c in columns], place, "given", np.nan, np.nan if mpp is None else mpp)


def _npz(path: Path, mpp: float | None) -> GivenFeatures:
    with np.load(path, allow_pickle=False) as file:
        key = next((name for name in ("features", "feats") if name in file), None)
        if key is None:
            msg = f"{path.name}: no array 'features' in it, only {shorten(list(file))}"
            raise InputError(msg)
        features = _flat(np.asarray(file[key], dtype=np.float32), path)
        place = (
            np.asarray(file["coords"], dtype=np.float64)[:, :2]
            if "coords" in file
            else np.full((len(features), 2), np.nan)
        )
    if len(place) != len(features):
        msg = f"{path.name}: {len(features)} rows of features, but {len(place)} of coordinates. Write it again"
        raise InputError(msg)
    return GivenFeatures(features, _numbered(features), place, "given", np.nan, np.nan if mpp is None else mpp)
