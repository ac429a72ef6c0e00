"""A slide as an image pyramid that a browser can open from disk (Deep Zoom layout)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

_STRIP_PX = 512


@dataclass(frozen=True)
class ViewerSettings:
    """Slides of the heatmap cases as pages to zoom in.

    enabled : whether to make them; longest_px : longest side of the finest level, px
    tile_px : side of a piece, px; jpeg_quality : 1 to 95
    """

    section: ClassVar[str] = "report.viewer"
    enabled: bool
    longest_px: int
    tile_px: int
    jpeg_quality: int


class ScanLevel(Protocol):
    """One level of a scan: its size in its own pixels, and level-0 pixels per pixel."""

    width: int
    height: int
    downsample: float


class Scan(Protocol):
    """An open slide."""

    levels: Sequence[ScanLevel]

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Pixels (row, column, rgb) uint8 of `level`; x, y, width and height in that level's pixels."""
        ...


def whole_image(scan: Scan, *, longest_px: int) -> tuple[np.ndarray, float]:
    """Whole slide as one image (row, column, rgb) uint8, longest side at most `longest_px`; level-0 px per pixel.

    Reads the coarsest level that is fine enough, in strips, and shrinks it by a whole number.
    """
    fine = [k for k, level in enumerate(scan.levels) if max(level.width, level.height) >= longest_px]
    chosen = max(fine, key=lambda k: scan.levels[k].downsample, default=0)
    level = scan.levels[chosen]
    factor = math.ceil(max(level.width, level.height) / longest_px)
    step = factor * max(1, _STRIP_PX // factor)
    strips = [
        shrink(scan.read(chosen, 0, top, level.width, min(step, level.height - top)), factor)
        for top in range(0, level.height, step)
    ]
    return np.concatenate(strips), level.downsample * factor


def shrink(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Mean of blocks of `factor` x `factor` pixels (row, column, rgb); the last row and column are repeated to fill."""
    if factor == 1:
        return pixels
    rows, columns, colours = pixels.shape
    filled = np.pad(pixels, ((0, -rows % factor), (0, -columns % factor), (0, 0)), mode="edge")
    blocks = filled.reshape(filled.shape[0] // factor, factor, filled.shape[1] // factor, factor, colours)
    return np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)


def finest_level(width: int, height: int) -> int:
    """Number of the finest level; level 0 is a single pixel."""
    return math.ceil(math.log2(max(width, height, 1)))


def pieces(image: np.ndarray, *, tile_px: int) -> Iterator[tuple[int, int, int, np.ndarray]]:
    """Yield (level, column, row, pixels) of every piece of the pyramid, the finest level first."""
    for level in range(finest_level(image.shape[1], image.shape[0]), -1, -1):
        for row, top in enumerate(range(0, image.shape[0], tile_px)):
            for column, left in enumerate(range(0, image.shape[1], tile_px)):
                yield level, column, row, image[top : top + tile_px, left : left + tile_px]
        image = shrink(image, 2)
