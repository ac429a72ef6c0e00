"""Nuclei of a tile: found by threshold in the haematoxylin image, described in micrometres."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from histoweave.slides.kernels import count_levels, sum_parts

NUCLEUS_NAMES = (
    "per_mm2",
    "area_share",
    "area_mean_um2",
    "area_sd_um2",
    "area_q10_um2",
    "area_q50_um2",
    "area_q90_um2",
    "extent_mean",
    "extent_sd",
    "elongation_mean",
    "elongation_sd",
    "elongation_q90",
    "intensity_mean",
    "intensity_sd",
    "contrast",
    "texture",
    "neighbour_um_mean",
    "neighbour_um_sd",
)
SMALLEST_UM2 = 8.0
LEAST_CONTRAST = 12  # grey levels of haematoxylin between nuclei and what surrounds them
NO_NEIGHBOUR_UM = 128.0


def nucleus_features(stain: np.ndarray, *, mpp: float) -> np.ndarray:
    """18 features (see `NUCLEUS_NAMES`) of a haematoxylin image (row, column) uint8 at `mpp` um/px."""
    labels, limit = label_nuclei(stain, mpp=mpp)
    if limit is None or not labels.max():
        out = np.zeros(len(NUCLEUS_NAMES))
        out[-2] = NO_NEIGHBOUR_UM
        return out
    shapes = measure(labels, stain, mpp=mpp)
    area, long, filled, dark, spread = (shapes[k] for k in ("area", "elongation", "extent", "intensity", "texture"))
    tile_um2 = stain.size * mpp**2
    apart = _nearest(shapes["centre"])
    outside = stain[labels == 0]
    return np.array(
        [
            len(area) / (tile_um2 / 1e6),
            area.sum() / tile_um2,
            area.mean(),
            area.std(),
            *np.quantile(area, (0.1, 0.5, 0.9)),
            filled.mean(),
            filled.std(),
            long.mean(),
            long.std(),
            np.quantile(long, 0.9),
            dark.mean(),
            dark.std(),
            dark.mean() - (outside.mean() if outside.size else 0.0),
            spread.mean(),
            apart.mean(),
            apart.std(),
        ]
    )


def label_nuclei(stain: np.ndarray, *, mpp: float) -> tuple[np.ndarray, int | None]:
    """Labels (row, column) of nuclei, 0 elsewhere, and the threshold; None where nothing stands out."""
    smooth = _smooth(stain)
    limit, contrast = otsu(smooth)
    if contrast < LEAST_CONTRAST:
        return np.zeros(stain.shape, dtype=np.int32), None
    labels, count = ndimage.label(smooth > limit)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes * mpp**2 >= SMALLEST_UM2
    keep[0] = False
    number = np.where(keep, keep.cumsum(), 0).astype(np.int32)
    return number[labels], limit


def _smooth(image: np.ndarray) -> np.ndarray:
    """Binomial 3 x 3 mean of an image uint8, as uint8."""
    wide = np.pad(image, 1, mode="edge").astype(np.uint16)
    lines = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    return ((lines[:, :-2] + 2 * lines[:, 1:-1] + lines[:, 2:] + 8) >> 4).astype(np.uint8)


def otsu(image: np.ndarray) -> tuple[int, float]:
    """Otsu's threshold of a uint8 image, and the difference of the two sides' means."""
    counts = count_levels(image).astype(np.float64)
    below, total = counts.cumsum(), counts.sum()
    sums = (counts * np.arange(256)).cumsum()
    above = total - below
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = (sums[-1] - sums) / above - sums / below
        between = np.where((below > 0) & (above > 0), below * above * gap**2, -1.0)
    best = int(between.argmax())
    return best, float(gap[best]) if between[best] > 0 else 0.0


def measure(labels: np.ndarray, stain: np.ndarray, *, mpp: float) -> dict[str, np.ndarray]:
    """Per nucleus: `area` um2, `centre` (nucleus, xy) um, `elongation` (axis ratio), `extent`, `intensity`, `texture`.

    extent : area over that of the ellipse with the same second moments, 1 for an ellipse
    """
    sums = sum_parts(labels, stain, int(labels.max())).astype(np.float64)
    pixels = sums[:, 0]
    mean_x, mean_y, mean_xx, mean_yy, mean_xy, mean_v, mean_vv = (sums[:, 1:] / pixels[:, None]).T
    xx = mean_xx - mean_x**2 + 1 / 12  # a pixel has an extent of its own
    yy = mean_yy - mean_y**2 + 1 / 12
    xy = mean_xy - mean_x * mean_y
    root = np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    middle = (xx + yy) / 2
    small = np.maximum(middle - root, 1 / 12)
    variance = mean_vv - mean_v**2
    return {
        "area": pixels * mpp**2,
        "centre": np.column_stack([mean_x, mean_y]) * mpp,
        "elongation": np.sqrt((middle + root) / small),
        "extent": pixels / (4 * np.pi * np.sqrt((middle + root) * small)),
        "intensity": mean_v,
        "texture": np.sqrt(np.maximum(variance, 0.0)),
    }


def _nearest(centre: np.ndarray) -> np.ndarray:
    if len(centre) < 2:
        return np.array([NO_NEIGHBOUR_UM])
    distance, _ = cKDTree(centre).query(centre, k=2)
    return distance[:, 1]
