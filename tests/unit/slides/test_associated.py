import numpy as np
import openslide
import pytest
import tifffile
from unit.slides.pretend import halves, tissue_picture

from histoweave.errors import InputError
from histoweave.slides.associated import associated_levels
from histoweave.slides.opening import open_slide
from histoweave.slides.reader import OpenSlideReader

PICTURE, _ = tissue_picture(700, 901, seed=12)
LARGE, SMALL = (np.full((*shape, 3), (255, 0, 255), dtype=np.uint8) for shape in ((400, 640), (320, 400)))
BASE = "Aperio Image Library v12\r\n901x700 (256x256) JPEG|MPP = 0.5"


def write(path, *pages):
    """Write tiled pages (pixels, description, NewSubfileType)."""
    with tifffile.TiffWriter(path) as file:
        for pixels, text, kind in pages:
            options = {"photometric": "rgb", "tile": (256, 256), "compression": "jpeg", "metadata": None}
            file.write(pixels, description=text, subfiletype=kind, **options)
    return path


WAYS = {
    "label by its name": ("Aperio Image Library v12\r\nlabel 400x320", 0),
    "macro by its name": ("Aperio\nMacro 400x320", 0),
    "macro by its type": ("", 9),
    "label by its type": ("", 1),
}


def shown(slide):
    """Sizes of the levels, and whether anything of a label is seen in them."""
    sizes = [(level.width, level.height) for level in slide.levels]
    levels = [slide.read(number, 0, 0, *size).astype(int) for number, size in enumerate(sizes)]
    return sizes, any((np.abs(pixels - (255, 0, 255)).max(axis=2) < 30).any() for pixels in levels)


@pytest.mark.parametrize("reader", [open_slide, OpenSlideReader])
@pytest.mark.parametrize(("place", "photograph"), [(1, LARGE), (2, SMALL)])
@pytest.mark.parametrize("way", WAYS)
def test_a_tiled_label_or_macro_image_is_no_level_and_is_not_read(tmp_path, way, place, photograph, reader):
    pages = [(PICTURE, BASE, 0), (halves(PICTURE), BASE, 1)]
    pages.insert(place, (photograph, *WAYS[way]))
    path = write(tmp_path / "a.svs", *pages)
    assert openslide.OpenSlide(str(path)).level_count == 3  # which takes it for one
    assert shown(reader(path)) == ([(901, 700), (450, 350)], False)


def test_nor_is_a_label_of_a_levels_size_that_stands_before_it(tmp_path):
    label = (np.full((350, 450, 3), (255, 0, 255), dtype=np.uint8), *WAYS["label by its name"])
    path = write(tmp_path / "a.svs", (PICTURE, BASE, 0), label, (halves(PICTURE), BASE, 0))
    for reader in (open_slide, OpenSlideReader):
        assert shown(reader(path)) == ([(901, 700), (450, 350)], False)


def test_nor_is_one_that_openslide_refuses_for_its_place(tmp_path):
    path = write(tmp_path / "a.svs", (PICTURE, BASE, 0), (SMALL, *WAYS["label by its name"]), (halves(PICTURE), "", 0))
    with pytest.raises(InputError):
        OpenSlideReader(path)
    sizes, seen = shown(open_slide(path))
    assert sizes[0] == (901, 700)
    assert (400, 320) not in sizes
    assert not seen


def test_reduced_levels_stay_levels_however_they_are_rounded(tmp_path):
    for number, small in enumerate([halves(PICTURE), halves(PICTURE, up=True), PICTURE[::16, ::16]]):
        path = write(tmp_path / f"{number}.svs", (PICTURE, BASE, 0), (small, "", 1), (PICTURE[:1, :1], "", 0))
        assert associated_levels(path) == []
        assert len(open_slide(path).levels) == 3


def test_a_file_of_a_label_alone_is_refused(tmp_path):
    path = write(tmp_path / "a.svs", (SMALL, "Aperio Image Library v12\r\nlabel 400x320|MPP = 0.5", 0))
    with pytest.raises(InputError, match=r"a.svs holds the photograph of a label"):
        open_slide(path)
