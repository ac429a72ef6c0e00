"""All figures of the report by name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure

from histoweave.plots import choices, elsewhere, genes
from histoweave.plots.choices import CannotDrawError, Slide, Tables, need
from histoweave.plots.embedding import gene_map
from histoweave.plots.flow import participant_flow
from histoweave.plots.mixtures import cell_type_shares
from histoweave.plots.style import alternative_text, svg_text


@dataclass(frozen=True)
class FigureSettings:
    """How the figures are drawn.

    modules_shown : gene modules that get a colour of their own in the map of genes
    reference_model : model that the others are compared with in the figure of differences
    main_model : model whose subgroups and inputs are drawn
    """

    section: ClassVar[str] = "report.figures"
    modules_shown: int
    reference_model: str
    main_model: str


@dataclass(frozen=True)
class Drawn:
    """A figure as SVG text with its alternative text; without SVG text if it cannot be drawn, and `alt` says why."""

    name: str
    svg: str
    alt: str


def draw_all(
    tables: Tables, settings: FigureSettings, *, models: tuple[str, ...], slides: Mapping[str, Slide]
) -> Iterator[Drawn]:
    """Draw every figure of the report; `slides` holds the case ("highest", ...) -> slide of the heatmaps."""
    jobs: dict[str, Callable[[], Figure]] = {
        "participants": lambda: participant_flow(need(tables, "flow")),
        "follow_up": lambda: choices.risk_groups(tables, "kaplan_meier"),
        "splits": lambda: choices.splits(tables),
        "discrimination": lambda: choices.discrimination(tables, models),
        "comparisons": lambda: choices.comparisons(tables, settings.reference_model),
        "calibration": lambda: choices.calibrated(tables),
        "d_calibration": lambda: choices.calibrated_times(tables),
        "decision": lambda: choices.decisions(tables),
        "hazard_ratios": lambda: choices.hazards(tables),
        "added_value": lambda: choices.added(tables),
        "subgroups": lambda: choices.subgroups(tables, settings.main_model),
        "attributions": lambda: choices.inputs_of(tables, settings.main_model),
        "reconstruction": lambda: choices.reconstructed(tables),
        "cell_types": lambda: cell_type_shares(need(tables, "cell_types")),
        "training": lambda: choices.learning(tables, models),
        "balance": lambda: choices.balanced(tables, models),
        "gene_map": lambda: gene_map(need(tables, "modules"), most=settings.modules_shown),
        "gene_training": lambda: genes.gene_training(need(tables, "gene_training")),
        "gene_quality": lambda: choices.gene_quality(tables),
    }
    jobs |= _of_genes(tables)
    jobs |= _elsewhere(tables, settings)
    jobs |= {f"kaplan_meier__{model}": _later(choices.risk_groups, tables, model) for model in models}
    cases = ("highest", "median", "lowest")
    jobs |= {f"heatmap__{case}": _later(choices.heatmap, tables, case, slides) for case in cases}
    for name, job in jobs.items():
        yield _drawn(name, job)


# Figures of what a run does with its gene vectors where the config names the input: table -> figures.
GENE_USES: dict[str, dict[str, Callable[..., Figure]]] = {
    "enrichment": {"gene_sets": lambda rows: genes.enriched_terms(rows, most=20)},
    "probes": {"gene_probes": genes.set_probes},
    "differential": {"gene_changes": lambda rows: genes.changed_genes(rows, named=16)},
    "gene_function": {"gene_function": genes.function_scores},
    "orthology": {"gene_orthologues": genes.orthologues},
}


def _of_genes(tables: Tables) -> dict[str, Callable[[], Figure]]:
    """Figures of the uses of gene vectors that this run has."""
    return {
        name: _later(draw, tables[table])
        for table, figures in GENE_USES.items()
        for name, draw in figures.items()
        if tables.get(table) is not None and len(tables[table])
    }


def _elsewhere(tables: Tables, settings: FigureSettings) -> dict[str, Callable[[], Figure]]:
    """Figures of sites and cohorts that the models have not seen, where there are such."""
    jobs: dict[str, Callable[[], Figure]] = {}
    if tables.get("sites") is not None:
        jobs["sites"] = lambda: elsewhere.sites(tables, settings.main_model)
    curves = tables.get("external_curves")
    if curves is not None:
        jobs["external"] = lambda: elsewhere.external(tables)
        jobs["external_calibration"] = lambda: elsewhere.external_calibration(tables)
        for cohort in sorted(curves["cohort"].unique()):
            name = f"external_kaplan_meier__{cohort}"
            jobs[name] = _later(elsewhere.external_groups, tables, cohort, settings.main_model)
    return jobs


def _later(draw: Callable[..., Figure], *arguments: object) -> Callable[[], Figure]:
    return lambda: draw(*arguments)


def _drawn(name: str, job: Callable[[], Figure]) -> Drawn:
    try:
        figure = job()
    except CannotDrawError as error:
        return Drawn(name, "", str(error))
    return Drawn(name, svg_text(figure), alternative_text(figure))
