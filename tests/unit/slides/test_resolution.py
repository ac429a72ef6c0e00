import dataclasses

import pytest
from unit.slides.pretend import RESOLUTION

from histoweave.errors import InputError
from histoweave.slides.resolution import resolve


def found(properties, *, given=None, settings=RESOLUTION):
    made = resolve(properties, given=given, slide="S1", settings=settings)
    return round(made.mpp, 4), made.source


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.25"}, (0.25, "property")),
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.26"}, (0.255, "property")),
        ({"aperio.MPP": "0.4990"}, (0.499, "vendor")),
        ({"aperio.MPP": "0,4990"}, (0.499, "vendor")),
        ({"ome.mpp-x": "0.33", "ome.mpp-y": "0.33"}, (0.33, "ome")),
        (
            {"tiff.XResolution": "20000", "tiff.YResolution": "20000", "tiff.ResolutionUnit": "centimeter"},
            (0.5, "tiff"),
        ),
        ({"tiff.XResolution": "50800", "tiff.ResolutionUnit": "inch"}, (0.5, "tiff")),
        ({"openslide.mpp-x": "352.8", "tiff.XResolution": "40000", "tiff.ResolutionUnit": "cm"}, (0.25, "tiff")),
    ],
)
def test_each_source_is_read_and_named(properties, expected):
    assert found(properties) == expected


def test_the_table_stands_above_the_file_which_is_remembered():
    made = resolve({"openslide.mpp-x": "0.5"}, given=0.25, slide="S1", settings=RESOLUTION)
    assert (made.mpp, made.source, made.in_file) == (0.25, "table", 0.5)


def test_nan_in_the_table_is_no_value():
    assert found({"openslide.mpp-x": "0.5"}, given=float("nan")) == (0.5, "property")


def test_power_is_used_only_where_allowed():
    properties = {"openslide.objective-power": "40"}
    with pytest.raises(InputError, match="power of 40 suggests 0.25"):
        found(properties)
    assert found(properties, settings=dataclasses.replace(RESOLUTION, use_power=True)) == (0.25, "power")


@pytest.mark.parametrize(
    ("properties", "given", "text"),
    [
        ({}, None, "slide S1: the file gives no micrometres per pixel. Set 'mpp' for S1 in slides.tsv"),
        ({"openslide.mpp-x": "352.78"}, None, "is 352.8 um/px; believed are 0.05 to 4 um/px. Set 'mpp' for S1"),
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.5"}, None, "differs between its axes"),
        ({"openslide.mpp-x": "0.5"}, 25.0, "slides.tsv gives mpp 25"),
        ({"openslide.mpp-x": "0"}, None, "gives no micrometres"),
        ({"openslide.mpp-x": "nan"}, None, "gives no micrometres"),
    ],
)
def test_what_is_not_plausible_is_refused(properties, given, text):
    with pytest.raises(InputError, match=text):
        found(properties, given=given)
