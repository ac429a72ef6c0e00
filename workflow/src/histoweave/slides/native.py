"""Reading the tiles of a TIFF slide as they are stored, at the speed of the decoder.

OpenSlide spends four fifths of its time on compositing, not on decoding. Where a slide is a plain grid of tiles,
they are decoded here instead, to the same pixels bit for bit: Aperio (JPEG YCbCr, JPEG RGB with shared tables,
JPEG 2000 RGB), generic tiled TIFF and OME-TIFF. Everything else, and every slide with an unusual part (a missing
tile, alpha, another number of channels), is OpenSlide's. Label and macro images are no level and are never read.
"""

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from histoweave.slides.reader import Level, UnreadablePart, check_size, exact_downsample

_JPEG, _J2K_RGB = 7, (33005, 34712)
_LOSSLESS = (1, 5, 8, 32946, 50000)  # none, LZW, deflate, Adobe deflate, zstd
_RGB, _YCBCR = 2, 6
_CACHE_BYTES = 256 * 2**20  # two rows of tiles of a slide 160,000 px wide
_UM = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}


class NotNative(Exception):
    """A slide that `NativeReader` does not read; OpenSlide may."""


@dataclass(frozen=True)
class Stored:
    """Where a level's tiles lie in the file, and what decodes one: (bytes, number) -> (row, column, rgb) or None."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    offsets: Sequence[int]
    counts: Sequence[int]
    decode: Callable[[bytes, int], np.ndarray | None]

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self.tile_width)

    @property
    def two_rows(self) -> int:
        """Bytes of two rows of tiles and a little more: what a walk along rows goes back to."""
        return 2 * (self.columns + 2) * self.tile_width * self.tile_height * 3


class NativeReader:
    """A tiled TIFF slide read tile by tile; see `histoweave.slides.reader.Slide`.

    levels : sizes (width, height) that OpenSlide gives, so that both readers have the same levels; None takes the
    pyramid that the file itself declares (OME-TIFF keeps its levels where OpenSlide does not look)
    """

    reader = "native"

    def __init__(
        self, path: str | Path, *, levels: Sequence[tuple[int, int]] | None, properties: Mapping[str, str]
    ) -> None:
        try:
            self._file = tifffile.TiffFile(path)
        except (tifffile.TiffFileError, OSError, ValueError) as error:
            raise NotNative(str(error)) from error
        try:
            pages = self._pages(levels)
            for page in pages:
                _check_page(page)
        except NotNative:
            self._file.close()
            raise
        self._stored = [_stored(page) for page in pages]
        self._descriptor = self._file.filehandle.fileno()
        sizes = [(page.imagewidth, page.imagelength) for page in pages]
        check_size(*sizes[0], name=Path(path).name)
        self.levels = tuple(Level(*size, exact_downsample(sizes[0], size)) for size in sizes)
        self.properties = dict(properties) | self._own_properties(pages[0])
        self._cache: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._cached = 0

    def _pages(self, levels: Sequence[tuple[int, int]] | None) -> list[tifffile.TiffPage]:
        """Page of each level: those of the sizes in `levels`, or the first series' own pyramid."""
        if levels is None:
            series = self._file.series[0]
            if any(len(level.pages) != 1 for level in series.levels):
                msg = "one level is several pages"
                raise NotNative(msg)
            return [level.pages[0].aspage() for level in series.levels]
        found: dict[tuple[int, int], tifffile.TiffPage] = {}
        for page in self._file.pages:
            page = page.aspage()  # noqa: PLW2901 frames are read as pages
            if page.is_tiled:
                found.setdefault((page.imagewidth, page.imagelength), page)
        if any(tuple(size) not in found for size in levels):
            msg = "a level is not one tiled page"
            raise NotNative(msg)
        return [found[tuple(size)] for size in levels]

    def _own_properties(self, page: tifffile.TiffPage) -> dict[str, str]:
        own: dict[str, str] = {}
        if "XResolution" in page.tags and page.resolutionunit > 1:
            unit = {2: "inch", 3: "centimeter"}[int(page.resolutionunit)]
            own |= {"tiff.ResolutionUnit": unit}
            own |= {f"tiff.{axis}Resolution": str(value) for axis, value in zip("XY", page.resolution, strict=True)}
        if self._file.is_ome:
            own |= ome_resolution(self._file.ome_metadata or "")
        found = re.search(r"\|\s*MPP\s*=\s*([0-9.,]+)", page.description)
        return own | ({"aperio.MPP": found[1]} if found else {})

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """See `Slide.read`. Raises UnreadablePart for a damaged tile."""
        stored = self._stored[level]
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, stored.width), min(y + height, stored.height)
        inside = (left, top, right, bottom) == (x, y, x + width, y + height)
        high, wide = stored.tile_height, stored.tile_width
        if inside and (width, height) == (wide, high) and x % wide == 0 and y % high == 0:
            return self._decode(stored, (y // high) * stored.columns + x // wide)
        out = np.empty((height, width, 3), dtype=np.uint8)
        if not inside:
            out[:] = 255
        for row in range(top // high, -(-bottom // high)):
            for column in range(left // wide, -(-right // wide)):
                y0, x0 = row * high, column * wide
                y1, y2 = max(y0, top), min(y0 + high, bottom)
                x1, x2 = max(x0, left), min(x0 + wide, right)
                # a tile that lies wholly in the region is of no use to the next region
                cut = y2 - y1 < high or x2 - x1 < wide
                tile = self._tile(level, stored, row * stored.columns + column, keep=cut)
                out[y1 - y : y2 - y, x1 - x : x2 - x] = tile[y1 - y0 : y2 - y0, x1 - x0 : x2 - x0]
        return out

    def _tile(self, level: int, stored: Stored, number: int, *, keep: bool) -> np.ndarray:
        """Pixels of one stored tile, kept for its neighbours if `keep`."""
        key = (level, number)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        tile = self._decode(stored, number)
        if keep:
            self._cache[key] = tile
            self._cached += tile.nbytes
            while self._cached > min(_CACHE_BYTES, stored.two_rows):
                self._cached -= self._cache.popitem(last=False)[1].nbytes
        return tile

    def _decode(self, stored: Stored, number: int) -> np.ndarray:
        data = os.pread(self._descriptor, stored.counts[number], stored.offsets[number])
        try:
            tile = stored.decode(data, number)
        except (RuntimeError, ValueError) as error:  # imagecodecs' errors are RuntimeErrors
            msg = f"tile {number} of the level {stored.width} px wide: {error}"
            raise UnreadablePart(msg) from error
        if tile is None or tile.shape != (stored.tile_height, stored.tile_width, 3) or tile.dtype != np.uint8:
            msg = f"tile {number} of the level {stored.width} px wide has another size than it says"
            raise UnreadablePart(msg)
        return tile

    def close(self) -> None:
        """See `Slide.close`."""
        self._file.close()
        self._cache.clear()
        self._cached = 0


def _stored(page: tifffile.TiffPage) -> Stored:
    size = page.imagewidth, page.imagelength, page.tilewidth, page.tilelength
    return Stored(*size, page.dataoffsets, page.databytecounts, decoder(page))


def decoder(page: tifffile.TiffPage) -> Callable[[bytes, int], np.ndarray | None]:
    """What turns the bytes of a stored tile of `page` and its number into pixels (row, column, rgb) uint8."""
    if page.compression == _JPEG:
        colours, tables = "YCBCR" if page.photometric == _YCBCR else "RGB", page.jpegtables
        return lambda data, _: imagecodecs.jpeg8_decode(data, tables=tables, colorspace=colours, outcolorspace="RGB")
    if page.compression in _J2K_RGB:
        return lambda data, _: imagecodecs.jpeg2k_decode(data)

    def lossless(data: bytes, number: int) -> np.ndarray | None:
        tile = page.decode(data, number)[0]
        return None if tile is None else tile[0]

    return lossless


def _check_page(page: tifffile.TiffPage) -> None:
    """Raise NotNative unless the page is a grid of whole rgb tiles in a codec whose pixels are OpenSlide's."""
    known = page.compression in (_JPEG, *_J2K_RGB, *_LOSSLESS)
    colours = (_RGB, _YCBCR) if page.compression == _JPEG else (_RGB,)
    count = -(-page.imagewidth // max(page.tilewidth, 1)) * -(-page.imagelength // max(page.tilelength, 1))
    plain = (
        page.is_tiled
        and page.samplesperpixel == 3
        and page.bitspersample == 8
        and page.planarconfig == 1
        and page.imagedepth == 1
        and page.photometric in colours
    )
    if not (known and plain and len(page.dataoffsets) == count and all(page.databytecounts)):
        msg = f"a page of {page.imagewidth} x {page.imagelength} is not a plain grid of rgb tiles"
        raise NotNative(msg)


def ome_resolution(xml: str) -> dict[str, str]:
    """um/px of the first image in OME-XML as ``ome.mpp-x`` and ``ome.mpp-y``; empty where it gives none.

    Reads the attributes of its first Pixels element and no more, so that no entity of the XML is ever expanded.
    """
    element = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", xml)
    if element is None:
        return {}
    found = {}
    for axis in "XY":
        value = re.search(rf'PhysicalSize{axis}="([0-9.eE+-]+)"', element[0])
        unit = re.search(rf'PhysicalSize{axis}Unit="([^"]*)"', element[0])
        scale = _UM.get(unit[1].replace("\u03bc", "µ") if unit else "µm")
        if value and scale:
            found[f"ome.mpp-{axis.lower()}"] = repr(float(value[1]) * scale)
    return found
