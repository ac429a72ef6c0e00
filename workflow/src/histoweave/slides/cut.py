"""From an open slide to its tiles: what one slide goes through before it is encoded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from histoweave.errors import InputError
from histoweave.slides.outline import to_mask
from histoweave.slides.overview import Overview, read_overviews
from histoweave.slides.quality import QualitySettings, fold_mask, judge, sharpness
from histoweave.slides.reader import Slide, UnreadablePart
from histoweave.slides.resample import reduce_whole, resample_area
from histoweave.slides.resolution import Resolution, ResolutionSettings, resolve
from histoweave.slides.tiling import Grid, TileSettings, place_tiles, plan_grid, tile_cover
from histoweave.slides.tissue import Tissue, TissueSettings, check_brightfield, find_tissue


@dataclass(frozen=True)
class CutSettings:
    """All that decides which tiles a slide gives."""

    resolution: ResolutionSettings
    tissue: TissueSettings
    tiles: TileSettings
    quality: QualitySettings


@dataclass(frozen=True)
class Cut:
    """Tiles of one slide.

    tiles : `tile`, `x`, `y` (level-0 px, top left), `tissue_fraction`, `ink_fraction`, `fold_fraction`, `sharpness`,
    `status` (ok | blurred | folded | unreadable)
    """

    tiles: pd.DataFrame
    grid: Grid
    resolution: Resolution
    overview: Overview
    masks: Tissue
    thumbnail: Overview


def cut_slide(
    slide: Slide,
    *,
    given_mpp: float | None,
    name: str,
    thumbnail_px: int,
    settings: CutSettings,
    outline: Sequence[Sequence[np.ndarray]] | None = None,
) -> Cut:
    """Find the tissue of an open slide and the tiles on it; raises InputError where that cannot be done.

    outline : polygons (rings of (point, xy) in level-0 px) that stand instead of the tissue found; None: there are none
    """
    resolution = resolve(slide.properties, given=given_mpp, slide=name, settings=settings.resolution)
    grid = plan_grid(slide.levels, mpp=resolution.mpp, settings=settings.tiles)
    overview, thumbnail = read_overviews(
        slide, mpp=resolution.mpp, mask_um=settings.tissue.mask_um, thumbnail_px=thumbnail_px
    )
    _check_readable(overview, settings.quality)
    check_brightfield(overview.pixels)
    masks = find_tissue(overview.pixels, um=resolution.mpp * overview.downsample, settings=settings.tissue)
    if outline is not None:
        drawn = to_mask(outline, shape=masks.tissue.shape, downsample=overview.downsample)
        masks = Tissue(drawn, masks.ink)
    size = slide.levels[0].width, slide.levels[0].height
    tiles = place_tiles(
        grid,
        size=size,
        mask=masks.tissue,
        mask_downsample=overview.downsample,
        minimum_tissue=settings.tiles.minimum_tissue,
    )
    folds = fold_mask(overview.pixels, tissue=masks.tissue)
    tiles["ink_fraction"] = tile_cover(tiles, grid, masks.ink, overview.downsample)
    tiles["fold_fraction"] = tile_cover(tiles, grid, folds, overview.downsample)
    tiles = _score(slide, grid, tiles, settings.quality, name)
    tiles.insert(0, "tile", np.arange(len(tiles)))
    return Cut(tiles, grid, resolution, overview, masks, thumbnail)


def _check_readable(overview: Overview, settings: QualitySettings) -> None:
    if overview.unreadable > settings.most_bad_share:
        msg = (
            f"{overview.unreadable:.0%} of the slide cannot be read; the file is damaged or cut short. "
            "Scan or copy it again, or raise slides.quality.most_bad_share"
        )
        raise InputError(msg)


def _score(slide: Slide, grid: Grid, tiles: pd.DataFrame, settings: QualitySettings, name: str) -> pd.DataFrame:
    """`tiles` with `sharpness` and `status`; raises InputError where too many cannot be read."""
    scores = [np.nan if tile is None else sharpness(tile) for tile in read_tiles(slide, grid, tiles)]
    tiles = tiles.assign(sharpness=np.asarray(scores, dtype=np.float64))
    tiles["status"] = judge(tiles, settings=settings)
    bad = int((tiles["status"] == "unreadable").sum())
    if bad > settings.most_bad_share * len(tiles):
        first = tiles[tiles["status"] == "unreadable"].iloc[0]
        msg = (
            f"slide {name}: {bad} of {len(tiles)} tiles cannot be read (first: x {first.x}, y {first.y}). "
            "Scan or copy it again, or raise slides.quality.most_bad_share"
        )
        raise InputError(msg)
    return tiles


def read_tiles(slide: Slide, grid: Grid, tiles: pd.DataFrame) -> Iterator[np.ndarray | None]:
    """Yield the pixels (row, column, rgb) uint8 of each of `tiles` (`x`, `y`), or None where it cannot be read."""
    for x, y in zip(tiles["x"], tiles["y"], strict=True):
        try:
            yield read_tile(slide, grid, int(x), int(y))
        except UnreadablePart:
            yield None


def read_tile(slide: Slide, grid: Grid, x: int, y: int) -> np.ndarray:
    """Pixels (row, column, rgb) uint8 of the tile whose corner is level-0 pixel (`x`, `y`).

    A whole step reads from the nearest whole pixel; any other is resampled from the exact place.
    """
    downsample = slide.levels[grid.level].downsample
    left, top = x / downsample, y / downsample
    if grid.step == round(grid.step):
        step = round(grid.step)
        side = grid.tile_px * step
        if step == 2 and round(left) % 2 == round(top) % 2 == 0:
            return slide.read_halved(grid.level, round(left) // 2, round(top) // 2, grid.tile_px, grid.tile_px)
        return reduce_whole(slide.read(grid.level, round(left), round(top), side, side), step)
    first_x, first_y = int(np.floor(left)), int(np.floor(top))
    span = grid.tile_px * grid.step
    width, height = (int(np.ceil(start + span)) - first for start, first in ((left, first_x), (top, first_y)))
    pixels = slide.read(grid.level, first_x, first_y, width, height)
    return resample_area(pixels, left=left - first_x, top=top - first_y, step=grid.step, size=grid.tile_px)
