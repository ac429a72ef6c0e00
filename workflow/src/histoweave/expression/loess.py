"""Local quadratic regression in one dimension, with the interpolation of R's ``loess`` (Cleveland and Grosse 1991).

The regression is solved at a few vertices only, found by halving the points until a cell holds at most
``span * 0.2 * n`` of them; between vertices the value and slope there are joined by a cubic. Numbers follow
R's defaults (``degree = 2, family = "gaussian", surface = "interpolate"``), so genes rank as in Seurat.
"""

import numpy as np

_CELL = 0.2
_MARGIN = 0.005
_NEAR = 0.001


def loess(x: np.ndarray, y: np.ndarray, *, span: float) -> np.ndarray:
    """Fitted values (point,) of `y` on `x`, each (point,); `span` is the share of points in a neighbourhood."""
    order = np.argsort(x, kind="stable")
    ordered, values = x[order], y[order]
    vertices = _vertices(ordered, most=int(np.floor(len(x) * span * _CELL)))
    nearest = int(np.floor(len(x) * span + 1e-5))
    fits = np.array([_local_fit(ordered, values, vertex, nearest) for vertex in vertices])
    fitted = np.empty(len(x))
    fitted[order] = _blend(ordered, vertices, fits[:, 0], fits[:, 1])
    return fitted


def _vertices(x: np.ndarray, *, most: int) -> np.ndarray:
    """Ends of the widened range and the points that part cells of at most `most` points; `x` is sorted."""
    low, high = x[0], x[-1]
    margin = _MARGIN * max(high - low, max(abs(low), abs(high)) * 1e-3 + 1e-30)
    cuts = {low - margin, high + margin}
    cells = [(0, len(x) - 1)]
    while cells:
        first, last = cells.pop()
        middle = _middle(x, first, last)
        if last - first + 1 <= most or middle is None:
            continue
        cuts.add(x[middle])
        cells += [(first, middle), (middle + 1, last)]
    return np.array(sorted(cuts))


def _middle(x: np.ndarray, first: int, last: int) -> int | None:
    """Position nearest to the middle after which the value changes; None if all values are equal."""
    middle = (first + 1 + last + 1) // 2 - 1
    offset = 0
    while first <= middle + offset < last:
        if x[middle + offset] != x[middle + offset + 1]:
            return middle + offset
        offset = -offset + 1 if offset <= 0 else -offset
    return None


def _local_fit(x: np.ndarray, y: np.ndarray, at: float, nearest: int) -> tuple[float, float]:
    """Value and slope at `at` of a quadratic fitted with tricube weights to the `nearest` points."""
    distance = np.abs(x - at)
    radius = np.partition(distance, nearest - 1)[nearest - 1]
    share = distance / radius
    weight = np.where(share < 1, (1 - share**3) ** 3, 0.0)
    weight[share <= _NEAR] = 1.0
    root = np.sqrt(weight[weight > 0])
    d = x[weight > 0] - at
    design = np.column_stack([np.ones(len(d)), d, d * d]) * root[:, None]
    solution = np.linalg.lstsq(design, y[weight > 0] * root, rcond=None)[0]
    return float(solution[0]), float(solution[1])


def _blend(x: np.ndarray, vertices: np.ndarray, value: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Cubic between the two vertices around each point, with their values and slopes."""
    right = np.clip(np.searchsorted(vertices, x, side="left"), 1, len(vertices) - 1)
    left = right - 1
    width = vertices[right] - vertices[left]
    t = (x - vertices[left]) / width
    h00, h01 = (1 - t) ** 2 * (1 + 2 * t), t**2 * (3 - 2 * t)
    h10, h11 = t * (1 - t) ** 2, -(t**2) * (1 - t)
    return h00 * value[left] + h01 * value[right] + (h10 * slope[left] + h11 * slope[right]) * width
