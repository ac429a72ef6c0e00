"""What stage 1 of Path-GPTOmic learned of mixtures of cells, and the cell types that it finds in the bulk samples."""

from collections.abc import Mapping

import pandas as pd

from histoweave.report.blocks import Text, table_of
from histoweave.report.run import Run

PREFIX = "proportion_"  # of columns of risk.parquet
_ERROR = "error_"  # of quantities of training.parquet
_MEANING = {
    "regulated": "the regulated encoder, which stage 2 takes",
    "unregulated": "a linear read-out of the same encoder without stage 1",
    "expression": "a linear read-out of the expression itself",
    "profiles": "least squares on the types' mean profiles",
    "mean": "the mean proportions, whatever the sample",
}


def shares_of(risks: Mapping[str, pd.DataFrame]) -> pd.DataFrame | None:
    """(patient, cell type) shares of the first of `risks` that has them, means over repeats."""
    for risk in risks.values():
        columns = [name for name in risk if str(name).startswith(PREFIX)]
        shares = risk.groupby("patient")[columns].mean().dropna() if columns else pd.DataFrame()
        if len(shares):
            return shares.rename(columns=lambda name: name.removeprefix(PREFIX))
    return None


def stage_one_blocks(run: Run) -> list:
    """Errors on held-out mixtures beside the controls, and the cell types of the bulk samples."""
    models = run.config["survival"]["models"]
    parts = [run.table(f"training/{name}").assign(model=name) for name in models if run.has(f"training/{name}")]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["part", "quantity"])
    rows = rows.assign(read_out=rows["quantity"].str.removeprefix(_ERROR))
    rows = rows[(rows["part"] == "mixtures") & rows["read_out"].isin(list(_MEANING))]
    if not len(rows):
        return []
    errors = rows.groupby(["model", "read_out"], sort=False)["value"].agg(["mean", "min", "max", "size"]).reset_index()
    errors["read_out"] = errors["read_out"].map(_MEANING)
    text = (
        "Stage 1 of Path-GPTOmic learns, from mixtures of annotated single cells, to tell the share of each cell type."
        " The table has its error on mixtures of cells that it has not seen, beside simpler read-outs. The encoder of"
        " each fold then estimates the cell types of that fold's test patients (columns 'proportion_...' of the risk"
        " tables). These are shares of RNA, not of cells, of the types in the single-cell data alone: a type that is"
        " missing there is counted as its nearest relative."
    )
    headings = {"model": "model", "read_out": "read-out", "mean": "mean error", "min": "lowest", "max": "highest"}
    caption = "Mean absolute error of the proportions of held-out mixtures, over the folds"
    table = table_of(errors, headings | {"size": "folds"}, name="stage-one", caption=caption)
    return [Text(text), table, *run.named("cell_types")]
