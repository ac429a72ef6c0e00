"""Reading the tiles of a TIFF slide as they are stored, at the speed of the decoder.

OpenSlide spends four fifths of its time on compositing, not on decoding. Where a slide is a plain grid of tiles,
they are decoded here instead, to the same pixels bit for bit: Aperio (JPEG YCbCr, JPEG RGB with shared tables,
JPEG 2000 RGB), generic tiled TIFF and OME-TIFF. Everything else, and every slide with an unusual part (a missing
tile, alpha, another number of channels), is OpenSlide's. Label and macro images are no level and are never read.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from histoweave.slides.reader import Level, UnreadablePart, check_size, exact_downsample

_JPEG, _J2K_RGB = 7, (33005, 34712)
_LOSSLESS = (1, 5, 8, 32946, 50000)  # none, LZW, deflate, Adobe deflate, zstd
_RGB, _YCBCR = 2, 6
_CACHE_BYTES = 192 * 2**20  # two rows of tiles of a slide 200,000 px wide
_UM = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}


class NotNative(Exception):
    """A slide that `NativeReader` does not read; OpenSlide may."""


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
        self._pages_of_level = pages
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
        page = self._pages_of_level[level]
        size = self.levels[level]
        tile_height, tile_width = page.tilelength, page.tilewidth
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, size.width), min(y + height, size.height)
        if (left, top, right, bottom) == (x, y, x + width, y + height):
            if x % tile_width == 0 and y % tile_height == 0 and (width, height) == (tile_width, tile_height):
                return self._tile(level, page, x // tile_width, y // tile_height)
            out = np.empty((height, width, 3), dtype=np.uint8)
        else:
            out = np.full((height, width, 3), 255, dtype=np.uint8)
        for row in range(top // tile_height, -(-bottom // tile_height)):
            for column in range(left // tile_width, -(-right // tile_width)):
                tile = self._tile(level, page, column, row)
                y0, x0 = row * tile_height, column * tile_width
                y1, y2 = max(y0, top), min(y0 + tile_height, bottom)
                x1, x2 = max(x0, left), min(x0 + tile_width, right)
                out[y1 - y : y2 - y, x1 - x : x2 - x] = tile[y1 - y0 : y2 - y0, x1 - x0 : x2 - x0]
        return out

    def _tile(self, level: int, page: tifffile.TiffPage, column: int, row: int) -> np.ndarray:
        """Pixels of one stored tile, kept for its neighbours."""
        number = row * -(-page.imagewidth // page.tilewidth) + column
        key = (level, number)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        tile = self._decode(page, number)
        tile.flags.writeable = False
        self._cache[key] = tile
        self._cached += tile.nbytes
        while self._cached > _CACHE_BYTES:
            self._cached -= self._cache.popitem(last=False)[1].nbytes
        return tile

    def _decode(self, page: tifffile.TiffPage, number: int) -> np.ndarray:
        shape = (page.tilelength, page.tilewidth, 3)
        self._file.filehandle.seek(page.dataoffsets[number])
        data = self._file.filehandle.read(page.databytecounts[number])
        try:
            tile = decode_tile(page, number, data)
        except (RuntimeError, ValueError) as error:  # imagecodecs' errors are RuntimeErrors
            msg = f"tile {number} of the level {page.imagewidth} px wide: {error}"
            raise UnreadablePart(msg) from error
        if tile is None or tile.shape != shape or tile.dtype != np.uint8:
            msg = f"tile {number} of the level {page.imagewidth} px wide has another size than it says"
            raise UnreadablePart(msg)
        return tile

    def close(self) -> None:
        """See `Slide.close`."""
        self._file.close()
        self._cache.clear()
        self._cached = 0


def decode_tile(page: tifffile.TiffPage, number: int, data: bytes) -> np.ndarray | None:
    """Pixels (row, column, rgb) uint8 of stored tile `number` of `page`, whose bytes are `data`."""
    if page.compression == _JPEG:
        colours = "YCBCR" if page.photometric == _YCBCR else "RGB"
        return imagecodecs.jpeg8_decode(data, tables=page.jpegtables, colorspace=colours, outcolorspace="RGB")
    if page.compression in _J2K_RGB:
        return imagecodecs.jpeg2k_decode(data)
    tile, _, _ = page.decode(data, number)
    return None if tile is None else tile[0]


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
