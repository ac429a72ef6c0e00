"""Feature files for other tools: HDF5 as TRIDENT and CLAM read it, and as STAMP reads it.

The two are never one file: STAMP takes its coordinates in micrometres, TRIDENT and CLAM in level-0 pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from histoweave.formats.files import replacing, safe_name

EXPORTS = ("none", "trident", "stamp", "all")
_STAMP_VERSION = "2.0.0"  # the oldest whose readers know these attributes
_POWER_TIMES_MPP = 10.0


@dataclass(frozen=True)
class Exported:
    """What the exports need of one slide.

    features : (tile, feature) float32; xy : (tile, 2) level-0 px, top left; size : (width, height) at level 0
    tile_px : side of a tile in its own pixels; side : in level-0 px; overlap : share of a side
    """

    slide: str
    features: np.ndarray
    xy: np.ndarray
    encoder: str
    encoder_hash: str
    mpp_level0: float
    mpp_source: str
    tile_px: int
    side: float
    overlap: float
    size: tuple[int, int]


def write_exports(one: Exported, folder: str | Path, *, kind: str) -> list[Path]:
    """Write the export(s) `kind` (see `EXPORTS`) of one slide under `folder`; return the files written."""
    folder, name = Path(folder), safe_name(one.slide)
    made = []
    if kind in ("trident", "all"):
        made.append(_trident(one, folder / "trident" / f"features_{one.encoder}" / f"{name}.h5"))
    if kind in ("stamp", "all"):
        made.append(_stamp(one, folder / "stamp" / f"{one.encoder}-{one.encoder_hash[:8]}" / f"{name}.h5"))
    return made


def _trident(one: Exported, path: Path) -> Path:
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        features = file.create_dataset("features", data=one.features.astype(np.float32))
        features.attrs.update({"name": one.slide, "savetodir": path.parent.name, "encoder": one.encoder})
        coords = file.create_dataset("coords", data=np.rint(one.xy).astype(np.int64))
        coords.attrs.update(trident_attributes(one, folder=path.parent.name))
    return path


def trident_attributes(one: Exported, *, folder: str) -> Mapping:
    """Attributes of `coords` that TRIDENT and CLAM look for, and the exact resolution beside them."""
    tile_mpp = one.mpp_level0 * one.side / one.tile_px
    target = _POWER_TIMES_MPP / tile_mpp
    target = round(target) if abs(target / round(target) - 1) < 0.01 else target
    # TRIDENT takes patch_size * level0 / target as the side at level 0, so that their ratio must be ours
    level0 = target * one.side / one.tile_px
    level0 = round(level0) if abs(level0 - round(level0)) < 1e-9 else level0
    width, height = one.size
    return {
        "patch_size": one.tile_px,
        "patch_size_level0": round(one.side),
        "level0_magnification": level0,
        "target_magnification": target,
        "overlap": round(one.overlap * one.tile_px),
        "name": one.slide,
        "savetodir": folder,
        "level0_width": width,
        "level0_height": height,
        "patch_level": 0,
        "downsample": np.array([1.0, 1.0]),
        "downsampled_level_dim": np.array([width, height]),
        "level_dim": np.array([width, height]),
        "save_path": folder,
        "mpp": tile_mpp,
        "mpp_level0": one.mpp_level0,
        "mpp_source": one.mpp_source,
    }


def _stamp(one: Exported, path: Path) -> Path:
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file["coords"] = (one.xy * one.mpp_level0).astype(np.float32)
        file["feats"] = one.features.astype(np.float16)
        file.attrs.update(
            {
                "stamp_version": _STAMP_VERSION,
                "extractor": one.encoder,
                "unit": "um",
                "tile_size_um": one.side * one.mpp_level0,
                "tile_size_px": one.tile_px,
                "code_hash": one.encoder_hash[:8],
                "feat_type": "tile",
            }
        )
    return path
