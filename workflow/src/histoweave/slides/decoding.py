"""What turns the bytes of a stored tile into pixels: one function per codec, chosen once per level.

A JPEG tile of a slide is an abbreviated stream (ITU-T T.81, B.5): its tables stand once in the TIFF, and the TIFF says
what its components mean. imagecodecs takes both beside the stream. simplejpeg (libjpeg-turbo's own interface) is half
as fast again and can decode at half size, but wants one whole stream, so the tables and a marker for the colours are
spliced in. It is used where its pixels are imagecodecs' on tiles of the level at hand, which no marker can mislead.
"""

from collections.abc import Callable

import imagecodecs
import numpy as np
import tifffile

try:
    import simplejpeg
except ImportError:  # an environment from before it was needed: everything but half size works, slower
    simplejpeg = None

JPEG, J2K_RGB = 7, (33005, 34712)
LOSSLESS = (1, 5, 8, 32946, 50000)  # none, LZW, deflate, Adobe deflate, zstd
RGB, YCBCR = 2, 6

Decode = Callable[[bytes, int], np.ndarray | None]
"""(bytes, number of the tile) -> pixels (row, column, rgb) uint8, or None for a tile that is not stored."""

_BEGIN, _END = b"\xff\xd8", b"\xff\xd9"
_BEHIND = "extraneous bytes before marker 0xd9"  # stand behind the last pixel, where OpenSlide does not look
_ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"  # APP14, transform 0: components are rgb as they are


def decoder(page: tifffile.TiffPage) -> Decode:
    """Decoder of the stored tiles of `page`, at full size."""
    if page.compression == JPEG:
        return _whole_size(page) if _agrees(page) else _by_imagecodecs(page)
    if page.compression in J2K_RGB:
        return lambda data, _: imagecodecs.jpeg2k_decode(data)

    def lossless(data: bytes, number: int) -> np.ndarray | None:
        tile = page.decode(data, number)[0]
        return None if tile is None else tile[0]

    return lossless


def half_decoder(page: tifffile.TiffPage) -> Decode | None:
    """Decoder to half the width and height, by half of each block's DCT; None where the tiles do not allow it."""
    wide, high = page.tilewidth // 2, page.tilelength // 2
    if page.compression != JPEG or page.tilewidth % 2 or page.tilelength % 2 or not _agrees(page):
        return None
    whole = _splicer(page)
    return lambda data, _: _undamaged(whole(data), min_width=wide, min_height=high)


def _by_imagecodecs(page: tifffile.TiffPage) -> Decode:
    colours, tables = "YCBCR" if page.photometric == YCBCR else "RGB", page.jpegtables
    return lambda data, _: imagecodecs.jpeg8_decode(data, tables=tables, colorspace=colours, outcolorspace="RGB")


def _whole_size(page: tifffile.TiffPage) -> Decode:
    whole = _splicer(page)
    return lambda data, _: _undamaged(whole(data))


def _undamaged(stream: bytes, **size: int) -> np.ndarray:
    """Pixels of a whole JPEG stream; raises ValueError where libjpeg would fill in what is missing, with grey."""
    try:
        return simplejpeg.decode_jpeg(stream, "RGB", **size)
    except ValueError as error:
        if _BEHIND not in str(error):
            raise
        return simplejpeg.decode_jpeg(stream, "RGB", strict=False, **size)


def _splicer(page: tifffile.TiffPage) -> Callable[[bytes], bytes]:
    """What makes a whole JPEG stream of a stored tile of `page`."""
    tables = (page.jpegtables or b"").removeprefix(_BEGIN).removesuffix(_END)
    between = (_ADOBE_RGB if page.photometric == RGB else b"") + tables

    def whole(data: bytes) -> bytes:
        if not data.startswith(_BEGIN):
            msg = "not a JPEG stream"
            raise ValueError(msg)
        return b"".join((_BEGIN, between, memoryview(data)[2:]))

    return whole


def _agrees(page: tifffile.TiffPage) -> bool:
    """Whether both decoders give the same pixels for the first of a few tiles that can be decoded."""
    if simplejpeg is None:
        return False
    one, other, last = _by_imagecodecs(page), _whole_size(page), len(page.dataoffsets) - 1
    file = page.parent.filehandle
    for number in (0, last // 2, last):
        file.seek(page.dataoffsets[number])
        data = file.read(page.databytecounts[number])
        try:
            return bool(np.array_equal(one(data, number), other(data, number)))
        except (RuntimeError, ValueError):
            continue
    return False
