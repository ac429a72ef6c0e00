"""The page to zoom into the slides of the heatmap cases."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

LIBRARY = "openseadragon.min.js"


@dataclass(frozen=True)
class Case:
    """One slide in the viewer.

    case : highest, median or lowest; width, height : of the finest level, px; finest : its number
    mpp : micrometres per pixel there; overlay_width : of the picture of attention, in widths of the slide
    """

    case: str
    slide: str
    model: str
    width: int
    height: int
    finest: int
    tile_px: int
    mpp: float
    overlay_width: float


def render_viewer(cases: Sequence[Case], *, templates: Path, title: str, note: str) -> str:
    """Return the viewer's page as HTML text; the pieces lie beside it in ``<case>/<level>/<column>_<row>.jpg``.

    note : what to say where a case has no slide; may be empty
    """
    loader = jinja2.FileSystemLoader(templates / "viewer")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    files = ("viewer.css", LIBRARY, "viewer.js")
    # These files are ours or the library's; all else is escaped, and so is "<" inside the JSON.
    style, library, script = (Markup((templates / "viewer" / name).read_text(encoding="utf-8")) for name in files)  # noqa: S704
    data = Markup(json.dumps([asdict(case) for case in cases]).replace("<", "\\u003c"))  # noqa: S704
    page = environment.get_template("viewer.html.j2")
    return page.render(title=title, cases=cases, note=note, style=style, library=library, script=script, data=data)
