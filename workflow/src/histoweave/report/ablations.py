"""What G-HANet's parts are worth: ablations beside the whole model, and the expression it reads off the slide."""

import numpy as np
import pandas as pd

from histoweave.report.blocks import Cell, Table, Text, cell, interval_cell
from histoweave.report.run import Run

_Z = 1.959963984540054  # 97.5th percentile of the normal distribution


def flat(settings: dict, prefix: str = "") -> dict[str, object]:
    """Nested settings as ``a.b`` -> value."""
    made: dict[str, object] = {}
    for key, value in settings.items():
        made |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return made


def variants(models: dict) -> list[tuple[str, str, str]]:
    """(model, the plain model of its method, what differs) of models that differ from a plain one by settings."""
    plain = {spec["method"]: name for name, spec in reversed(models.items()) if not spec.get("set")}
    rows = []
    for name, spec in models.items():
        changes = ", ".join(f"{key} {value}" for key, value in flat(spec.get("set") or {}).items())
        if changes and spec["method"] in plain:
            rows.append((name, plain[spec["method"]], changes))
    return rows


def ablation_blocks(run: Run) -> list:
    """The table of ablations: what differs, the c-index, and the paired difference from the whole model."""
    found = variants(run.config["survival"].get("models", {}))
    if not found or not run.has("metrics"):
        return []
    metrics = run.table("metrics")
    c_index = metrics[metrics["metric"] == "c_index"].drop_duplicates("model").set_index("model")
    rows = []
    for model, plain, changes in found:
        shown = [_estimate(c_index, name) for name in (model, plain)]
        rows.append([cell(model), cell(changes), shown[0], cell(plain), shown[1], _difference(run, model, plain)])
    columns = ["model", "differs in", "Harrell's c", "whole model", "its c", "difference (paired)"]
    caption = "Versions of a model with other settings, beside the model as configured"
    text = (
        "A part of a model is worth what the whole gains over the version without it, on the same patients and folds."
        " A difference whose interval holds 0 is within noise: the gain is not shown."
    )
    return [Text(text), Table("ablations", caption, columns, rows)]


def _estimate(c_index: pd.DataFrame, model: str) -> Cell:
    if model not in c_index.index:
        return cell(None)
    row = c_index.loc[model]
    return interval_cell(row["estimate"], row["lower"], row["upper"])


def _difference(run: Run, model: str, plain: str) -> Cell:
    """Version minus whole, from whichever way round the two were compared."""
    if run.has("comparisons"):
        table = run.table("comparisons")
        for first, second, sign in ((model, plain, 1), (plain, model, -1)):
            rows = table[(table["model_a"] == first) & (table["model_b"] == second) & (table["metric"] == "c_index")]
            if len(rows):
                row = rows.iloc[0]
                bounds = sorted((sign * row["lower"], sign * row["upper"]))
                return interval_cell(sign * row["difference"], *bounds)
    return Cell("not compared (evaluation.compare.pairs)", "")


def pooled_reconstruction(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per model and group: correlations of all folds as one, by Fisher's z weighted by n - 3, with an interval.

    rows : ``model, group, genes, patients, r_group, r_gene`` per fold. Of repeats the first alone is taken, since the
    same patients come again. Returns ``model, group, genes, patients, estimate, lower, upper, r_gene``.
    """
    rows = rows[(rows["repeat"] == rows["repeat"].min()) & (rows["patients"] > 3)].dropna(subset=["r_group"])
    made = []
    for (model, group), part in rows.groupby(["model", "group"], sort=False):
        weight = part["patients"] - 3
        z = np.average(np.arctanh(part["r_group"].clip(-0.999999, 0.999999)), weights=weight)
        half = _Z / np.sqrt(weight.sum())
        bounds = np.tanh([z, z - half, z + half])
        median = np.average(part["r_gene"].fillna(0.0), weights=weight)
        made.append((model, group, round(part["genes"].mean()), part["patients"].sum(), *bounds, median))
    return pd.DataFrame(made, columns=["model", "group", "genes", "patients", "estimate", "lower", "upper", "r_gene"])


def reconstruction_blocks(run: Run) -> list:
    """Figure and table of how well expression is predicted from slides, by model and gene group."""
    rows = run.tables.get("reconstruction")
    if rows is None or not len(rows):
        return []
    cells = [
        [cell(row.model), cell(row.group), cell(row.genes), cell(row.patients)]
        + [interval_cell(row.estimate, row.lower, row.upper), cell(row.r_gene)]
        for row in rows.itertuples()
    ]
    columns = ["model", "gene group", "genes", "patients", "r of the group's mean (95 % interval)", "median r of genes"]
    text = (
        "How well the expression of each gene group is read off the slides of patients whom the fold's model has not"
        " seen: Pearson correlation with their own expression, folds pooled. A model that was taught with the"
        " expression of other patients, or not taught at all, shows what chance gives."
    )
    caption = "Expression predicted from slides, against the test patients' own"
    return [Text(text), *run.named("reconstruction"), Table("reconstruction", caption, columns, cells)]
