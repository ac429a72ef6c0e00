import numpy as np
import pytest

from histoweave.slides.resample import area_weights, reduce_whole, resample_area


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)


@pytest.mark.parametrize("factor", [1, 2, 5, 10, 17])
def test_reduce_is_the_mean_of_blocks_and_edges(pixels, factor):
    out = reduce_whole(pixels, factor)
    assert out.shape == (-(-50 // factor), -(-70 // factor), 3)
    for row, column in ((0, 0), (out.shape[0] - 1, out.shape[1] - 1), (out.shape[0] - 1, 0), (0, out.shape[1] - 1)):
        block = pixels[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        assert np.abs(out[row, column] - block.mean(axis=(0, 1))).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("step", [2, 3])
def test_whole_steps_agree_with_blocks(pixels, step):
    whole = reduce_whole(pixels[: 16 * step, : 16 * step], step)
    assert np.abs(resample_area(pixels, left=0, top=0, step=step, size=16).astype(int) - whole).max() <= 1


def test_step_one_from_a_whole_pixel_is_a_copy(pixels):
    assert np.array_equal(resample_area(pixels, left=3, top=5, step=1.0, size=20), pixels[5:25, 3:23])


@pytest.mark.parametrize(("start", "step"), [(0.0, 1.7), (0.3, 2.5), (0.9, 0.85), (0.5, 1.0)])
def test_weights_are_the_shares_of_what_is_covered(start, step):
    index, weights = area_weights(start, step, 20, 100)
    edges = start + step * np.arange(21)
    for out in range(20):
        expected = np.zeros(100)
        for source in range(100):
            expected[source] = max(0, min(source + 1, edges[out + 1]) - max(source, edges[out])) / step
        got = np.zeros(100)
        np.add.at(got, index[out], weights[out])
        assert np.allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("step", [0.85, 1.0, 1.37, 2.27])
def test_a_straight_slope_keeps_its_place(step):
    slope = np.broadcast_to(np.arange(100, dtype=np.uint8)[None, :, None], (100, 100, 3))
    out = resample_area(slope, left=2.0, top=2.0, step=step, size=40)
    centres = 2.0 + step * (np.arange(40) + 0.5) - 0.5
    assert np.abs(out[20, 1:-1, 0] - centres[1:-1]).max() <= 0.75


def test_the_field_of_view_is_exact():
    # one white column at the far end of the field is seen in full, the next is not seen
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    image[:, 50] = 200
    seen = resample_area(image, left=0, top=0, step=1.7, size=30)  # covers 0 to 51
    assert seen[10, 29, 0] == round(200 / 1.7)
    assert not resample_area(image, left=0, top=0, step=1.7, size=29).any()  # covers 0 to 49.3
