import dataclasses

import numpy as np
import pytest
from PIL import Image
from unit.slides.pretend import GLASS, PINK, TISSUE, tissue_picture

from histoweave.slides.resample import reduce_whole
from histoweave.slides.tissue import (
    drop_small,
    find_ink,
    find_tissue,
    glass_colour,
    intersection_over_union,
    saturation,
)

UM = 8.0
GREEN, RED, BLUE, BLACK = (30, 140, 70), (200, 40, 60), (30, 50, 160), (40, 40, 42)
PALE_FAT = (238, 226, 232)


@pytest.fixture
def glass():
    noise = np.random.default_rng(2).normal(0, 1.5, (120, 160, 1))
    return (np.broadcast_to(GLASS, (120, 160, 3)) + noise).clip(0, 255).astype(np.uint8)


def paint(picture, box, colour):
    picture = picture.copy()
    picture[box] = np.asarray(colour, dtype=np.uint8)
    return picture


BOX = np.s_[30:90, 40:110]


def masks(picture, **changes):
    return find_tissue(picture, um=UM, settings=dataclasses.replace(TISSUE, **changes))


def test_glass_alone_has_neither_tissue_nor_ink(glass):
    found = masks(glass)
    assert not found.tissue.any()
    assert not found.ink.any()


@pytest.mark.parametrize("colour", [PINK, PALE_FAT])
def test_stain_is_tissue_also_where_it_is_pale(glass, colour):
    truth = np.zeros(glass.shape[:2], dtype=bool)
    truth[BOX] = True
    found = masks(paint(glass, BOX, colour))
    assert intersection_over_union(found.tissue, truth) >= 0.92
    assert not found.ink.any()


@pytest.mark.parametrize("colour", [GREEN, RED, BLUE, BLACK])
def test_ink_is_not_tissue(glass, colour):
    found = masks(paint(glass, BOX, colour))
    assert found.ink[BOX].mean() > 0.95
    assert found.tissue[BOX].mean() < 0.05


def test_ink_over_tissue_hides_only_what_it_covers(glass):
    picture = paint(paint(glass, BOX, PINK), np.s_[30:90, 60:75], GREEN)
    found = masks(picture)
    assert not found.tissue[32:88, 60:75].any()
    assert found.tissue[35:85, 45:55].all()
    assert found.tissue[35:85, 80:105].all()


def test_small_patches_of_ink_colour_stay_tissue(glass):
    picture = paint(paint(glass, BOX, PINK), np.s_[50:56, 60:66], BLUE)  # 2,304 um2
    assert masks(picture).tissue[BOX].mean() < 0.99
    assert masks(picture, smallest_ink_um2=5000).tissue[35:85, 45:105].all()


def test_specks_and_holes_are_judged_by_their_area(glass):
    picture = paint(glass, BOX, PINK)
    picture[50:62, 60:72] = GLASS  # 144 px of 64 um2: 9,216 um2
    picture[5:15, 5:15] = PINK  # 6,400 um2
    assert masks(picture, smallest_hole_um2=20_000).tissue[50:62, 60:72].all()
    assert not masks(picture, smallest_hole_um2=1_000).tissue[54:58, 64:68].any()
    assert masks(picture, smallest_tissue_um2=1_000).tissue[8:12, 8:12].all()
    assert not masks(picture, smallest_tissue_um2=20_000).tissue[:20, :20].any()


def test_glass_colour_is_never_taken_from_tissue():
    assert glass_colour(np.full((10, 10, 3), 120, dtype=np.uint8)).tolist() == [200, 200, 200]
    bright = np.full((10, 10, 3), 230, dtype=np.uint8)
    bright[:5] = 90
    assert glass_colour(bright).tolist() == [230, 230, 230]


def test_saturation_is_that_of_hsv():
    pixels = np.array([[[0, 0, 0], [10, 10, 10], [200, 100, 150], [255, 0, 0]]], dtype=np.uint8)
    assert saturation(pixels).tolist() == [[0, 0, 127, 255]]


def test_drop_small_joins_diagonal_neighbours():
    mask = np.eye(4, dtype=bool)
    assert drop_small(mask, smallest=4).sum() == 4
    assert drop_small(mask, smallest=5).sum() == 0


def test_ink_needs_density(glass):
    assert not find_ink(paint(glass, BOX, (235, 240, 236)), um=UM, settings=TISSUE).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 3)])
def test_tiny_slides_have_masks_of_their_size(shape):
    found = masks(np.full((*shape, 3), 250, dtype=np.uint8))
    assert found.tissue.shape == shape
    assert not found.tissue.any()


def test_union_of_nothing_is_no_number():
    none = np.zeros((3, 3), dtype=bool)
    assert np.isnan(intersection_over_union(none, none))


def real_picture(folder, name):
    with Image.open(folder / "slides/pictures" / name) as picture:
        glass = Image.new("RGBA", picture.size, "white")
        glass.alpha_composite(picture.convert("RGBA"))
    return np.asarray(glass.convert("RGB"))


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("no-tissue-green-pen.png", lambda r, g, b: (g > r + 25) & (g > b)),
        ("tcga-red-pen.png", lambda r, g, b: (r > 150) & (g < 80) & (b < 80)),
    ],
)
def test_real_ink_is_kept_out(real_data, name, colour):
    picture = real_picture(real_data, name)
    ink = colour(*np.moveaxis(picture.astype(int), 2, 0))
    found = masks(picture, smallest_ink_um2=50_000, smallest_tissue_um2=20_000)
    assert ink.mean() > 0.1
    assert found.tissue[ink].mean() < 0.05


@pytest.mark.parametrize("name", ["no-tissue.png", "no-tissue-line.png"])
def test_real_glass_is_no_tissue(real_data, name):
    assert masks(real_picture(real_data, name), smallest_tissue_um2=20_000).tissue.mean() < 0.005


def test_a_planted_outline_is_found():
    picture, inside = tissue_picture(1200, 1600, seed=4)
    found = masks(reduce_whole(picture, 16)).tissue
    assert intersection_over_union(found, inside[8::16, 8::16]) >= 0.95
