import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import approximate_polygon, find_contours

from histoweave.errors import InputError
from histoweave.slides.outline import _bends, from_geojson, to_geojson, to_mask, to_polygons
from histoweave.slides.tissue import intersection_over_union


def blobs(seed):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((90, 130)), 6)
    return field > np.quantile(field, 0.6)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_mask_survives_the_way_to_polygons_and_back(seed):
    mask = blobs(seed)
    polygons = to_polygons(mask, downsample=16.0)
    back = to_mask(polygons, shape=mask.shape, downsample=16.0)
    assert intersection_over_union(mask, back) > 0.98


def test_a_box_with_a_hole_has_two_rings_on_the_pixels_edges():
    mask = np.zeros((10, 10), dtype=bool)
    mask[1:9, 2:8] = True
    mask[4:6, 4:6] = False
    ((outer, hole),) = to_polygons(mask, downsample=4.0)
    # contours cut corners by half a pixel
    assert outer.min(axis=0).tolist() == [8, 4]
    assert outer.max(axis=0).tolist() == [32, 36]
    assert hole.min(axis=0).tolist() == [16, 16]
    assert hole.max(axis=0).tolist() == [24, 24]
    assert (outer[0] == outer[-1]).all()


def test_a_part_in_the_hole_of_another_has_its_own_rings():
    mask = np.zeros((20, 20), dtype=bool)
    mask[2:18, 2:18] = True
    mask[4:16, 4:16] = False
    mask[6:14, 6:14] = True
    mask[9:11, 9:11] = False
    mask[0, 0] = True
    sides = [[(ring.min(), ring.max()) for ring in rings] for rings in to_polygons(mask, downsample=1.0)]
    assert sides == [[(0, 1)], [(2, 18), (4, 16)], [(6, 14), (9, 11)]]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rings_stay_close_to_every_edge_and_are_as_short_as_skimage_makes_them(seed):
    mask = blobs(seed)
    for contour in find_contours(np.pad(mask, 1).astype(float), 0.5, fully_connected="high"):
        kept, peer = np.flatnonzero(_bends(contour, 0.45)), approximate_polygon(contour, 0.45)
        assert 4 <= len(kept) <= 1.1 * len(peer) + 1
        for first, last in zip(kept, kept[1:], strict=False):
            begin, way = contour[first], contour[last] - contour[first]
            share = np.clip((contour[first : last + 1] - begin) @ way / max(way @ way, 1e-12), 0, 1)
            assert np.linalg.norm(begin + share[:, None] * way - contour[first : last + 1], axis=1).max() <= 0.45


def test_parts_become_features_that_qupath_reads():
    mask = np.zeros((10, 20), dtype=bool)
    mask[2:5, 2:5] = mask[6:9, 12:18] = True
    content = to_geojson(to_polygons(mask, downsample=1.0), name="Tissue")
    assert content["type"] == "FeatureCollection"
    assert [f["id"] for f in content["features"]] == ["Tissue-0", "Tissue-1"]
    assert all(f["properties"]["classification"] == {"name": "Tissue"} for f in content["features"])
    back = to_mask(from_geojson(content, name="a.geojson"), shape=mask.shape, downsample=1.0)
    assert (back == mask).all()


def test_no_tissue_gives_no_features():
    assert to_geojson(to_polygons(np.zeros((4, 4), dtype=bool), downsample=1.0), name="Tissue")["features"] == []


RING = [[0, 0], [8, 0], [8, 8], [0, 8], [0, 0]]


@pytest.mark.parametrize(
    "content",
    [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [RING]}},
        [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [RING]}}],
        {"features": [{"geometry": {"type": "MultiPolygon", "coordinates": [[RING]]}}]},
    ],
)
def test_the_forms_of_geojson_are_read(content):
    (polygon,) = from_geojson(content, name="a.geojson")
    assert polygon[0].tolist() == RING


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"features": []}, "a.geojson holds no polygon"),
        ({"features": [{"geometry": {"type": "Point", "coordinates": [1, 2]}}]}, "a.geojson holds no polygon"),
        ({"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}, "at least three points"),
        ({"geometry": {"type": "Polygon", "coordinates": [[["a", 0], [1, 1], [2, 2]]]}}, "at least three points"),
        ({"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, float("nan")], [2, 2]]]}}, "three points"),
    ],
)
def test_what_is_no_polygon_is_refused(content, text):
    with pytest.raises(InputError, match=text):
        from_geojson(content, name="a.geojson")
