"""How good a tile is: sharpness and tissue folds, both relative to its own slide.

Stains and scanners differ more between slides than focus does within one, so that a tile is compared with the
median of its slide and not with a number for all.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import ndimage

_TINY = 1e-6
_FOLD_PERCENTILE = 99
_FOLD_WINDOW = 9


@dataclass(frozen=True)
class QualitySettings:
    """Which tiles are fit for use.

    minimum_sharpness : share of the slide's median sharpness; lower is out of focus
    maximum_fold : share of a tile that may lie in a fold
    most_bad_share : share of unreadable tiles above which the slide fails
    """

    section: ClassVar[str] = "slides.quality"
    minimum_sharpness: float
    maximum_fold: float
    most_bad_share: float


def sharpness(tile: np.ndarray) -> float:
    """Energy of the Laplacian per energy of the gradient of the green channel's optical density.

    tile : (row, column, rgb) uint8. Falls when an image is blurred; does not change with the strength of the stain.
    """
    density = green_density(tile)
    centre = density[1:-1, 1:-1]
    laplacian = density[:-2, 1:-1] + density[2:, 1:-1] + density[1:-1, :-2] + density[1:-1, 2:] - 4 * centre
    down, right = density[2:, 1:-1] - density[:-2, 1:-1], density[1:-1, 2:] - density[1:-1, :-2]
    steep = float(np.vdot(down, down)) + float(np.vdot(right, right))
    return float(np.vdot(laplacian, laplacian)) / (steep + _TINY * density.size)


def green_density(pixels: np.ndarray) -> np.ndarray:
    """Optical density (row, column) float32 of the green channel, which both stains absorb."""
    table = -np.log10(np.maximum(np.arange(256), 1) / 255).astype(np.float32)
    return table[pixels[..., 1]]


def fold_mask(pixels: np.ndarray, *, tissue: np.ndarray) -> np.ndarray:
    """Folds in an overview: denser than 99 % of the slide's tissue, and evenly so.

    pixels : (row, column, rgb) uint8; tissue : (row, column). Returns (row, column) bool. A slide whose densest
    hundredth is no denser than twice its median has none.
    """
    density = green_density(pixels)
    inside = density[tissue]
    if not inside.size:
        return np.zeros_like(tissue)
    limit = max(float(np.percentile(inside, _FOLD_PERCENTILE)) * 0.9, 2 * float(np.median(inside)))
    mean = ndimage.uniform_filter(density, _FOLD_WINDOW // 3, mode="nearest")
    return ndimage.binary_opening((mean >= limit) & tissue, np.ones((3, 3), dtype=bool))


def judge(tiles: pd.DataFrame, *, settings: QualitySettings) -> pd.Series:
    """Status of each tile by its `sharpness` (NaN: could not be read) and `fold_fraction`.

    One of ok, blurred, folded, unreadable.
    """
    status = pd.Series("ok", index=tiles.index)
    median = tiles["sharpness"].median()
    status[tiles["fold_fraction"] > settings.maximum_fold] = "folded"
    status[tiles["sharpness"] < settings.minimum_sharpness * median] = "blurred"
    status[tiles["sharpness"].isna()] = "unreadable"
    return status
