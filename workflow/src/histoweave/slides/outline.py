"""Masks as polygons and back, in level-0 pixels, for QuPath and other viewers."""

from collections.abc import Mapping, Sequence

import numpy as np
from numba import njit
from scipy import ndimage
from skimage.draw import polygon
from skimage.measure import find_contours

from histoweave.errors import InputError

_CONNECT_ALL = np.ones((3, 3), dtype=bool)
_SIMPLIFY = 0.45  # mask pixels; less than half a diagonal, which a lone pixel needs


def to_polygons(mask: np.ndarray, *, downsample: float) -> list[list[np.ndarray]]:
    """Polygons of a mask (row, column): one per connected part, as rings (point, xy) in level-0 px, outer ring first.

    downsample : level-0 px per mask px. Rings are closed: their last point is their first.
    """
    labels, count = ndimage.label(np.pad(mask, 1), _CONNECT_ALL)
    polygons: list[list[np.ndarray]] = [[] for _ in range(count)]
    for contour in find_contours((labels > 0).astype(np.float32), 0.5, fully_connected="high"):
        start = contour[0]  # halfway between a pixel of the part and one beside it
        part = max(labels[tuple(np.floor(start).astype(int))], labels[tuple(np.ceil(start).astype(int))])
        points = contour[_bends(contour, _SIMPLIFY)][:, ::-1]
        ring = (points - 0.5) * downsample  # a pixel's centre lies half a pixel inside; one pixel of padding
        polygons[part - 1].insert(0 if _is_outer(contour) else len(polygons[part - 1]), ring)
    return polygons


def _is_outer(contour: np.ndarray) -> bool:
    """Whether a closed contour (point, row and column) has the part inside; the winding of a hole's is the other."""
    row, column = contour[:-1].T
    return float(np.dot(column, np.roll(row, -1)) - np.dot(row, np.roll(column, -1))) > 0


@njit(cache=True)
def _bends(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Which of `points` (point, 2) of a line keep it within `tolerance` (doi:10.3138/FM57-6770-U75U-7727), as bool.

    The ends stay; of a ring they are one point, and the first bend is the point farthest from it.
    """
    keep = np.zeros(len(points), dtype=np.bool_)
    keep[0] = keep[-1] = True
    stack = [(0, len(points) - 1)]
    while stack:
        first, last = stack.pop()
        across, down = points[last, 1] - points[first, 1], points[last, 0] - points[first, 0]
        length = np.hypot(across, down)
        farthest, place = tolerance, -1
        for here in range(first + 1, last):
            right, below = points[here, 1] - points[first, 1], points[here, 0] - points[first, 0]
            along = right * across + below * down
            if length > 0 and 0 < along < length * length:
                distance = abs(right * down - below * across) / length
            elif length > 0 and along > 0:
                distance = np.hypot(points[here, 1] - points[last, 1], points[here, 0] - points[last, 0])
            else:
                distance = np.hypot(right, below)
            if distance > farthest:
                farthest, place = distance, here
        if place >= 0:
            keep[place] = True
            stack.append((first, place))
            stack.append((place, last))
    return keep


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
