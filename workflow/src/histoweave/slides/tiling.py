"""The grid of tiles: a fixed length in um on the glass, whatever the scan's resolution."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from histoweave.errors import InputError
from histoweave.slides.reader import Level
from histoweave.units import UmPerPx


@dataclass(frozen=True)
class TileSettings:
    """What a tile is.

    mpp : um/px that tiles are brought to; tile_px : side in those pixels; overlap : share of a side, below 1
    minimum_tissue : share of a tile that must be tissue
    tolerance : relative difference from `mpp` up to which pixels are taken as they are, without resampling
    most_enlarged : scans coarser than this many times `mpp` are refused
    decode : full | half; half takes JPEG tiles at half size where that is fine enough, off by about a grey level
    """

    section: ClassVar[str] = "slides.tiles"
    mpp: float
    tile_px: int
    overlap: float
    minimum_tissue: float
    tolerance: float
    most_enlarged: float
    decode: str


@dataclass(frozen=True)
class Grid:
    """Where tiles are cut: from which `level`, with `step` of its pixels per tile pixel.

    mpp : um/px of the tiles, exact; tile_px : side of a tile; side : side in level-0 pixels; stride likewise
    """

    level: int
    step: float
    mpp: UmPerPx
    tile_px: int
    side: float
    stride: float

    @property
    def tile_um(self) -> float:
        """Side of a tile on the glass."""
        return self.tile_px * self.mpp


def plan_grid(levels: tuple[Level, ...], *, mpp: float, settings: TileSettings) -> Grid:
    """Grid for a slide with these `levels` and `mpp` at level 0.

    The coarsest level that is at least as fine as the tiles (a halved one where there is one) is reduced by area;
    within the tolerance of a whole reduction the whole number is taken. Raises InputError for a slide that is
    too coarse.
    """
    if mpp > settings.mpp * settings.most_enlarged:
        msg = (
            f"the scan has {mpp:.4g} um/px, too coarse for tiles at {settings.mpp:g}. "
            "Raise slides.tiles.mpp or slides.tiles.most_enlarged"
        )
        raise InputError(msg)
    wanted = settings.mpp / mpp  # level-0 px per tile px
    fits = [n for n, level in enumerate(levels) if level.downsample <= wanted * (1 + settings.tolerance)]
    number = max(fits, key=lambda n: levels[n].downsample, default=0)
    step = wanted / levels[number].downsample
    whole = max(round(step), 1)
    if abs(step / whole - 1) <= settings.tolerance:
        step = float(whole)
    per_tile_px = step * levels[number].downsample
    side = settings.tile_px * per_tile_px
    return Grid(number, step, UmPerPx(per_tile_px * mpp), settings.tile_px, side, side * (1 - settings.overlap))


def place_tiles(
    grid: Grid, *, size: tuple[int, int], mask: np.ndarray, mask_downsample: float, minimum_tissue: float
) -> pd.DataFrame:
    """Tiles with enough tissue, row by row: `x`, `y` (level-0 px, top left) and `tissue_fraction`.

    size : width and height at level 0; mask : (row, column) tissue; mask_downsample : level-0 px per mask px
    Only tiles that lie wholly on the slide are taken.
    """
    xs, ys = (_starts(length, grid) for length in size)
    if not len(xs) or not len(ys):
        return pd.DataFrame({"x": [], "y": [], "tissue_fraction": []}).astype({"x": "int64", "y": "int64"})
    share = _share(xs, ys, grid.side, mask, mask_downsample)
    row, column = np.nonzero(share >= minimum_tissue - 1e-9)
    return pd.DataFrame({"x": xs[column], "y": ys[row], "tissue_fraction": share[row, column].clip(0, 1)})


def tile_cover(tiles: pd.DataFrame, grid: Grid, mask: np.ndarray, mask_downsample: float) -> np.ndarray:
    """Share (tile,) of each of `tiles` (`x`, `y`) that lies in `mask` (row, column)."""
    xs, column = np.unique(tiles["x"], return_inverse=True)
    ys, row = np.unique(tiles["y"], return_inverse=True)
    return _share(xs, ys, grid.side, mask, mask_downsample)[row, column].clip(0, 1)


def _share(xs: np.ndarray, ys: np.ndarray, side: float, mask: np.ndarray, downsample: float) -> np.ndarray:
    """Share (tile row, tile column) of `mask` in the tiles at all pairs of `ys` and `xs`."""
    columns = _cover(xs / downsample, side / downsample, mask.shape[1])
    rows = _cover(ys / downsample, side / downsample, mask.shape[0])
    return rows @ mask.astype(np.float64) @ columns.T


def _starts(length: int, grid: Grid) -> np.ndarray:
    """First level-0 pixel of each tile along a side of `length`."""
    count = int(np.floor((length - grid.side) / grid.stride + 1e-9)) + 1
    return np.floor(np.arange(max(count, 0)) * grid.stride + 1e-9).astype(np.int64)


def _cover(starts: np.ndarray, side: float, length: int) -> np.ndarray:
    """Share of each tile (tile, mask pixel) that lies in each mask pixel, along one axis."""
    edge = np.arange(length)
    overlap = np.minimum(edge + 1, (starts + side)[:, None]) - np.maximum(edge, starts[:, None])
    return np.clip(overlap, 0.0, None) / side
