"""Which rows of the run's tables each figure of the report shows, and what to say where there are none."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from histoweave.plots.attributions import top_inputs
from histoweave.plots.bars import beside_controls
from histoweave.plots.calibration import calibration, d_calibration
from histoweave.plots.decision import decision_curves
from histoweave.plots.forest import forest
from histoweave.plots.heatmap import slide_heatmap
from histoweave.plots.kaplan_meier import kaplan_meier
from histoweave.plots.splits import fold_roles
from histoweave.plots.training import BRANCHES, COEFFICIENTS, RATIO, balance_curves, training_curves

Tables = Mapping[str, pd.DataFrame | None]


# The measures of MuSe-GNN (arXiv:2310.02275) and of the held-out edges, in words.
MEASURES = {
    "cgr": "common genes (CGR)",
    "no": "neighbour overlap (NO)",
    "asw": "mixing of datasets (ASW)",
    "gc": "graph connectivity (GC)",
    "ilisi": "mixing of datasets (iLISI)",
    "auc": "AUC of training edges",
    "auc_no_diagonal": "AUC of edges, no diagonal",
    "held_out_auc": "AUC of held-out edges",
    "held_out_ap": "precision, held-out edges",
    "overall": "overall score of the first six",
}


@dataclass(frozen=True)
class Slide:
    """What a heatmap is drawn on: thumbnail (row, column, channel) and its scale, see `slide_heatmap`."""

    thumbnail: np.ndarray
    downsample: float
    tile_px0: float
    mpp: float


class CannotDrawError(Exception):
    """A figure's table is missing or has no row for it; the message says which."""


def need(tables: Tables, name: str, **only: object) -> pd.DataFrame:
    """Rows of the table `name` whose columns are as `only` says; raises CannotDrawError if there are none.

    A value of `only` may be a list, of which the column must be one.
    """
    table = tables.get(name)
    if table is None or not len(table):
        state = "was not written by this run" if table is None else "is empty"
        msg = f"Not drawn: the table '{name}' {state}."
        raise CannotDrawError(msg)
    for column, value in only.items():
        table = table[table[column].isin(value if isinstance(value, list | tuple) else [value])]
    if not len(table):
        wanted = ", ".join(f"{column} {value}" for column, value in only.items())
        msg = f"Not drawn: the table '{name}' has no row of {wanted}."
        raise CannotDrawError(msg)
    return table


def splits(tables: Tables) -> Figure:
    """Roles in the folds, patients grouped by site."""
    folds, cohort = need(tables, "folds"), need(tables, "cohort")
    sites = cohort.set_index("patient")["site"].replace("", np.nan)
    return fold_roles(folds.assign(site=folds["patient"].map(sites).fillna("unknown").astype(str)))


def discrimination(tables: Tables, models: tuple[str, ...]) -> Figure:
    """c-index of each model in the order of the config."""
    rows = need(tables, "metrics", metric="c_index", model=models)
    order = {model: place for place, model in enumerate(models)}
    rows = rows.sort_values("model", key=lambda names: names.map(order))
    return forest(rows.assign(label=rows["model"]), quantity="Harrell's c-index", reference=0.5, log_scale=False)


def comparisons(tables: Tables, reference: str) -> Figure:
    """Differences in c-index from the reference model, signed so that to the right is better than it."""
    rows = need(tables, "comparisons", metric="c_index")
    ahead = rows[rows["model_b"] == reference].assign(label=lambda part: part["model_a"])
    behind = rows[rows["model_a"] == reference]
    turned = {"label": behind["model_b"], "difference": -behind["difference"]}
    turned |= {"lower": -behind["upper"], "upper": -behind["lower"]}
    rows = pd.concat([ahead, behind.assign(**turned)]).rename(columns={"difference": "estimate"})
    if not len(rows):
        msg = f"Not drawn: no model was compared with '{reference}' (report.figures.reference_model)."
        raise CannotDrawError(msg)
    return forest(rows, quantity=f"c-index minus that of {reference}", reference=0.0, log_scale=False)


def risk_groups(tables: Tables, model: str) -> Figure:
    """Kaplan-Meier curves of the groups of one model, with its log-rank test."""
    curves, at_risk = (need(tables, name, model=model) for name in ("kaplan_meier", "at_risk"))
    return kaplan_meier(curves, at_risk, note=_logrank_note(tables, model))


def _logrank_note(tables: Tables, model: str) -> str:
    table = tables.get("logrank")
    rows = table[table["model"] == model] if table is not None else []
    if not len(rows) or pd.isna(rows["p_value"].iloc[0]):
        return ""
    p_value = rows["p_value"].iloc[0]
    told = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return f"log-rank {told}, stratified by fold"


def few_horizons(rows: pd.DataFrame, *, most: int = 3) -> pd.DataFrame:
    """Rows of at most `most` horizons, evenly picked from the first to the last, so that lines can be told apart."""
    horizons = np.sort(rows["horizon_days"].unique())
    if len(horizons) <= most:
        return rows
    picked = horizons[np.rint(np.linspace(0, len(horizons) - 1, most)).astype(int)]
    return rows[rows["horizon_days"].isin(picked)]


def calibrated(tables: Tables) -> Figure:
    """Calibration of each model that has groups, at its horizons."""
    rows = need(tables, "calibration").dropna(subset=["predicted", "observed"])
    if not len(rows):
        msg = "Not drawn: no model's calibration could be estimated; the table gives the reasons."
        raise CannotDrawError(msg)
    return calibration(few_horizons(rows))


def calibrated_times(tables: Tables) -> Figure:
    """D-calibration of each model."""
    return d_calibration(need(tables, "d_calibration"))


def decisions(tables: Tables) -> Figure:
    """Decision curves at each horizon that has them."""
    rows = need(tables, "decision").dropna(subset=["net_benefit"])
    if not len(rows):
        msg = "Not drawn: no net benefit could be estimated; the table gives the reasons."
        raise CannotDrawError(msg)
    return decision_curves(few_horizons(rows))


def hazards(tables: Tables) -> Figure:
    """Hazard ratio per standard deviation of the risk, alone and adjusted for the covariates."""
    rows = need(tables, "hazard_ratios")
    group = np.where(rows["adjusted_for"] == "", "alone", "adjusted")
    rows = rows.assign(group=group, label=rows["model"] + ", " + group, estimate=rows["hazard_ratio"])
    return forest(rows, quantity="hazard ratio per SD of risk", reference=1.0, log_scale=True)


def added(tables: Tables) -> Figure:
    """Change of the c-index when the risk joins the clinical covariates."""
    rows = need(tables, "added_value")
    rows = rows.assign(label=rows["model"], estimate=rows["change"])
    return forest(rows, quantity="change of c-index over the covariates", reference=0.0, log_scale=False)


def subgroups(tables: Tables, model: str) -> Figure:
    """c-index of one model within subgroups."""
    rows = need(tables, "subgroups", model=model, metric="c_index")
    rows = rows.assign(label=rows["variable"] + ": " + rows["level"].astype(str), group=rows["variable"])
    return forest(rows, quantity=f"c-index of {model}", reference=0.5, log_scale=False)


def learning(tables: Tables, models: tuple[str, ...]) -> Figure:
    """Loss by epoch of every model that is trained in epochs."""
    found = [(model, table) for model in models if (table := tables.get(f"training/{model}")) is not None]
    curves = pd.concat([table.assign(model=model) for model, table in found]) if found else pd.DataFrame()
    curves = curves[curves["part"] != "mixtures"] if len(curves) else curves  # stage 1, a loss of another kind
    if not len(curves) or not (curves["quantity"] == "loss").any():
        msg = "Not drawn: no model of this run is trained in epochs."
        raise CannotDrawError(msg)
    return training_curves(curves, quantity="loss")


def balanced(tables: Tables, models: tuple[str, ...]) -> Figure:
    """Both branches by epoch of every model that joins two modalities and watches them."""
    found = []
    for model in models:
        table = tables.get(f"training/{model}")
        if table is None or not set(BRANCHES) <= set(table["quantity"]):
            continue
        watched = (table["part"] == "validation") & table["quantity"].isin(list(BRANCHES))
        modulated = (table["part"] == "train") & table["quantity"].isin([*COEFFICIENTS, RATIO])
        found.append(table[watched | modulated].assign(model=model))
    if not found:
        msg = "Not drawn: no model of this run trains a branch for each of two modalities."
        raise CannotDrawError(msg)
    return balance_curves(pd.concat(found))


def inputs_of(tables: Tables, model: str) -> Figure:
    """Inputs that the risk of one model rests on."""
    return top_inputs(need(tables, f"attributions/{model}"), most=12)


def gene_quality(tables: Tables) -> Figure:
    """Measures of the gene embedding beside its controls."""
    rows = need(tables, "graph_metrics")
    order = {name: place for place, name in enumerate(MEASURES)}
    rows = rows.sort_values("metric", key=lambda names: names.map(order), kind="stable")
    return beside_controls(rows.assign(metric=rows["metric"].map(lambda name: MEASURES.get(name, name))))


def reconstructed(tables: Tables) -> Figure:
    """Correlation of predicted and measured expression by model and gene group."""
    rows = need(tables, "reconstruction")
    rows = rows.assign(label=rows["model"] + ": " + rows["group"], group=rows["model"])
    return forest(rows, quantity="correlation with measured expression", reference=0.0, log_scale=False)


def heatmap(tables: Tables, case: str, slides: Mapping[str, Slide]) -> Figure:
    """Attention on the slide of one case."""
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
