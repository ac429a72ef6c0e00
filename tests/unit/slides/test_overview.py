import numpy as np
import pytest
from unit.slides.pretend import Array, tissue_picture

from histoweave.errors import InputError
from histoweave.slides import overview
from histoweave.slides.overview import read_overviews
from histoweave.slides.resample import reduce_whole


@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize(("mask_um", "thumbnail_px"), [(8.0, 100), (2.0, 1000), (8.0, 300), (100.0, 50)])
def test_sizes_are_held_and_content_is_that_of_level_0(levels, mask_um, thumbnail_px):
    picture, _ = tissue_picture(400, 600, seed=5)
    mask, thumbnail = read_overviews(
        Array(picture, mpp=0.5, levels=levels), mpp=0.5, mask_um=mask_um, thumbnail_px=thumbnail_px
    )
    assert mask.downsample * 0.5 <= mask_um
    assert max(thumbnail.pixels.shape) <= thumbnail_px
    for made in (mask, thumbnail):
        factor = int(made.downsample)
        assert made.downsample == factor
        assert made.pixels.shape[:2] == (-(-400 // factor), -(-600 // factor))
        expected = reduce_whole(picture, factor)
        rows, columns = 400 // factor, 600 // factor
        assert np.abs(made.pixels[:rows, :columns].astype(int) - expected[:rows, :columns]).max() <= 2


def test_a_slide_is_read_in_strips(monkeypatch):
    monkeypatch.setattr(overview, "_STRIP_PIXELS", 20_000)
    picture, _ = tissue_picture(400, 600, seed=5)
    slide = Array(picture, mpp=0.5)
    whole, _ = read_overviews(Array(picture, mpp=0.5), mpp=0.5, mask_um=4.0, thumbnail_px=100)
    strips, _ = read_overviews(slide, mpp=0.5, mask_um=4.0, thumbnail_px=100)
    assert slide.largest <= 20_000
    assert np.array_equal(strips.pixels, whole.pixels)


def test_a_damaged_part_is_white_and_its_share_is_told():
    picture, _ = tissue_picture(512, 1024, seed=5)
    whole, _ = read_overviews(Array(picture, mpp=0.5), mpp=0.5, mask_um=4.0, thumbnail_px=128)
    slide = Array(picture, mpp=0.5, broken=((600, 300),))
    part, small = read_overviews(slide, mpp=0.5, mask_um=4.0, thumbnail_px=128)
    assert part.unreadable == small.unreadable == 1 / 8
    assert (part.pixels[32:, 64:96] == 255).all()
    assert np.array_equal(part.pixels[:32], whole.pixels[:32])
    assert np.array_equal(part.pixels[32:, :64], whole.pixels[32:, :64])


def test_an_overview_too_large_for_memory_is_refused(monkeypatch):
    monkeypatch.setattr(overview, "_MOST_PIXELS", 1000)
    picture, _ = tissue_picture(400, 600, seed=5)
    with pytest.raises(InputError, match=r"Raise slides.tissue.mask_um"):
        read_overviews(Array(picture, mpp=0.5), mpp=0.5, mask_um=4.0, thumbnail_px=100)
