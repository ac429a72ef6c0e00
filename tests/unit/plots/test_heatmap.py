import numpy as np
import pandas as pd
import pytest

from histoweave.plots.heatmap import overlay, rank_image, slide_heatmap
from histoweave.plots.style import alternative_text

TILES = pd.DataFrame({"x": [0, 64, 0, 64], "y": [0, 0, 64, 64], "value": [0.1, 0.7, 0.7, 5.0]})


def test_ranks_are_painted_at_their_tiles_and_nowhere_else():
    image = rank_image(TILES, (20, 20), downsample=8.0, tile_px0=64)
    expected = np.full((20, 20), np.nan)
    expected[:8, :8], expected[:8, 8:16], expected[8:16, :8], expected[8:16, 8:16] = 0, 0.5, 0.5, 1
    np.testing.assert_array_equal(image.filled(np.nan), expected)


def test_a_monotone_change_of_the_values_changes_nothing():
    changed = TILES.assign(value=np.exp(TILES["value"]))
    one, other = (rank_image(t, (20, 20), downsample=8.0, tile_px0=64) for t in (TILES, changed))
    np.testing.assert_array_equal(one.filled(-1), other.filled(-1))


def test_a_tile_smaller_than_a_thumbnail_pixel_is_seen():
    image = rank_image(TILES, (4, 4), downsample=100.0, tile_px0=1)
    assert image.count() >= 1


def test_single_tile_has_rank_zero():
    assert rank_image(TILES[:1], (20, 20), downsample=8.0, tile_px0=64)[0, 0] == 0


@pytest.mark.parametrize(("mpp", "label"), [(0.5, "50 µm"), (16.0, "2 mm")])
def test_scale_bar_has_a_round_length(mpp, label):
    thumbnail = np.zeros((60, 80, 3), np.uint8)
    figure = slide_heatmap(TILES, thumbnail, title="S1", quantity="attention", downsample=8.0, tile_px0=64, mpp=mpp)
    left = figure.axes[0]
    assert label in [text.get_text() for text in left.texts]
    bar = left.patches[0].get_width() * 80 * 8 * mpp
    assert bar == pytest.approx(float(label.split()[0]) * (1000 if "mm" in label else 1))
    assert "x=64, y=64" in alternative_text(figure)


def test_overlay_is_clear_beside_the_tiles_and_brightest_at_the_top_rank():
    colours = overlay(TILES, (32, 24), downsample=8.0, shrunk=2.0, tile_px0=64)
    assert colours.shape == (12, 16, 4)
    assert colours.dtype == np.uint8
    assert (colours[:8, :8, 3] == 255).all()
    assert (colours[8:, :, 3] == 0).all()
    assert colours[5, 5, :3].sum() > colours[1, 1, :3].sum()
