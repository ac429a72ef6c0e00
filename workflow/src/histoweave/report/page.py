"""From a run to one HTML page that needs nothing beside itself."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from histoweave.report import performance
from histoweave.report.blocks import Picture, Section
from histoweave.report.checklists import checklists_section
from histoweave.report.closing import failed_section, limits_section, provenance_section
from histoweave.report.cohort import assays_section, endpoint_section, flow_section, lead, splits_section
from histoweave.report.external import external_section
from histoweave.report.folding import fold, why_empty
from histoweave.report.genes import genes_section
from histoweave.report.insight import heatmaps_section
from histoweave.report.methods import methods_section
from histoweave.report.run import Run

SECTIONS = (
    flow_section,
    endpoint_section,
    assays_section,
    splits_section,
    performance.discrimination_section,
    performance.calibration_section,
    performance.use_section,
    performance.added_section,
    performance.subgroups_section,
    genes_section,
    heatmaps_section,
    performance.robustness_section,
    external_section,
    limits_section,
    failed_section,
    methods_section,
    checklists_section,
    provenance_section,
)


def sections_of(run: Run) -> tuple[list[Section], list[Section]]:
    """Sections of the page in order, and those of which this run has nothing."""
    return fold([make(run) for make in SECTIONS])


def render(run: Run, *, templates: Path, title: str) -> str:
    """Return the page as HTML text.

    templates : folder with ``page.html.j2``, ``page.css`` and ``page.js``. What comes from tables is escaped.
    """
    loader = jinja2.FileSystemLoader(templates)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    # These two files are ours; all else is escaped.
    style, script = (Markup((templates / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))  # noqa: S704
    sections, empty = sections_of(run)
    texts = {"title": title, "lead": lead(run), "why_empty": why_empty(run.config["inputs"])}
    page = environment.get_template("page.html.j2")
    return page.render(**texts, sections=sections, empty=empty, style=style, script=script)


def pictures_of(figures: Sequence[Mapping], captions: Mapping[str, str]) -> dict[str, Picture]:
    """Picture blocks by name: the SVG text as a data URI; a figure that was not drawn shows its reason as a sentence.

    figures : ``figure``, ``alt``, ``svg`` of each; captions : figure, without what follows a double underscore -> text
        whose first paragraph is the title
    """
    pictures = {}
    for figure in figures:
        prefix, _, part = figure["figure"].partition("__")
        title, _, caption = captions.get(prefix, prefix).strip().partition("\n\n")
        title = f"{title}: {part}" if part else title
        data = base64.b64encode(figure["svg"].encode()).decode()
        source = f"data:image/svg+xml;base64,{data}" if figure["svg"] else ""
        pictures[figure["figure"]] = Picture(figure["figure"], title, " ".join(caption.split()), figure["alt"], source)
    return pictures
