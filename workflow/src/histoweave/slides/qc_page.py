"""Pictures to judge a slide by at a glance: tissue outline, tiles by status, and numbers; and one sheet of a cohort."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

COLOURS = {"ok": (0, 90, 200), "blurred": (240, 140, 0), "folded": (200, 0, 60), "unreadable": (0, 0, 0)}
_OUTLINE = (0, 140, 60)
_TEXT = (30, 30, 30)
PANEL = 300
_LINE = 20


def draw_page(
    thumbnail: np.ndarray,
    *,
    downsample: float,
    polygons: Sequence[Sequence[np.ndarray]],
    tiles: pd.DataFrame,
    side: float,
    facts: Mapping[str, str],
) -> np.ndarray:
    """Page (row, column, rgb) uint8: `thumbnail` with outline and tiles, `facts` and a key of colours beside it.

    downsample : level-0 px per thumbnail px; polygons : rings (point, xy) in level-0 px; tiles : `x`, `y`, `status`
    side : of a tile, level-0 px
    """
    height, width = thumbnail.shape[:2]
    page = Image.new("RGB", (width + PANEL, max(height, _LINE * (len(facts) + len(COLOURS) + 3))), "white")
    page.paste(Image.fromarray(thumbnail))
    draw = ImageDraw.Draw(page)
    length = max(side / downsample - 1, 1)
    for x, y, status in zip(tiles["x"], tiles["y"], tiles["status"], strict=True):
        left, top = x / downsample, y / downsample
        draw.rectangle([left, top, left + length, top + length], outline=COLOURS[status])
    for rings in polygons:
        for ring in rings:
            draw.line([tuple(point) for point in ring / downsample], fill=_OUTLINE, width=2)
    counts = tiles["status"].value_counts()
    lines = [(f"{key}: {value}", _TEXT) for key, value in facts.items()]
    lines += [(f"tiles {name}: {counts.get(name, 0)}", colour) for name, colour in COLOURS.items()]
    lines.append(("outline of tissue", _OUTLINE))
    for number, (text, colour) in enumerate(lines):
        draw.text((width + 12, 10 + _LINE * number), text[:44], fill=colour, font=ImageFont.load_default(13))
    return np.asarray(page)


def contact_sheet(pages: Sequence[tuple[str, str, np.ndarray | None]], *, cell: int, columns: int) -> np.ndarray:
    """All slides of a cohort, (row, column, rgb) uint8: name, status, picture (None: there is none) of each."""
    rows = max(-(-len(pages) // columns), 1)
    sheet = Image.new("RGB", (columns * cell, rows * (cell + _LINE)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, status, pixels) in enumerate(pages):
        left, top = number % columns * cell, number // columns * (cell + _LINE)
        if pixels is not None:
            picture = Image.fromarray(pixels)
            picture.thumbnail((cell - 6, cell - 6))
            sheet.paste(picture, (left + 3, top + _LINE))
        text, colour = (name, _TEXT) if status == "ok" else (f"{name} {status}", COLOURS["folded"])
        draw.text((left + 3, top + 3), text[: cell // 7], fill=colour, font=ImageFont.load_default(12))
    return np.asarray(sheet)
