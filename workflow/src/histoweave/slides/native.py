"""Reading the tiles of a TIFF slide as they are stored, at the speed of the decoder.

OpenSlide spends four fifths of its time on compositing, not on decoding. Where a slide is a plain grid of tiles,
they are decoded here instead, to the same pixels bit for bit: Aperio (JPEG YCbCr, JPEG RGB with shared tables,
JPEG 2000 RGB), generic tiled TIFF and OME-TIFF. Everything else, and every slide with an unusual part (a missing
tile, alpha, another number of channels), is OpenSlide's. Label and macro images are no level and are never read.
"""

import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from histoweave.slides.associated import is_associated
from histoweave.slides.decoding import J2K_RGB, JPEG, LOSSLESS, RGB, YCBCR, Decode, decoder, half_decoder
from histoweave.slides.reader import Level, Slide, UnreadablePart, check_size, exact_downsample
from histoweave.slides.resample import reduce_whole

_CACHE_BYTES = 256 * 2**20  # two rows of tiles of a slide 160,000 px wide
_SAME_LEVEL = 0.01
_UM = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}


class NotNative(Exception):
    """A slide that `NativeReader` does not read; OpenSlide may."""


@dataclass(frozen=True)
class Stored:
    """Where a level's tiles lie in the file, `columns` to a row, and what decodes one to the size given here."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    columns: int
    offsets: Sequence[int]
    counts: Sequence[int]
    decode: Decode

    def rows_bytes(self, rows: int) -> int:
        """Bytes of `rows` rows of tiles and a little more."""
        return rows * (self.columns + 2) * self.tile_width * self.tile_height * 3


class NativeReader(Slide):
    """A tiled TIFF slide read tile by tile; see `histoweave.slides.reader.Slide`.

    levels : sizes (width, height) that OpenSlide gives, so that both readers have the same levels; None takes the
    pyramid that the file itself declares (OME-TIFF keeps its levels where OpenSlide does not look)
    halves : let levels of half size follow the stored ones, for those whose JPEG tiles can be decoded so
    """

    reader = "native"

    def __init__(
        self,
        path: str | Path,
        *,
        levels: Sequence[tuple[int, int]] | None,
        properties: Mapping[str, str],
        halves: bool,
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
        self._means = [_means(stored) for stored in self._stored]
        self._descriptor = self._file.filehandle.fileno()
        sizes = [(page.imagewidth, page.imagelength) for page in pages]
        check_size(*sizes[0], name=Path(path).name)
        self.levels = tuple(Level(*size, exact_downsample(sizes[0], size)) for size in sizes)
        if halves:
            self._add_halves(pages)
        self.properties = dict(properties) | self._own_properties(pages[0])
        self._cache: OrderedDict[tuple[Decode, int], np.ndarray] = OrderedDict()  # by level (its decoder) and tile
        self._cached = 0
        self._last, self._overlap = (0, 0, 0, 0), False

    def _pages(self, levels: Sequence[tuple[int, int]] | None) -> list[tifffile.TiffPage]:
        """Page of each level: those of the sizes in `levels`, or the first series' own pyramid."""
        if levels is None:
            series = self._file.series[0]
            if any(len(level.pages) != 1 for level in series.levels):
                msg = "one level is several pages"
                raise NotNative(msg)
            pages = [level.pages[0].aspage() for level in series.levels]
            pages = [page for page in pages if not is_associated(page, pages[0])]
            if not pages:
                msg = "no level is the slide's"
                raise NotNative(msg)
            return pages
        found: dict[tuple[int, int], tifffile.TiffPage] = {}
        for page in self._file.pages:
            page = page.aspage()  # noqa: PLW2901 frames are read as pages
            if page.is_tiled and not is_associated(page, self._file.pages[0]):
                found.setdefault((page.imagewidth, page.imagelength), page)
        if any(tuple(size) not in found for size in levels):
            msg = "a level is not one tiled page"
            raise NotNative(msg)
        return [found[tuple(size)] for size in levels]

    def _add_halves(self, pages: Sequence[tifffile.TiffPage]) -> None:
        """Let the half of each level follow, unless it is too small or stored itself."""
        for level, page in zip(self.levels, pages, strict=True):
            downsample, half = 2 * level.downsample, _half(page)
            there = any(abs(other.downsample / downsample - 1) < _SAME_LEVEL for other in self.levels)
            if half is not None and not there:
                self._stored.append(half)
                self.levels += (Level(half.width, half.height, downsample, halved=True),)

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
        return self._read(self._stored[level], x, y, width, height)

    def read_halved(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """See `Slide.read_halved`: each stored tile is halved while it is at hand, and kept so for its neighbours."""
        means = self._means[level] if level < len(self._means) else None
        if means is None or min(x, y) < 0 or x + width > means.width or y + height > means.height:
            return super().read_halved(level, x, y, width, height)
        return self._read(means, x, y, width, height)

    def _read(self, stored: Stored, x: int, y: int, width: int, height: int) -> np.ndarray:
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, stored.width), min(y + height, stored.height)
        inside = (left, top, right, bottom) == (x, y, x + width, y + height)
        high, wide = stored.tile_height, stored.tile_width
        if inside and (width, height) == (wide, high) and x % wide == 0 and y % high == 0:
            return self._decode(stored, (y // high) * stored.columns + x // wide)
        out = np.empty((height, width, 3), dtype=np.uint8)
        if not inside:
            out[:] = 255
        rows = range(top // high, -(-bottom // high))
        room = self._room(stored, len(rows), (x, y, width, height))
        for row in rows:
            for column in range(left // wide, -(-right // wide)):
                y0, x0 = row * high, column * wide
                y1, y2 = max(y0, top), min(y0 + high, bottom)
                x1, x2 = max(x0, left), min(x0 + wide, right)
                # a walk along rows goes back only to tiles that reach beyond the region to its right or below it
                ahead = y0 + high > bottom or x0 + wide > right
                tile = self._tile(stored, row * stored.columns + column, room=room if ahead or self._overlap else 0)
                out[y1 - y : y2 - y, x1 - x : x2 - x] = tile[y1 - y0 : y2 - y0, x1 - x0 : x2 - x0]
        return out

    def _room(self, stored: Stored, rows: int, region: tuple[int, int, int, int]) -> int:
        """Bytes of tiles to keep: two rows, or from the first overlap on all that overlapping regions go back to."""
        (x, y, width, height), (last_x, last_y, *_) = region, self._last
        near = 0 < abs(x - last_x) + abs(y - last_y) and abs(x - last_x) < width and abs(y - last_y) < height
        self._overlap |= near and region[2:] == self._last[2:]
        self._last = region
        return min(_CACHE_BYTES, stored.rows_bytes(rows + 1 if self._overlap else 2))

    def _tile(self, stored: Stored, number: int, *, room: int) -> np.ndarray:
        """Pixels of one stored tile, kept for its neighbours among `room` bytes of tiles."""
        key = (stored.decode, number)
        tile = self._cache.pop(key, None)  # goes back if it is still ahead; what is done must not push out what is not
        if tile is None:
            tile = self._decode(stored, number)
        else:
            self._cached -= tile.nbytes
        if room:
            self._cache[key] = tile
            self._cached += tile.nbytes
            while self._cached > room:
                self._cached -= self._cache.popitem(last=False)[1].nbytes
        return tile

    def _decode(self, stored: Stored, number: int) -> np.ndarray:
        data = os.pread(self._descriptor, stored.counts[number], stored.offsets[number])
        if len(data) < stored.counts[number]:
            msg = f"tile {number} of the level {stored.width} px wide lies beyond the end of the file"
            raise UnreadablePart(msg)
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
    size, tile = (page.imagewidth, page.imagelength), (page.tilewidth, page.tilelength)
    return Stored(*size, *tile, _columns(page), page.dataoffsets, page.databytecounts, decoder(page))


def _means(stored: Stored) -> Stored | None:
    """`stored` with every tile halved by means of 2 x 2 pixels; None where tiles are odd."""
    if stored.tile_width % 2 or stored.tile_height % 2:
        return None

    def decode(data: bytes, number: int) -> np.ndarray | None:
        tile = stored.decode(data, number)
        return None if tile is None else reduce_whole(tile, 2)

    size = stored.width // 2, stored.height // 2
    tile = stored.tile_width // 2, stored.tile_height // 2
    return Stored(*size, *tile, stored.columns, stored.offsets, stored.counts, decode)


def _half(page: tifffile.TiffPage) -> Stored | None:
    """The level of `page` at half its size, without a last row or column that only half of it covers."""
    decode, size = half_decoder(page), (page.imagewidth // 2, page.imagelength // 2)
    if decode is None or not all(size):
        return None
    tile = page.tilewidth // 2, page.tilelength // 2
    return Stored(*size, *tile, _columns(page), page.dataoffsets, page.databytecounts, decode)


def _columns(page: tifffile.TiffPage) -> int:
    return -(-page.imagewidth // page.tilewidth)


def _check_page(page: tifffile.TiffPage) -> None:
    """Raise NotNative unless the page is a grid of whole rgb tiles in a codec whose pixels are OpenSlide's."""
    known = page.compression in (JPEG, *J2K_RGB, *LOSSLESS)
    colours = (RGB, YCBCR) if page.compression == JPEG else (RGB,)
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
