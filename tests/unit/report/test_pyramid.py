from types import SimpleNamespace

import numpy as np
import pytest

from histoweave.report.pyramid import finest_level, pieces, shrink, whole_image


class FakeScan:
    """A scan whose levels are whole-number reductions of one image."""

    def __init__(self, image, downsamples):
        self.images = [shrink(image, factor) for factor in downsamples]
        self.levels = [
            SimpleNamespace(width=level.shape[1], height=level.shape[0], downsample=float(factor))
            for level, factor in zip(self.images, downsamples, strict=True)
        ]
        self.reads = []

    def read(self, level, x, y, width, height):
        self.reads.append((level, height))
        return self.images[level][y : y + height, x : x + width]


def picture(rows, columns, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3)).astype(np.uint8)


def test_small_slide_is_taken_as_it_is():
    image = picture(30, 40)
    made, downsample = whole_image(FakeScan(image, [1]), longest_px=64)
    np.testing.assert_array_equal(made, image)
    assert downsample == 1


def test_coarsest_level_that_is_fine_enough_is_read_and_shrunk():
    scan = FakeScan(picture(1200, 1600), [1, 4, 16])
    made, downsample = whole_image(scan, longest_px=200)
    assert {level for level, _ in scan.reads} == {1}
    assert made.shape == (150, 200, 3)
    assert downsample == 8
    np.testing.assert_array_equal(made, shrink(scan.images[1], 2))


def test_strips_join_without_a_seam():
    image = picture(1500, 90)
    scan = FakeScan(image, [1])
    made, downsample = whole_image(scan, longest_px=500)
    assert len(scan.reads) > 1
    assert downsample == 3
    np.testing.assert_array_equal(made, shrink(image, 3))


def test_shrink_is_the_mean_of_blocks():
    image = np.array([[0, 10, 50], [20, 30, 50]], np.uint8)[..., None].repeat(3, axis=2)
    np.testing.assert_array_equal(shrink(image, 2)[..., 0], [[15, 50]])
    np.testing.assert_array_equal(shrink(image, 1), image)


@pytest.mark.parametrize(("size", "level"), [((1, 1), 0), ((2, 1), 1), ((256, 200), 8), ((257, 200), 9)])
def test_finest_level(size, level):
    assert finest_level(*size) == level


def test_pieces_put_together_are_the_image_and_the_last_is_one_pixel():
    image = picture(70, 100)
    found = list(pieces(image, tile_px=32))
    finest = found[0][0]
    assert finest == 7
    made = np.zeros_like(image)
    for level, column, row, pixels in found:
        if level == finest:
            made[32 * row : 32 * row + 32, 32 * column : 32 * column + 32] = pixels
    np.testing.assert_array_equal(made, image)
    assert [(level, pixels.shape) for level, _, _, pixels in found][-1] == (0, (1, 1, 3))
    sizes = {level: sum(p.shape[1] for k, _, row, p in found if k == level and row == 0) for level in range(8)}
    assert sizes == {7: 100, 6: 50, 5: 25, 4: 13, 3: 7, 2: 4, 1: 2, 0: 1}
