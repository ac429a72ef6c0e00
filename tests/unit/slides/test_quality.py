import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from unit.slides.pretend import PINK, QUALITY, tissue_picture

from histoweave.slides.quality import fold_mask, judge, sharpness
from histoweave.slides.resample import reduce_whole


def blurred(tile, sigma):
    return ndimage.gaussian_filter(tile.astype(float), (sigma, sigma, 0)).astype(np.uint8)


def test_sharpness_falls_with_blur_and_not_with_stain():
    tile, _ = tissue_picture(128, 128, seed=3, margin=-0.5)
    values = [sharpness(tile), sharpness(blurred(tile, 1)), sharpness(blurred(tile, 3))]
    assert values[0] > 2 * values[1] > 4 * values[2]
    paler = (255 * (tile / 255.0) ** 0.8).astype(np.uint8)
    assert sharpness(paler) == pytest.approx(values[0], rel=0.25)


def test_flat_glass_is_not_sharp():
    assert sharpness(np.full((64, 64, 3), 240, dtype=np.uint8)) == 0


def test_a_dense_strip_is_a_fold_and_nuclei_are_not():
    picture, inside = tissue_picture(1600, 1600, seed=4)
    picture, inside = reduce_whole(picture, 8), inside[4::8, 4::8]  # nuclei are smaller than these pixels
    assert fold_mask(picture, tissue=inside).mean() < 0.002
    picture[60:140, 95:105] = (PINK * 0.4).astype(np.uint8)
    found = fold_mask(picture, tissue=inside)
    assert found[65:135, 97:103].mean() > 0.9
    assert found[:, :80].mean() < 0.002


def test_no_tissue_no_fold():
    assert not fold_mask(np.full((9, 9, 3), 240, dtype=np.uint8), tissue=np.zeros((9, 9), dtype=bool)).any()


def test_status_is_relative_to_the_slides_median():
    tiles = pd.DataFrame({"sharpness": [1.0, 1.1, 0.2, np.nan, 0.9], "fold_fraction": [0.0, 0.6, 0.0, 0.0, 0.5]})
    assert judge(tiles, settings=QUALITY).tolist() == ["ok", "folded", "blurred", "unreadable", "ok"]
    tiles["sharpness"] *= 50
    assert judge(tiles, settings=QUALITY).tolist() == ["ok", "folded", "blurred", "unreadable", "ok"]
