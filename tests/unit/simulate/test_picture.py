import numpy as np
import pytest
from scipy import ndimage

from histoweave.simulate import picture
from histoweave.simulate.picture import TUMOUR, Nuclei, Stain

PLAIN = Stain(haematoxylin=picture.HAEMATOXYLIN, eosin=picture.EOSIN, h_gain=1.0, e_gain=1.0, glass=np.full(3, 240.0))


def nuclei(*, per_mm2=2000.0, radius_um=4.0, axes=1.0):
    return Nuclei(per_mm2=per_mm2, radius_um=radius_um, axes=axes, darkness=0.8)


def stamped(cells, *, mpp=0.5, seed=0):
    h_map = np.zeros((800, 800), dtype=np.float32)
    places = np.argwhere(np.ones((200, 200), dtype=bool))
    picture.stamp_nuclei(h_map, places, cells=cells, mpp=mpp, rng=np.random.default_rng(seed))
    return h_map


def test_colour_follows_beer_and_lambert():
    h_map, e_map = np.full((1, 1), 0.8), np.full((1, 1), 0.5)
    expected = 240 * 10 ** -(0.8 * picture.HAEMATOXYLIN + 0.5 * picture.EOSIN)
    np.testing.assert_allclose(picture.colour(h_map, e_map, PLAIN)[0, 0], expected, atol=2)
    np.testing.assert_array_equal(picture.colour(0 * h_map, 0 * e_map, PLAIN)[0, 0], 240)


@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_nucleus_has_its_size_whatever_the_resolution(mpp):
    rng = np.random.default_rng(0)
    cells = nuclei(axes=2.0)
    areas = [(picture.nucleus(cells, mpp=mpp, rng=rng) > 0.4).sum() * mpp**2 for _ in range(100)]
    assert np.mean(areas) == pytest.approx(np.pi * 4.0**2, rel=0.06)


def test_nuclei_have_their_number_per_area():
    cells = nuclei(per_mm2=500.0, radius_um=2.0)
    found = ndimage.label(stamped(cells) > 0.4)[1]
    assert found == pytest.approx(500 * (800 * 0.5 / 1000) ** 2, rel=0.25)


def test_no_place_no_nuclei():
    h_map = np.zeros((40, 40), dtype=np.float32)
    picture.stamp_nuclei(h_map, np.empty((0, 2), int), cells=nuclei(), mpp=0.5, rng=np.random.default_rng(0))
    assert not h_map.any()


def test_tissue_is_surrounded_by_glass_and_holds_the_share_of_tumour():
    kinds = picture.tissue_kinds((300, 320), tumour_share=0.6, rng=np.random.default_rng(2))
    border = np.concatenate([kinds[0], kinds[-1], kinds[:, 0], kinds[:, -1]])
    assert (border == -1).all()
    assert 0.35 < (kinds >= 0).mean() < 0.65
    assert (kinds == TUMOUR).sum() / (kinds >= 0).sum() == pytest.approx(0.6, abs=0.01)


def test_field_is_smooth_and_about_normal():
    field = picture.field((200, 300), waves=8, rng=np.random.default_rng(0))
    assert field.shape == (200, 300)
    assert np.abs(np.diff(field, axis=0)).max() < 0.5
    assert 0.4 < field.std() < 1.2


def test_pen_changes_some_pixels_and_leaves_the_rest():
    plain = np.full((200, 200, 3), 240, dtype=np.uint8)
    marked = picture.draw_pen(plain, ink="pen_green", width=12, rng=np.random.default_rng(0))
    changed = (marked != plain).any(axis=2)
    assert 0.02 < changed.mean() < 0.4
    np.testing.assert_array_equal(marked[changed][0], np.round(240 * np.array(picture.INKS["pen_green"])))
