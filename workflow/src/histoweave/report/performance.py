"""The sections on how well the models do."""

import pandas as pd

from histoweave.report.blocks import Cell, Section, Table, Text, cell, interval_cell, p_text, table_of
from histoweave.report.run import Run

NAMES = {
    "c_index": "Harrell's c",
    "c_index_ipcw": "Uno's c",
    "auc": "time-dependent AUC",
    "brier": "Brier score",
    "ibs": "integrated Brier score",
    "d_calibration_p": "D-calibration p",
}


def discrimination_section(run: Run) -> Section:
    """Metrics with intervals, and paired comparisons."""
    blocks: list = [*run.named("discrimination")]
    blocks.append(_metrics(run) if run.has("metrics") else run.absent("metrics"))
    blocks += run.named("comparisons")
    blocks.append(_comparisons(run) if run.has("comparisons") else run.absent("comparisons"))
    text = (
        "Intervals are 95 % intervals from a bootstrap over patients of the out-of-fold risks within folds. The spread"
        " over folds is not an interval and is not printed as one. Differences are paired on the same patients."
    )
    return Section("discrimination", "Discrimination", [Text(text), *blocks])


def _metrics(run: Run) -> Table:
    frame = run.table("metrics")
    columns = ["model", "metric", "horizon (days)", "estimate (95 % interval)", "patients", "events", "why not"]
    rows = []
    for row in frame.to_dict("records"):
        cells = [cell(row["model"]), cell(NAMES.get(row["metric"], row["metric"])), cell(row.get("horizon_days"))]
        cells.append(interval_cell(row["estimate"], row["lower"], row["upper"]))
        cells += [cell(row.get("n_patients")), cell(row.get("n_events")), cell(row.get("reason", ""))]
        rows.append(cells)
    caption = "Performance on the test parts of the folds"
    return Table("metrics", caption, columns, rows, file=run.files["metrics"], rows_of=list(frame.index))


def _comparisons(run: Run) -> Table:
    frame = run.table("comparisons")
    columns = ["model", "compared with", "metric", "difference (95 % interval)", "p", "p (Holm)", "in words"]
    rows = []
    for row in frame.to_dict("records"):
        cells = [cell(row["model_a"]), cell(row["model_b"]), cell(NAMES.get(row["metric"], row["metric"]))]
        cells.append(interval_cell(row["difference"], row["lower"], row["upper"]))
        cells += [_p_cell(row.get("p_value")), _p_cell(row.get("p_holm")), cell(verdict(row))]
        rows.append(cells)
    caption = "Paired comparisons: first model minus second, same patients"
    return Table("comparison", caption, columns, rows, file=run.files["comparisons"], rows_of=list(frame.index))


def verdict(row: dict) -> str:
    """What a comparison says, in words; the evaluation's own words where it gives them."""
    if row.get("verdict"):
        return row["verdict"]
    if pd.isna(row["difference"]) or pd.isna(row["lower"]):
        return row.get("reason") or "not available"
    return "within noise" if row["lower"] <= 0 <= row["upper"] else "clear of zero"


def _p_cell(value: float | None) -> Cell:
    return cell(None) if value is None or pd.isna(value) else Cell(p_text(value), repr(float(value)), number=True)


def use_section(run: Run) -> Section:
    """Risk groups: Kaplan-Meier curves cut at the training median."""
    blocks: list = [*run.named("kaplan_meier")]
    if run.has("logrank"):
        headings = {name: name.replace("_", " ") for name in run.table("logrank").columns}
        caption = "Risk groups, cut at the median risk of the training part"
        blocks.append(
            table_of(run.table("logrank"), headings, name="logrank", caption=caption, file=run.files["logrank"])
        )
    else:
        blocks.append(run.absent("logrank"))
    return Section("use", "Clinical use", blocks)
