"""Files of the slides stage: tiles, features, thumbnails, outlines, and the tables over slides."""

import json
from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from PIL import Image

from histoweave.errors import InputError
from histoweave.formats.files import fingerprint, replacing, safe_name
from histoweave.formats.h5ad import MatrixKind
from histoweave.formats.table import TableKind

TILES = TableKind(
    "slide_tiles",
    1,
    {
        "tile": "int",
        "x": "int",
        "y": "int",
        "tissue_fraction": "float",
        "ink_fraction": "float",
        "fold_fraction": "float",
        "sharpness": "float",
        "status": "str",
    },
)
FEATURES = MatrixKind("slide_features", 1, slots=("obsm/spatial",), compressed=False)
_MANIFEST_COLUMNS = {
    "slide": "str",
    "patient": "str",
    "site": "str",
    "status": "str",
    "reason": "str",
    "n_tiles": "int",
    "mpp": "float",
    "mpp_source": "str",
    "mpp_in_file": "float",
    "width_px": "int",
    "height_px": "int",
    "tissue_um2": "float",
    "ink_um2": "float",
    "tile_um": "float",
    "level": "int",
    "reader": "str",
    "decode": "str",
    "thumbnail_downsample": "float",
    "outline": "str",
    "seconds": "float",
}
TILING = TableKind("slide_tiling", 1, _MANIFEST_COLUMNS, measured=("seconds",))
"""Manifest of a batch after tiling: one row per slide, `n_tiles` of status ok."""
ENCODING = TableKind("slide_encoding", 1, _MANIFEST_COLUMNS, measured=("seconds",))
"""Manifest of a batch after encoding: one row per slide, `n_tiles` as encoded, `seconds` of both steps."""
QC = TableKind("slides_qc", 1, _MANIFEST_COLUMNS, measured=("seconds",))


def slide_files(folder: str | Path, slide: str) -> dict[str, Path]:
    """Paths of the files of one slide under the stage's results `folder`."""
    folder, name = Path(folder), safe_name(slide)
    return {
        "tissue": folder / "tissue" / f"{name}.geojson",
        "tiles": folder / "tiles" / f"{name}.parquet",
        "features": folder / "features" / f"{name}.h5ad",
        "thumbnail": folder / "thumbnails" / f"{name}.png",
        "page": folder / "qc_pages" / f"{name}.png",
    }


def fingerprint_slide(path: str | Path) -> str:
    """Name of a slide's content; companions of a slide that is several files (MIRAX) count by name and size."""
    path = Path(path)
    name = fingerprint(path)
    beside = path.with_suffix("")
    if beside.is_dir():
        name += "-" + str([(p.name, p.stat().st_size) for p in sorted(beside.iterdir())])
    return name


def write_picture(pixels: np.ndarray, path: str | Path) -> None:
    """Write pixels (row, column, rgb) uint8 as PNG."""
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, compress_level=1)


def write_geojson(content: Mapping, path: str | Path) -> None:
    """Write a GeoJSON object."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content))


def write_features(
    features: np.ndarray,
    tiles: pd.DataFrame,
    path: str | Path,
    *,
    names: list[str],
    meta: Mapping,
    provenance: Mapping,
) -> None:
    """Write features (tile, feature) float32 of `tiles` (one row each, with `x` and `y`).

    meta : `encoder`, `encoder_hash`, `mpp`, `tile_um` and more for ``uns``
    """
    missing = [key for key in ("encoder", "encoder_hash", "mpp", "tile_um") if key not in meta]
    if missing or not np.isfinite(features).all():
        msg = f"features of {Path(path).name}: {missing or 'values that are not finite'}"
        raise InputError(msg)
    obs = pd.DataFrame(index=[str(number) for number in tiles["tile"]])
    data = ad.AnnData(
        features.astype(np.float32, copy=False),
        obs=obs,
        var=pd.DataFrame(index=pd.Index(names, dtype=object)),
        obsm={"spatial": tiles[["x", "y"]].to_numpy()},
        uns=dict(meta),
    )
    FEATURES.write(data, path, provenance=provenance)


def read_picture(path: str | Path) -> np.ndarray | None:
    """Pixels (row, column, rgb) uint8 of a picture, None where there is none."""
    if not Path(path).is_file():
        return None
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def read_geojson(path: str | Path) -> dict | list:
    """Content of a GeoJSON file; raises InputError for one that is no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        msg = f"{Path(path).name} is no GeoJSON ({error}). Export the annotations from QuPath as GeoJSON again"
        raise InputError(msg) from error


def remembered(path: str | Path) -> tuple[str, dict]:
    """Fingerprint and manifest row that a tile table was written with; ("", {}) without a usable one."""
    try:
        meta = TILES.metadata(path)
    except (OSError, InputError, ValueError):
        return "", {}
    return meta.get("fingerprint", ""), meta.get("row", {})


def remembered_features(path: str | Path) -> tuple[str, int]:
    """Fingerprint and number of tiles that a feature file was written with; ("", 0) without a usable one."""
    try:
        with h5py.File(path, "r") as file:
            return str(file["uns/fingerprint"].asstr()[()]), int(file["obsm/spatial"].shape[0])
    except (OSError, KeyError):
        return "", 0
