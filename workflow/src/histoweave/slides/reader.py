"""Reading pixels of a slide: one interface, and the reader that goes through OpenSlide."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import openslide

from histoweave.errors import InputError
from histoweave.slides.associated import associated_levels
from histoweave.slides.resample import reduce_whole

MOST_PIXELS = 2**40
"""Larger sides than any scanner makes are a damaged header."""

_WHITE = 255


class UnreadablePart(Exception):
    """A part of a slide is damaged; other parts can still be read."""


@dataclass(frozen=True)
class Level:
    """One level of the pyramid: size in its own pixels, and level-0 pixels per pixel.

    halved : not stored, but decoded at half size from the level that has twice its pixels a side
    """

    width: int
    height: int
    downsample: float
    halved: bool = False


class Slide(Protocol):
    """An open slide. `read` gives white where the slide has no pixels; what it returns is shared, not to be changed."""

    reader: str
    levels: tuple[Level, ...]
    properties: Mapping[str, str]

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Pixels (row, column, rgb) uint8 of `level`; x, y, width and height in that level's pixels."""
        ...

    def read_halved(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Means of 2 x 2 pixels of `level`, (row, column, rgb) uint8; x, y, width and height count such means."""
        return reduce_whole(self.read(level, 2 * x, 2 * y, 2 * width, 2 * height), 2)

    def close(self) -> None:
        """Let go of the file."""
        ...


def exact_downsample(size0: tuple[int, int], size: tuple[int, int]) -> float:
    """Level-0 pixels per pixel of a level of `size` (width, height).

    Scanners reduce by whole numbers and round the level's size down or up; 2047 of 1024 pixels is a
    ratio of 1.9990, but the pixels are 2 apart. So the nearest whole number stands wherever it explains both sizes.
    """
    ratio = (size0[0] / size[0] + size0[1] / size[1]) / 2
    whole = max(round(ratio), 1)
    explained = all(abs(full - part * whole) < whole for full, part in zip(size0, size, strict=True))
    return float(whole) if explained else ratio


class OpenSlideReader(Slide):
    """A slide read by OpenSlide: every format that it knows, at its speed. Label and macro images are no level."""

    reader = "openslide"

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._handle = self._open()
        self.properties = dict(self._handle.properties)
        aperio = self.properties.get("openslide.vendor") == "aperio"
        hidden = associated_levels(path) if aperio else []
        self._numbers = [number for number in range(self._handle.level_count) if number not in hidden]
        if 0 in hidden:
            self._handle.close()
            msg = f"{Path(path).name} holds the photograph of a label or a glass in place of the slide; export it again"
            raise InputError(msg)
        size0 = self._handle.dimensions
        check_size(*size0, name=Path(path).name)
        sizes = [self._handle.level_dimensions[number] for number in self._numbers]
        self.levels = tuple(Level(*size, exact_downsample(size0, size)) for size in sizes)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """See `Slide.read`. Raises UnreadablePart for a damaged part; other parts can still be read."""
        # OpenSlide takes the corner in level-0 pixels by its own, unrounded downsample
        number = self._numbers[level]
        own = self._handle.level_downsamples[number]
        corner = (round(x * own), round(y * own))
        try:
            rgba = np.asarray(self._handle.read_region(corner, number, (width, height)))
        except openslide.OpenSlideError as error:
            # a handle repeats its first error for ever, so that the next part needs a new one
            self._handle.close()
            self._handle = self._open()
            raise UnreadablePart(str(error)) from error
        return on_white(rgba)

    def close(self) -> None:
        """See `Slide.close`."""
        self._handle.close()

    def _open(self) -> openslide.OpenSlide:
        try:
            return openslide.OpenSlide(self._path)
        except (openslide.OpenSlideError, OSError) as error:
            msg = f"{Path(self._path).name} cannot be opened as a slide ({error or type(error).__name__})"
            raise InputError(msg) from error


def on_white(rgba: np.ndarray) -> np.ndarray:
    """Pixels (row, column, rgba), alpha not premultiplied, laid on white: (row, column, rgb)."""
    alpha = rgba[..., 3:]
    if alpha.min(initial=_WHITE) == _WHITE:
        return np.ascontiguousarray(rgba[..., :3])
    share = alpha.astype(np.uint32)
    mixed = rgba[..., :3] * share + _WHITE * (_WHITE - share)
    return ((mixed + _WHITE // 2) // _WHITE).astype(np.uint8)


def check_size(width: int, height: int, *, name: str) -> None:
    """Raise InputError if a header claims a size that no slide has."""
    if width <= 0 or height <= 0 or width * height > MOST_PIXELS:
        msg = f"{name} claims {width} x {height} pixels; the file is damaged, scan or export it again"
        raise InputError(msg)
