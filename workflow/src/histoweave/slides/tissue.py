"""Which pixels of an overview are tissue: coloured, and not ink.

Tissue is told from glass by saturation, as fat is pale but not colourless. Ink is told from stain by
ratios of optical density: haematoxylin and eosin absorb green most, while green ink absorbs red more and
red ink absorbs blue nearly as much. Thresholds were set on real pixels of both (5th and 95th percentiles:
tissue blue/green <= 0.70 and red/green <= 0.76; red ink blue/green 0.76 to 0.95; green ink red/green 2.9 to 4).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import ndimage

from histoweave.errors import InputError

_GLASS_PERCENTILE = 95
_GLASS_LEAST = 200
_DARK = 128
_CLOSING_UM = 24.0
_MEDIAN_SIDE = 7


@dataclass(frozen=True)
class TissueSettings:
    """How tissue is found.

    mask_um : side of a mask pixel at most, um; minimum_saturation : 0 to 255, below is glass
    smallest_tissue_um2, smallest_hole_um2 : smaller specks are dropped, smaller holes filled
    ink_density : summed optical density from which a pixel may be ink
    ink_red_green, ink_blue_green : ratios of optical density above which it is ink
    smallest_ink_um2 : smaller patches of ink colour count as tissue (dark nuclei)
    outlines : folder of `{slide}.geojson` with outlines drawn by hand, which then stand instead; None: there are none
    """

    section: ClassVar[str] = "slides.tissue"
    mask_um: float
    minimum_saturation: int
    smallest_tissue_um2: float
    smallest_hole_um2: float
    ink_density: float
    ink_red_green: float
    ink_blue_green: float
    smallest_ink_um2: float
    outlines: str | None


@dataclass(frozen=True)
class Tissue:
    """Masks (row, column) bool over an overview: `tissue`, and the `ink` that was kept out of it."""

    tissue: np.ndarray
    ink: np.ndarray


def check_brightfield(pixels: np.ndarray) -> None:
    """Raise InputError for an overview (row, column, rgb) uint8 on a dark ground, as of a fluorescence scan."""
    brightest = pixels.max(axis=2)
    if np.percentile(brightest, _GLASS_PERCENTILE) < _DARK:
        msg = "the slide is dark nearly everywhere, as a fluorescence scan is. Give brightfield (H&E) slides only"
        raise InputError(msg)


def find_tissue(pixels: np.ndarray, *, um: float, settings: TissueSettings) -> Tissue:
    """Tissue and ink of an overview, (row, column, rgb) uint8 with pixels of `um`."""
    ink = find_ink(pixels, um=um, settings=settings)
    coloured = _majority(saturation(pixels) > settings.minimum_saturation)
    radius = max(round(_CLOSING_UM / um / 2), 1)
    closed = ndimage.binary_closing(np.pad(coloured, radius, mode="edge"), iterations=radius)
    mask = closed[radius:-radius, radius:-radius] & ~ink
    mask = drop_small(mask, smallest=settings.smallest_tissue_um2 / um**2)
    mask = fill_small_holes(mask, smallest=settings.smallest_hole_um2 / um**2) & ~ink
    return Tissue(mask, ink)


def _majority(mask: np.ndarray) -> np.ndarray:
    """Median of 7 x 7 pixels of a mask (row, column) bool, beyond the edge as at the edge."""
    share = ndimage.uniform_filter(mask.astype(np.float32), size=_MEDIAN_SIDE, mode="nearest")
    return share > 0.5


def find_ink(pixels: np.ndarray, *, um: float, settings: TissueSettings) -> np.ndarray:
    """Mask (row, column) of pen marks in an overview with pixels of `um`."""
    density = optical_density(pixels, white=glass_colour(pixels))
    density = ndimage.gaussian_filter(density, sigma=(1, 1, 0), mode="nearest")
    red, green, blue = np.moveaxis(density, 2, 0)
    odd = (red > settings.ink_red_green * green) | (blue > settings.ink_blue_green * green)
    found = (density.sum(axis=2) > settings.ink_density) & odd
    found = ndimage.binary_opening(found, np.ones((3, 3), dtype=bool))
    found = drop_small(found, smallest=settings.smallest_ink_um2 / um**2)
    return ndimage.binary_dilation(found, np.ones((5, 5), dtype=bool))


def glass_colour(pixels: np.ndarray) -> np.ndarray:
    """Colour (rgb,) of empty glass: the 95th percentile, at least 200."""
    flat = pixels.reshape(-1, pixels.shape[-1])
    histograms = [np.bincount(flat[:, channel], minlength=256).cumsum() for channel in range(3)]
    found = [np.searchsorted(h, _GLASS_PERCENTILE / 100 * h[-1]) for h in histograms]
    return np.maximum(found, _GLASS_LEAST).astype(np.float32)


def optical_density(pixels: np.ndarray, *, white: np.ndarray) -> np.ndarray:
    """-log10 of the transmitted light, (row, column, rgb) float32; 0 on glass of colour `white` (rgb,)."""
    levels = np.maximum(np.arange(256, dtype=np.float32), 1.0)
    table = np.maximum(np.log10(white[:, None] / levels), 0.0).astype(np.float32)  # (rgb, level)
    return np.stack([table[channel][pixels[..., channel]] for channel in range(3)], axis=-1)


def saturation(pixels: np.ndarray) -> np.ndarray:
    """HSV saturation (row, column) uint8 of pixels (row, column, rgb) uint8."""
    top = pixels.max(axis=2).astype(np.uint16)
    spread = top - pixels.min(axis=2)
    return (spread * 255 // np.maximum(top, 1)).astype(np.uint8)


def drop_small(mask: np.ndarray, *, smallest: float) -> np.ndarray:
    """`mask` without connected parts (8 neighbours) of fewer than `smallest` pixels."""
    labels, _ = ndimage.label(mask, np.ones((3, 3), dtype=bool))
    keep = np.bincount(labels.ravel()) >= smallest
    keep[0] = False
    return keep[labels]


def fill_small_holes(mask: np.ndarray, *, smallest: float) -> np.ndarray:
    """`mask` with enclosed holes of fewer than `smallest` pixels filled; glass that reaches the edge is no hole."""
    holes = ndimage.binary_fill_holes(mask) & ~mask
    return mask | (holes & ~drop_small(holes, smallest=smallest))


def intersection_over_union(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap of two masks: 1 where they are equal, 0 where they are apart; NaN where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else float("nan")
