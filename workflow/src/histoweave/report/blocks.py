"""What a page is made of: sections that hold paragraphs, tables and pictures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Text:
    """A paragraph; `tone` is "" or "caution"."""

    text: str
    tone: str = ""
    kind: str = "text"


@dataclass(frozen=True)
class Code:
    """Text in fixed-width letters, shown when its title is clicked."""

    title: str
    text: str
    kind: str = "code"


@dataclass(frozen=True)
class Link:
    """A link that stands alone."""

    text: str
    address: str
    kind: str = "link"


@dataclass(frozen=True)
class Listing:
    """Numbered entries."""

    entries: Sequence[str]
    kind: str = "listing"


@dataclass(frozen=True)
class Picture:
    """A figure: `source` is a data URI, or empty where the figure could not be drawn and `alt` says why."""

    name: str
    title: str
    caption: str
    alt: str
    source: str
    kind: str = "picture"


@dataclass(frozen=True)
class Cell:
    """What a table's cell shows, what it is sorted by, whether it stands at the right, and what it links to."""

    text: str
    sort: str = ""
    number: bool = False
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table; `file` is the Parquet file its rows come from and `rows_of` the row's number there."""

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    file: str = ""
    rows_of: Sequence[int] = ()
    kind: str = "table"

    @property
    def link(self) -> str:
        """Address of `file` as seen from the report."""
        return quote(f"../{self.file}")


@dataclass(frozen=True)
class Section:
    """A headed part of the page; `anchor` is its address in it."""

    anchor: str
    title: str
    blocks: Sequence[object] = field(default_factory=tuple)


def cell(value: object, *, digits: int = 3) -> Cell:
    """Cell of a table's value: numbers to `digits` significant digits, "n/a" for what is missing."""
    if isinstance(value, bool | np.bool_):
        return Cell("yes", "yes") if value else Cell("no", "no")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell("n/a", "", number=True)
    if isinstance(value, int | float) or hasattr(value, "dtype"):
        return Cell(number_text(float(value), digits=digits), repr(float(value)), number=True)
    return Cell(str(value), str(value))


def number_text(value: float, *, digits: int) -> str:
    """`value` to `digits` significant digits, whole numbers and those above 1,000 without decimals."""
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.1e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, digits)}f}"


def p_text(value: float) -> str:
    """A p-value as reports print it."""
    return "n/a" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval_text(estimate: float, lower: float, upper: float, *, digits: int = 3) -> str:
    """``0.712 (0.661 to 0.763)``; n/a where there is no estimate."""
    if math.isnan(estimate):
        return "n/a"
    if math.isnan(lower) or math.isnan(upper):
        return f"{estimate:.{digits}f} (no interval)"
    return f"{estimate:.{digits}f} ({lower:.{digits}f} to {upper:.{digits}f})"


def table_of(frame: pd.DataFrame, columns: Mapping[str, str], *, name: str, caption: str, file: str = "") -> Table:
    """Table with the `columns` (column of `frame` -> heading) of `frame`; its index gives the row numbers in `file`."""
    kept = [column for column in columns if column in frame]
    rows = [[cell(value) for value in row] for row in frame[kept].itertuples(index=False, name=None)]
    numbers = [int(number) for number in frame.index] if file else []
    return Table(name, caption, [columns[column] for column in kept], rows, file=file, rows_of=numbers)


def interval_cell(estimate: float, lower: float, upper: float, *, digits: int = 3) -> Cell:
    """Cell of an estimate with its interval, sorted by the estimate."""
    sort = "" if math.isnan(estimate) else repr(float(estimate))
    return Cell(interval_text(estimate, lower, upper, digits=digits), sort, number=True)
