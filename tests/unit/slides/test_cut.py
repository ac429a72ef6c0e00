import dataclasses

import numpy as np
import pandas as pd
import pytest
from unit.slides.pretend import CUT, Array, tissue_picture

from histoweave.errors import InputError
from histoweave.slides.cut import cut_slide, read_tile, read_tiles
from histoweave.slides.tiling import plan_grid

PICTURE, INSIDE = tissue_picture(700, 900, seed=8)


def cut(slide, **changes):
    return cut_slide(slide, given_mpp=None, name="S1", thumbnail_px=300, settings=dataclasses.replace(CUT, **changes))


def test_tiles_lie_on_the_tissue():
    made = cut(Array(PICTURE, mpp=0.5))
    shares = [INSIDE[y : y + 64, x : x + 64].mean() for x, y in zip(made.tiles["x"], made.tiles["y"], strict=True)]
    assert len(made.tiles) > 30
    assert np.abs(np.asarray(shares) - made.tiles["tissue_fraction"]).max() < 0.2
    assert (made.tiles["status"] == "ok").mean() > 0.9
    assert made.tiles["tile"].tolist() == list(range(len(made.tiles)))
    assert max(made.thumbnail.pixels.shape) <= 300


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_same_glass_gives_the_same_tiles_from_every_pyramid(levels):
    one, other = cut(Array(PICTURE, mpp=0.25)), cut(Array(PICTURE, mpp=0.25, levels=levels))
    assert other.grid.level == min(levels - 1, 1)
    pd.testing.assert_frame_equal(one.tiles[["x", "y"]], other.tiles[["x", "y"]])
    tile = read_tile(Array(PICTURE, mpp=0.25), one.grid, 128, 256)
    same = read_tile(Array(PICTURE, mpp=0.25, levels=levels), other.grid, 128, 256)
    assert np.array_equal(tile, same)


def test_a_tile_at_the_scans_own_resolution_is_its_pixels():
    slide = Array(PICTURE, mpp=0.5)
    grid = plan_grid(slide.levels, mpp=0.5, settings=CUT.tiles)
    assert np.array_equal(read_tile(slide, grid, 70, 33), PICTURE[33:97, 70:134])


@pytest.mark.parametrize("mpp", [0.22, 0.31, 0.37, 0.59])
def test_odd_resolutions_give_tiles_of_their_size(mpp):
    slide = Array(PICTURE, mpp=mpp)
    grid = plan_grid(slide.levels, mpp=mpp, settings=CUT.tiles)
    tile = read_tile(slide, grid, 200, 100)
    assert tile.shape == (64, 64, 3)
    field = PICTURE[100 : round(100 + grid.side), 200 : round(200 + grid.side)]
    assert np.abs(tile.mean(axis=(0, 1)) - field.mean(axis=(0, 1))).max() < 1.5


class Level0Broken(Array):
    """Damaged at level 0 alone, so that the overview is whole."""

    def read(self, level, x, y, width, height):
        kept, self._broken = self._broken, self._broken if level == 0 else ()
        try:
            return super().read(level, x, y, width, height)
        finally:
            self._broken = kept


def test_tiles_that_cannot_be_read_are_named_and_the_rest_goes_on():
    slide = Level0Broken(PICTURE, mpp=0.5, levels=3, broken=((450, 350),))
    made = cut(slide)
    bad = made.tiles[made.tiles["status"] == "unreadable"]
    assert len(bad) == 1
    assert bad["x"].item() <= 450 < bad["x"].item() + 64
    assert [n for n, tile in enumerate(read_tiles(slide, made.grid, made.tiles)) if tile is None] == bad[
        "tile"
    ].tolist()


def test_too_many_unreadable_tiles_fail_the_slide():
    broken = tuple((x, y) for x in range(300, 600, 64) for y in range(200, 500, 64))
    with pytest.raises(InputError, match=r"slide S1: \d+ of \d+ tiles cannot be read \(first: x"):
        cut(Level0Broken(PICTURE, mpp=0.5, levels=3, broken=broken))


def test_a_slide_that_is_cut_short_fails():
    with pytest.raises(InputError, match="23% of the slide cannot be read; the file is damaged or cut short"):
        cut(Array(PICTURE, mpp=0.5, broken=((100, 100), (600, 600), (800, 300))))


def test_an_outline_drawn_by_hand_stands_instead():
    ring = np.array([[0, 0], [256, 0], [256, 256], [0, 256], [0, 0]], dtype=float)
    made = cut_slide(
        Array(PICTURE, mpp=0.5), given_mpp=None, name="S1", thumbnail_px=300, settings=CUT, outline=[[ring]]
    )
    assert sorted(zip(made.tiles["x"], made.tiles["y"], strict=True)) == [
        (x, y) for x in range(0, 256, 64) for y in range(0, 256, 64)
    ]


def test_no_resolution_no_tiles():
    with pytest.raises(InputError, match="Set 'mpp' for S1"):
        cut(Array(PICTURE, mpp=None))


def test_fluorescence_is_refused():
    dark = np.zeros((300, 300, 3), dtype=np.uint8)
    dark[40:80, 50:90] = (10, 20, 240)
    with pytest.raises(InputError, match="as a fluorescence scan is. Give brightfield"):
        cut(Array(dark, mpp=0.5))


def test_a_slide_of_one_pixel_has_no_tiles():
    assert cut(Array(np.full((1, 1, 3), 240, dtype=np.uint8), mpp=0.5)).tiles.empty
