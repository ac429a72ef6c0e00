import numpy as np
import pytest

from histoweave.slides.nuclei import NUCLEUS_NAMES, label_nuclei, measure, nucleus_features, otsu


def discs(radii, *, size=200, level=200, ground=20, stretch=1.0):
    """Discs of these radii (px) on a lattice of 40 px."""
    y, x = np.mgrid[:size, :size]
    image = np.full((size, size), ground, dtype=np.uint8)
    for number, radius in enumerate(radii):
        row, column = divmod(number, size // 40)
        inside = ((y - 20 - 40 * row) ** 2 / stretch**2 + (x - 20 - 40 * column) ** 2) < radius**2
        image[inside] = level
    return image


def named(image, mpp=0.5):
    return dict(zip(NUCLEUS_NAMES, nucleus_features(image, mpp=mpp), strict=True))


def test_discs_are_counted_and_measured_in_um():
    found = named(discs([6] * 25))
    assert found["per_mm2"] == pytest.approx(25 / 0.01, rel=1e-9)
    assert found["area_mean_um2"] == pytest.approx(np.pi * 9, rel=0.06)
    assert found["elongation_mean"] == pytest.approx(1, abs=0.02)
    assert found["extent_mean"] == pytest.approx(1, abs=0.03)
    assert found["neighbour_um_mean"] == pytest.approx(20)
    assert found["intensity_mean"] == pytest.approx(200, rel=0.03)


def test_area_scales_with_the_resolution():
    image = discs([8, 10, 12] * 8)
    fine, coarse = named(image, 0.25), named(image, 0.5)
    assert coarse["area_mean_um2"] == pytest.approx(4 * fine["area_mean_um2"])
    assert coarse["elongation_mean"] == fine["elongation_mean"]


def test_long_nuclei_are_elongated():
    assert named(discs([5] * 25, stretch=2.5))["elongation_mean"] == pytest.approx(2.5, rel=0.08)


def test_specks_are_no_nuclei():
    assert named(discs([1.2] * 25))["per_mm2"] == 0
    assert named(discs([6] * 10 + [1.2] * 15))["per_mm2"] == pytest.approx(10 / 0.01)


def test_an_image_without_contrast_has_no_nuclei():
    labels, limit = label_nuclei(np.random.default_rng(1).integers(40, 46, (64, 64)).astype(np.uint8), mpp=0.5)
    assert limit is None
    assert not labels.any()
    assert named(np.zeros((32, 32), dtype=np.uint8))["neighbour_um_mean"] == 128


def test_otsu_parts_two_groups():
    image = np.repeat(np.array([10, 12, 200, 202], dtype=np.uint8), 25).reshape(10, 10)
    limit, gap = otsu(image)
    assert 12 <= limit < 200
    assert gap == 190


def test_measures_are_per_nucleus():
    labels = np.zeros((20, 20), dtype=np.int32)
    labels[2:6, 2:6], labels[10:12, 5:15] = 1, 2
    stain = (labels * 50).astype(np.uint8)
    shapes = measure(labels, stain, mpp=1.0)
    assert shapes["area"].tolist() == [16, 20]
    assert shapes["centre"].tolist() == [[3.5, 3.5], [9.5, 10.5]]
    assert shapes["intensity"].tolist() == [50, 100]
    assert shapes["elongation"] == pytest.approx([1.0, 5.0])
