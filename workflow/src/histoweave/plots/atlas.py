"""The report's figures: which tables each one takes, and what to say where it cannot be drawn."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from histoweave.plots.embedding import gene_map
from histoweave.plots.flow import participant_flow
from histoweave.plots.forest import forest
from histoweave.plots.heatmap import slide_heatmap
from histoweave.plots.kaplan_meier import kaplan_meier
from histoweave.plots.splits import fold_roles
from histoweave.plots.style import alternative_text, svg_text

Tables = Mapping[str, pd.DataFrame | None]


@dataclass(frozen=True)
class FigureSettings:
    """How the figures are drawn.

    modules_shown : gene modules that get a colour of their own in the map of genes
    reference_model : model that the others are compared with in the figure of differences
    """

    section: ClassVar[str] = "report.figures"
    modules_shown: int
    reference_model: str


@dataclass(frozen=True)
class Slide:
    """What a heatmap is drawn on: thumbnail (row, column, channel) and its scale, see `slide_heatmap`."""

    thumbnail: np.ndarray
    downsample: float
    tile_px0: float
    mpp: float


@dataclass(frozen=True)
class Drawn:
    """A figure as SVG text with its alternative text; without SVG text if it cannot be drawn, and `alt` says why."""

    name: str
    svg: str
    alt: str


class CannotDrawError(Exception):
    """A figure's table is missing or empty; the message says which."""


def draw_all(
    tables: Tables, settings: FigureSettings, *, models: tuple[str, ...], slides: Mapping[str, Slide]
) -> Iterator[Drawn]:
    """Draw every figure of the report; `slides` holds the case ("highest", ...) -> slide of the heatmaps."""
    jobs: dict[str, Callable[[], Figure]] = {
        "participants": lambda: participant_flow(need(tables, "flow")),
        "splits": lambda: fold_roles(_with_sites(need(tables, "folds"), need(tables, "cohort"))),
        "discrimination": lambda: _discrimination(need(tables, "metrics"), models),
        "comparisons": lambda: _comparisons(need(tables, "comparisons"), settings.reference_model),
        "gene_map": lambda: gene_map(need(tables, "modules"), most=settings.modules_shown),
    }
    jobs |= {f"kaplan_meier__{model}": _later(_groups, tables, model) for model in models}
    jobs |= {f"heatmap__{case}": _later(_heatmap, tables, case, slides) for case in ("highest", "median", "lowest")}
    for name, job in jobs.items():
        yield _drawn(name, job)


def need(tables: Tables, name: str) -> pd.DataFrame:
    """The table `name`; raises CannotDrawError if the run has none or it is empty."""
    table = tables.get(name)
    if table is None or not len(table):
        state = "was not written by this run" if table is None else "is empty"
        msg = f"Not drawn: the table '{name}' {state}."
        raise CannotDrawError(msg)
    return table


def _later(draw: Callable[..., Figure], *arguments: object) -> Callable[[], Figure]:
    return lambda: draw(*arguments)


def _drawn(name: str, job: Callable[[], Figure]) -> Drawn:
    try:
        figure = job()
    except CannotDrawError as error:
        return Drawn(name, "", str(error))
    return Drawn(name, svg_text(figure), alternative_text(figure))


def _with_sites(folds: pd.DataFrame, cohort: pd.DataFrame) -> pd.DataFrame:
    sites = cohort.set_index("patient")["site"].fillna("unknown") if "site" in cohort else pd.Series(dtype=str)
    return folds.assign(site=folds["patient"].map(sites).fillna("unknown").astype(str))


def _discrimination(metrics: pd.DataFrame, models: tuple[str, ...]) -> Figure:
    rows = metrics[(metrics["metric"] == "c_index") & metrics["model"].isin(models)]
    order = {model: place for place, model in enumerate(models)}
    rows = rows.sort_values("model", key=lambda names: names.map(order))
    if not len(rows):
        msg = "Not drawn: the table 'metrics' has no c-index of a model."
        raise CannotDrawError(msg)
    return forest(rows.assign(label=rows["model"]), quantity="Harrell's c-index", reference=0.5, log_scale=False)


def _comparisons(comparisons: pd.DataFrame, reference: str) -> Figure:
    """Differences in c-index from the reference model, signed so that to the right is better than it."""
    rows = comparisons[comparisons["metric"] == "c_index"]
    ahead = rows[rows["model_b"] == reference].assign(label=lambda part: part["model_a"])
    behind = rows[rows["model_a"] == reference]
    turned = {"label": behind["model_b"], "difference": -behind["difference"]}
    turned |= {"lower": -behind["upper"], "upper": -behind["lower"]}
    rows = pd.concat([ahead, behind.assign(**turned)]).rename(columns={"difference": "estimate"})
    if not len(rows):
        msg = f"Not drawn: no model was compared with '{reference}' (report.figures.reference_model)."
        raise CannotDrawError(msg)
    return forest(rows, quantity=f"c-index minus that of {reference}", reference=0.0, log_scale=False)


def _groups(tables: Tables, model: str) -> Figure:
    curves, at_risk = (need(tables, name) for name in ("kaplan_meier", "at_risk"))
    curves, at_risk = (table[table["model"] == model] for table in (curves, at_risk))
    if not len(curves) or not len(at_risk):
        msg = f"Not drawn: the evaluation has no curves of '{model}'."
        raise CannotDrawError(msg)
    return kaplan_meier(curves, at_risk, note=_logrank_note(tables, model))


def _logrank_note(tables: Tables, model: str) -> str:
    table = tables.get("logrank")
    rows = table[table["model"] == model] if table is not None else []
    if not len(rows) or pd.isna(rows["p_value"].iloc[0]):
        return ""
    p_value = rows["p_value"].iloc[0]
    told = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return f"log-rank {told}, stratified by fold"


def _heatmap(tables: Tables, case: str, slides: Mapping[str, Slide]) -> Figure:
    tiles = need(tables, "attention")
    tiles = tiles[tiles["case"] == case]
    if case not in slides or not len(tiles):
        msg = f"Not drawn: no slide with attention and a thumbnail for the case '{case}'."
        raise CannotDrawError(msg)
    slide, first = slides[case], tiles.iloc[0]
    return slide_heatmap(
        tiles.rename(columns={"score": "value"}),
        slide.thumbnail,
        title=f"{first['slide']} ({case} risk)",
        quantity=f"attention of {first['model']}",
        downsample=slide.downsample,
        tile_px0=slide.tile_px0,
        mpp=slide.mpp,
    )
