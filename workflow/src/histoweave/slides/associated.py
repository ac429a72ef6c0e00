"""Associated images of a slide file: photographs of its label and of the whole glass, which name patients.

Scanners store them in strips, but exported Aperio files hold some in tiles, which OpenSlide takes for levels.
"""

import re
from pathlib import Path

import tifffile

_NAMED = re.compile(r"Aperio[^\n]*\n\s*(label|macro)\b", re.IGNORECASE)
_REDUCED, _MACRO = 1, 8  # bits of NewSubfileType; Aperio's label has 1, its macro 9


def is_associated(page: tifffile.TiffPage, first: tifffile.TiffPage) -> bool:
    """Whether `page` of a file whose slide begins with page `first` says that it is a label or macro image.

    Some writers mark reduced levels as Aperio marks labels; those have the proportions of the slide.
    """
    if _NAMED.match(page.description) or page.subfiletype & _MACRO:
        return True
    size0, size = ((one.imagewidth, one.imagelength) for one in (first, page))
    return bool(page.subfiletype & _REDUCED) and not _is_reduction(size0, size)


def associated_levels(path: str | Path) -> list[int]:
    """Numbers, among the tiled pages of an Aperio file, of those that are associated images."""
    with tifffile.TiffFile(path) as file:
        pages = [page.aspage() for page in file.pages]
    tiled = [page for page in pages if page.is_tiled]
    return [number for number, page in enumerate(tiled) if is_associated(page, pages[0])]


def _is_reduction(size0: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether one factor explains both sides of `size`, which may be rounded up or down."""
    least = max(full / (part + 1) for full, part in zip(size0, size, strict=True))
    most = min(full / max(part - 1, 0.5) for full, part in zip(size0, size, strict=True))
    return least < most
