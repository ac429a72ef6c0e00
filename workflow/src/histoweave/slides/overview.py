"""The whole slide at low resolution, read in strips so that memory does not grow with the slide."""

from dataclasses import dataclass

import numpy as np

from histoweave.errors import InputError
from histoweave.slides.reader import Slide, UnreadablePart
from histoweave.slides.resample import reduce_whole

_STRIP_PIXELS = 2**24  # 50 MB of rgb
_MOST_PIXELS = 2**27
_PIECE = 256


@dataclass(frozen=True)
class Overview:
    """Pixels (row, column, rgb) uint8 of the whole slide; `downsample` level-0 pixels per pixel.

    unreadable : share of the slide that could not be read and is white here
    """

    pixels: np.ndarray
    downsample: float
    unreadable: float = 0.0


def read_overviews(slide: Slide, *, mpp: float, mask_um: float, thumbnail_px: int) -> tuple[Overview, Overview]:
    """Overview for the tissue mask, at most `mask_um` per pixel, and thumbnail of at most `thumbnail_px`.

    The level is read once: the finer of both is reduced by whole numbers to the coarser.
    """
    level0 = slide.levels[0]
    for_mask = max(mask_um / mpp, 1.0)
    for_thumbnail = float(np.ceil(max(level0.width, level0.height) / thumbnail_px))
    base = _read(slide, min(for_mask, for_thumbnail))
    mask = _reduce(base, int(for_mask / base.downsample + 1e-6))
    thumbnail = _reduce(base, int(np.ceil(max(base.pixels.shape[:2]) / thumbnail_px)))
    return mask, thumbnail


def _read(slide: Slide, downsample: float) -> Overview:
    """Slide at the largest possible downsample that is not above `downsample`."""
    # never a halved level: the mask is the same however tiles are decoded
    stored = [(number, level) for number, level in enumerate(slide.levels) if not level.halved]
    fits = [number for number, level in stored if level.downsample <= downsample * 1.001]
    number = fits[-1] if fits else 0
    level = slide.levels[number]
    factor = max(int(downsample / level.downsample + 1e-6), 1)
    size = -(-level.width // factor), -(-level.height // factor)
    if size[0] * size[1] > _MOST_PIXELS:
        msg = f"an overview would have {size[0]} x {size[1]} pixels. Raise slides.tissue.mask_um"
        raise InputError(msg)
    pixels, unreadable = np.empty((size[1], size[0], 3), dtype=np.uint8), 0.0
    rows = max(_STRIP_PIXELS // max(level.width, 1) // factor, 1)  # rows of the overview per strip
    for row in range(0, size[1], rows):
        height = min(rows * factor, level.height - row * factor)
        strip, lost = _read_strip(slide, number, row * factor, height)
        pixels[row : row + rows] = reduce_whole(strip, factor)
        unreadable += lost / level.height
    return Overview(pixels, level.downsample * factor, unreadable)


def _read_strip(slide: Slide, number: int, top: int, height: int) -> tuple[np.ndarray, float]:
    """Strip (row, column, rgb) over the whole width of a level, and how many of its rows' worth could not be read."""
    width = slide.levels[number].width
    try:
        return slide.read(number, 0, top, width, height), 0.0
    except UnreadablePart:
        strip = np.full((height, width, 3), 255, dtype=np.uint8)
    lost = 0
    for y in range(0, height, _PIECE):
        for x in range(0, width, _PIECE):
            high, wide = min(_PIECE, height - y), min(_PIECE, width - x)
            try:
                strip[y : y + high, x : x + wide] = slide.read(number, x, top + y, wide, high)
            except UnreadablePart:
                lost += high * wide
    return strip, lost / width


def _reduce(overview: Overview, factor: int) -> Overview:
    factor = max(factor, 1)
    return Overview(reduce_whole(overview.pixels, factor), overview.downsample * factor, overview.unreadable)
