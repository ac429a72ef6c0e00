import numpy as np
import pytest
from unit.slides.pretend import tissue_picture, write_aperio, write_generic, zero_tile

from histoweave.errors import InputError
from histoweave.slides.opening import open_slide
from histoweave.slides.reader import OpenSlideReader, UnreadablePart, check_size, exact_downsample, on_white


@pytest.fixture(scope="module")
def picture():
    return tissue_picture(600, 811, seed=6)[0]


@pytest.mark.parametrize(
    ("size0", "size", "expected"),
    [
        ((2048, 2048), (1024, 1024), 2.0),
        ((2047, 2047), (1024, 1024), 2.0),  # rounded up: a ratio of 1.9990
        ((4443, 3567), (2221, 1783), 2.0),  # rounded down: 2.0005
        ((46000, 32914), (11500, 8228), 4.0),
        ((1000, 1000), (370, 370), 1000 / 370),
        ((1, 1), (1, 1), 1.0),
    ],
)
def test_rounded_level_sizes_do_not_move_pixels(size0, size, expected):
    assert exact_downsample(size0, size) == pytest.approx(expected)


def test_an_openslide_reader_gives_the_pixels_and_white_outside(tmp_path, picture):
    slide = OpenSlideReader(write_generic(tmp_path / "a.tiff", picture, mpp=0.25, compression="deflate"))
    assert [(level.width, level.height, level.downsample) for level in slide.levels] == [(811, 600, 1), (405, 300, 2)]
    assert np.array_equal(slide.read(0, 100, 50, 64, 32), picture[50:82, 100:164])
    beyond = slide.read(0, 800, 590, 20, 20)
    assert np.array_equal(beyond[:10, :11], picture[590:, 800:])
    assert (beyond[10:] == 255).all()
    assert (beyond[:, 11:] == 255).all()
    assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)


def test_transparent_pixels_lie_on_white():
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [100, 100, 100, 128]]], dtype=np.uint8)
    assert on_white(rgba)[0].tolist() == [[10, 20, 30], [255, 255, 255], [177, 177, 177]]


def test_a_damaged_part_does_not_hide_the_others(tmp_path, picture):
    path = write_aperio(tmp_path / "a.svs", picture, mpp=0.5)
    whole = OpenSlideReader(path).read(0, 0, 256, 256, 256)
    zero_tile(path, 0)
    slide = OpenSlideReader(path)
    with pytest.raises(UnreadablePart):
        slide.read(0, 0, 0, 100, 100)
    assert np.array_equal(slide.read(0, 0, 256, 256, 256), whole)


def test_what_is_no_slide_is_refused(tmp_path):
    (tmp_path / "text.svs").write_text("this is text\n" * 100)
    with pytest.raises(InputError, match=r"text.svs cannot be opened as a slide"):
        OpenSlideReader(tmp_path / "text.svs")


@pytest.mark.parametrize("make", [lambda path: path.touch(), lambda path: path.mkdir(), lambda path: None])
def test_an_empty_file_a_folder_and_nothing_are_refused(tmp_path, make):
    make(tmp_path / "a.svs")
    for reader in (OpenSlideReader, open_slide):
        with pytest.raises(InputError, match=r"a.svs cannot be opened as a slide"):
            reader(tmp_path / "a.svs")


def test_half_a_file_is_refused(tmp_path, picture):
    path = write_aperio(tmp_path / "half.svs", picture, mpp=0.5)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"half.svs cannot be opened"):
        OpenSlideReader(path)


@pytest.mark.parametrize("size", [(2**21, 2**21), (0, 5), (10**12, 10**12)])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(InputError, match=r"a.tiff claims"):
        check_size(*size, name="a.tiff")
