from dataclasses import replace

import numpy as np
import openslide
import pytest
from scipy import ndimage

from histoweave.formats.simulate import write_slide
from histoweave.simulate.slide import DEFECTS, SECOND_SLIDE, plan_slides, pyramid, render, slide_truth


@pytest.fixture(scope="module")
def plans(cohort, settings):
    return plan_slides(cohort, seed=settings.seed)


def plan_of(plans, defect):
    return next(plan for plan in plans if plan.defect == defect)


@pytest.fixture(scope="module")
def shrunk():
    """Same slide, coarser: cheap to draw."""
    return lambda plan: replace(plan, mpp=1.0)


def test_every_patient_has_a_slide_and_one_has_two(plans, cohort):
    table = slide_truth(plans)
    per_patient = table["patient"].value_counts()
    assert set(per_patient.index) == set(cohort.patients["patient"])
    assert per_patient[per_patient == 2].index.tolist() == [f"P{SECOND_SLIDE:03d}"]
    assert sorted(table["defect"][table["defect"] != ""]) == sorted(DEFECTS.values())


def test_nuclei_carry_the_trait(plans, cohort):
    table = slide_truth(plans).merge(cohort.truth, on="patient")
    for column in ("nuclear_radius_um", "nuclei_per_mm2"):
        assert np.corrcoef(np.log(table[column]), table["trait"])[0, 1] > 0.9


def test_openslide_reads_levels_and_resolution(plans, tmp_path, shrunk, settings):
    plan = shrunk(plans[0])
    picture = render(plan, seed=settings.seed)
    write_slide(tmp_path / "a.tiff", pyramid(picture), mpp=plan.mpp, damaged=False)
    with openslide.OpenSlide(tmp_path / "a.tiff") as slide:
        assert slide.level_count == 3
        assert slide.level_downsamples == pytest.approx((1, 2, 4))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(plan.mpp, rel=1e-6)
        read = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")).astype(int)
    assert np.abs(read - picture).mean() < 6  # colours survive: no second turn into YCbCr


def test_slide_without_resolution_and_damaged_slide(plans, tmp_path, shrunk, settings):
    levels = pyramid(render(shrunk(plans[0]), seed=settings.seed))
    write_slide(tmp_path / "a.tiff", levels, mpp=None, damaged=False)
    with openslide.OpenSlide(tmp_path / "a.tiff") as slide:
        assert "openslide.mpp-x" not in slide.properties
        assert slide.level_count == 3
    write_slide(tmp_path / "b.tiff", levels, mpp=0.5, damaged=True)
    with pytest.raises(openslide.OpenSlideError):
        openslide.OpenSlide(tmp_path / "b.tiff")


def test_empty_slide_is_glass(plans, shrunk, settings):
    picture = render(shrunk(plan_of(plans, "empty")), seed=settings.seed)
    assert picture.min() > 230
    assert picture.std(axis=(0, 1)).max() < 1


def test_larger_trait_gives_larger_nuclei_in_the_picture(plans, shrunk, settings):
    areas = []
    for radius in (2.8, 4.6):
        plan = replace(shrunk(plans[0]), nuclear_radius_um=radius, nuclei_per_mm2=1500.0, mpp=0.5)
        red = render(plan, seed=settings.seed)[..., 0]
        labels, number = ndimage.label(ndimage.gaussian_filter(red.astype(float), 1) < 120)
        areas.append(np.median(ndimage.sum_labels(labels > 0, labels, range(1, number + 1))))
    assert areas[1] > 1.5 * areas[0]


def test_same_plan_same_bytes(plans, tmp_path, shrunk, settings):
    for name in ("a.tiff", "b.tiff"):
        write_slide(tmp_path / name, pyramid(render(shrunk(plans[3]), seed=settings.seed)), mpp=0.5, damaged=False)
    assert (tmp_path / "a.tiff").read_bytes() == (tmp_path / "b.tiff").read_bytes()
