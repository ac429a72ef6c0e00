"""Masks as polygons and back, in level-0 pixels, for QuPath and other viewers."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage
from skimage.draw import polygon
from skimage.measure import approximate_polygon, find_contours

from histoweave.errors import InputError

_CONNECT_ALL = np.ones((3, 3), dtype=bool)
_SIMPLIFY = 0.5  # mask pixels


def to_polygons(mask: np.ndarray, *, downsample: float) -> list[list[np.ndarray]]:
    """Polygons of a mask (row, column): one per connected part, as rings (point, xy) in level-0 px, outer ring first.

    downsample : level-0 px per mask px. Rings are closed: their last point is their first.
    """
    labels, _ = ndimage.label(mask, _CONNECT_ALL)
    polygons = []
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[place] == number
        corner = np.array([place[1].start, place[0].start])
        filled = ndimage.binary_fill_holes(part)
        rings = [_ring(filled)]
        holes, count = ndimage.label(filled & ~part)
        rings += [_ring(holes == hole) for hole in range(1, count + 1)]
        polygons.append([(ring + corner) * downsample for ring in rings])
    return polygons


def _ring(part: np.ndarray) -> np.ndarray:
    """Outline (point, xy) of one connected part without holes, in its pixels' edges."""
    contours = find_contours(np.pad(part, 1).astype(np.float32), 0.5, fully_connected="high")
    longest = max(contours, key=len)
    points = approximate_polygon(longest, tolerance=_SIMPLIFY)
    return points[:, ::-1] - 0.5  # a pixel's centre lies half a pixel inside; one pixel of padding


def to_geojson(polygons: Sequence[Sequence[np.ndarray]], *, name: str) -> dict:
    """GeoJSON FeatureCollection of `polygons` as QuPath reads it; each feature is one piece of class `name`."""
    features = [
        {
            "type": "Feature",
            "id": f"{name}-{number}",
            "geometry": {"type": "Polygon", "coordinates": [np.round(ring, 1).tolist() for ring in rings]},
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }
        for number, rings in enumerate(polygons)
    ]
    return {"type": "FeatureCollection", "features": features}


def from_geojson(content: Mapping, *, name: str) -> list[list[np.ndarray]]:
    """Polygons (rings of (point, xy)) of a GeoJSON FeatureCollection, Feature or list of features.

    Raises InputError, naming the file `name`, where there is no polygon or a ring is no ring.
    """
    features = content if isinstance(content, list) else content.get("features", [content])
    geometries = [feature.get("geometry") or {} for feature in features if isinstance(feature, Mapping)]
    parts: list = []
    for geometry in geometries:
        if geometry.get("type") == "Polygon":
            parts.append(geometry.get("coordinates", []))
        elif geometry.get("type") == "MultiPolygon":
            parts += geometry.get("coordinates", [])
    polygons = [[_checked(ring, name=name) for ring in rings] for rings in parts]
    if not polygons:
        msg = f"{name} holds no polygon. Export the annotations from QuPath as GeoJSON FeatureCollection"
        raise InputError(msg)
    return polygons


def _checked(ring: object, *, name: str) -> np.ndarray:
    try:
        points = np.asarray(ring, dtype=np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] < 2 or len(points) < 3 or not np.isfinite(points).all():
        msg = f"{name}: a polygon's ring is not a list of at least three points x, y"
        raise InputError(msg)
    return points[:, :2]


def to_mask(polygons: Sequence[Sequence[np.ndarray]], *, shape: tuple[int, int], downsample: float) -> np.ndarray:
    """Mask (row, column) of `shape` whose pixels have their centre in a polygon and in none of its holes."""
    mask = np.zeros(shape, dtype=bool)
    for outer, *holes in polygons:
        part = _fill(outer, shape, downsample)
        for hole in holes:
            part &= ~_fill(hole, shape, downsample)
        mask |= part
    return mask


def _fill(ring: np.ndarray, shape: tuple[int, int], downsample: float) -> np.ndarray:
    inside = np.zeros(shape, dtype=bool)
    inside[polygon(ring[:, 1] / downsample - 0.5, ring[:, 0] / downsample - 0.5, shape)] = True
    return inside
