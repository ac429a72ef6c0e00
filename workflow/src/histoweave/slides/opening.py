"""Opening a slide file with the fastest reader that gives its exact pixels."""

from pathlib import Path

from histoweave.errors import InputError
from histoweave.slides.native import NativeReader, NotNative
from histoweave.slides.reader import OpenSlideReader, Slide

_NATIVE_VENDORS = ("aperio", "generic-tiff")


def open_slide(path: str | Path, *, halves: bool = False) -> Slide:
    """Open a slide: its stored tiles where they can be decoded as they are, otherwise through OpenSlide.

    halves : offer levels of half size that are decoded so, faster and off by about a grey level, where tiles are JPEG
    Raises InputError for a file that neither reads.
    """
    path = Path(path)
    try:
        other = OpenSlideReader(path)
    except InputError:
        # OME-TIFF with its own pyramid, and JPEG 2000 in a generic TIFF, are not OpenSlide's
        try:
            return NativeReader(path, levels=None, properties={}, halves=halves)
        except NotNative:
            pass
        raise
    if other.properties.get("openslide.vendor") not in _NATIVE_VENDORS:
        return other
    own_pyramid = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    sizes = None if own_pyramid else [(level.width, level.height) for level in other.levels]
    try:
        native = NativeReader(path, levels=sizes, properties=other.properties, halves=halves)
    except NotNative:
        return other
    other.close()
    return native
