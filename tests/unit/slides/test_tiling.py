import dataclasses

import numpy as np
import pytest
from unit.slides.pretend import TILES

from histoweave.errors import InputError
from histoweave.slides.reader import Level
from histoweave.slides.tiling import place_tiles, plan_grid, tile_cover


def pyramid(*downsamples, width=10_000, height=8_000):
    return tuple(Level(int(width / d), int(height / d), float(d)) for d in downsamples)


@pytest.mark.parametrize("mpp", [0.22, 0.2277, 0.25, 0.2525, 0.29, 0.31, 0.37, 0.4, 0.499, 0.5, 0.55, 0.59])
@pytest.mark.parametrize("downsamples", [(1,), (1, 2, 4), (1, 4, 16)])
def test_a_tile_covers_its_micrometres_to_half_a_percent(mpp, downsamples):
    grid = plan_grid(pyramid(*downsamples), mpp=mpp, settings=TILES)
    assert grid.side * mpp == pytest.approx(64 * 0.5, rel=0.005)
    assert grid.tile_um == pytest.approx(grid.side * mpp)
    assert grid.step * downsamples[grid.level] * grid.tile_px == pytest.approx(grid.side)


@pytest.mark.parametrize(
    ("mpp", "downsamples", "level", "step"),
    [
        (0.5, (1, 2, 4), 0, 1.0),
        (0.25, (1, 2, 4), 1, 1.0),
        (0.25, (1, 4, 16), 0, 2.0),
        (0.125, (1, 2, 4), 2, 1.0),
        (0.499, (1,), 0, 1.0),
        (0.2505, (1, 4), 0, 2.0),
        (0.4, (1, 2), 0, 1.25),
        (0.59, (1, 2), 0, 0.5 / 0.59),
    ],
)
def test_the_coarsest_level_that_is_fine_enough_is_read(mpp, downsamples, level, step):
    grid = plan_grid(pyramid(*downsamples), mpp=mpp, settings=TILES)
    assert (grid.level, grid.step) == (level, pytest.approx(step))


def test_a_scan_that_is_too_coarse_is_refused():
    with pytest.raises(InputError, match=r"1 um/px, too coarse for tiles at 0.5. Raise slides.tiles.mpp"):
        plan_grid(pyramid(1), mpp=1.0, settings=TILES)


def tiles_on(mask, *, overlap=0.0, minimum=0.5, mpp=0.5):
    grid = plan_grid(pyramid(1), mpp=mpp, settings=dataclasses.replace(TILES, overlap=overlap))
    size = mask.shape[1] * 16, mask.shape[0] * 16
    return grid, place_tiles(grid, size=size, mask=mask, mask_downsample=16.0, minimum_tissue=minimum)


def test_full_tissue_gives_every_whole_tile_row_by_row():
    _, tiles = tiles_on(np.ones((17, 22), dtype=bool))  # 352 x 272 px: 5 x 4 tiles of 64
    assert tiles["x"].tolist() == [0, 64, 128, 192, 256] * 4
    assert tiles["y"].tolist() == sorted([0, 64, 128, 192] * 5)
    assert (tiles["tissue_fraction"] == 1).all()


def test_overlap_makes_the_grid_denser():
    grid, tiles = tiles_on(np.ones((16, 16), dtype=bool), overlap=0.5)
    assert grid.stride == 32
    assert sorted(set(tiles["x"])) == list(range(0, 193, 32))


def test_tissue_share_is_that_of_the_mask_under_the_tile():
    mask = np.zeros((16, 16), dtype=bool)
    mask[:4, 5:8] = True  # level-0 columns 80 to 128 of the tile from 64 to 128
    _, tiles = tiles_on(mask, minimum=0.7)
    assert tiles[["x", "y"]].to_numpy().tolist() == [[64, 0]]
    assert tiles["tissue_fraction"].tolist() == [0.75]
    assert tiles_on(mask, minimum=0.8)[1].empty


def test_no_grid_fits_a_slide_smaller_than_a_tile():
    _, tiles = tiles_on(np.ones((1, 1), dtype=bool))
    assert tiles.empty
    assert list(tiles) == ["x", "y", "tissue_fraction"]


def test_cover_of_another_mask():
    grid, tiles = tiles_on(np.ones((8, 8), dtype=bool))
    ink = np.zeros((8, 8), dtype=bool)
    ink[:2, :4] = True
    assert tile_cover(tiles, grid, ink, 16.0).tolist() == [0.5, 0, 0, 0]


def test_no_tile_beyond_the_edge_at_odd_resolutions():
    grid, tiles = tiles_on(np.ones((40, 40), dtype=bool), mpp=0.37)
    assert (tiles[["x", "y"]] + grid.side <= 640 + 1e-6).all().all()
    assert np.ptp(np.diff(sorted(set(tiles["x"])))) <= 1
