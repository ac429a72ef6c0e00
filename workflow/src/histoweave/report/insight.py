"""The section on what the models saw on the slides and in the genes."""

import pandas as pd

from histoweave.report.ablations import reconstruction_blocks
from histoweave.report.blocks import Link, Section, Table, Text, table_of
from histoweave.report.mixtures import stage_one_blocks
from histoweave.report.run import Run


def heatmaps_section(run: Run) -> Section:
    """Attention on the slides of cases that a rule picks."""
    text = (
        "The cases are picked by rule, from the out-of-fold risks of the first repeat: the patients with the highest,"
        " the median and the lowest risk. Attention says which tiles weighed in the model's pooling; it does not say"
        " that what they show causes the outcome."
    )
    blocks: list = [Text(text), *run.named("heatmap")]
    if not run.has("attention"):
        blocks.append(Text("Not available: no model of this run gave attention.", "missing"))
    blocks += [*run.named("attributions"), *_inputs(run), *_checks(run)]
    blocks += [*reconstruction_blocks(run), *stage_one_blocks(run)]
    if run.texts.get("viewer"):
        blocks.append(Link("Zoom into these slides", str(run.texts["viewer"])))
    return Section("heatmaps", "Slide heatmaps and inputs", blocks)


def _explained(run: Run, name: str) -> pd.DataFrame:
    """Rows of the table `name` of all models, with the column ``model``."""
    models = run.config["survival"]["models"]
    found = [run.table(f"{name}/{model}").assign(model=model) for model in models if run.has(f"{name}/{model}")]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _inputs(run: Run) -> list[Table]:
    """The ten inputs of largest mean share of each model and kind."""
    rows = _explained(run, "attributions")
    if not len(rows):
        return []
    means = rows.groupby(["model", "kind", "name"], sort=False)[["share", "mean"]].mean().reset_index()
    means = means.sort_values(["model", "kind", "share"], ascending=[True, True, False], kind="stable")
    top = means.groupby(["model", "kind"], sort=False).head(10)
    headings = {"model": "model", "kind": "kind", "name": "input", "share": "share of the risk", "mean": "mean effect"}
    headings |= {"p_value": "p under permuted follow-up", "p_share": "p of the share"}
    tested = _explained(run, "attribution_null")
    if len(tested):
        top = top.merge(
            tested[["model", "kind", "name", "p_value", "p_share"]], how="left", on=["model", "kind", "name"]
        )
    caption = (
        "Inputs with the largest share of each model's risk, means over folds; a gene group is the sum over its genes,"
        " or what a model predicts of it from slides"
    )
    return [table_of(top, headings, name="inputs", caption=caption)]


def _checks(run: Run) -> list:
    """What the checks of the explanations gave, by model."""
    rows = _explained(run, "attribution_checks")
    if not len(rows):
        return []
    summary = rows.groupby(["model", "check"], sort=False)["value"].agg(["median", "min", "max", "size"]).reset_index()
    headings = {"model": "model", "check": "check", "median": "median", "min": "lowest", "max": "highest"}
    text = (
        "Checks: 'completeness' is what the attributions of a patient miss of its risk, as a share (0 is right);"
        " 'randomised_weights' is the rank correlation of the attention with that of the same network with random"
        " weights (near 0 means that the training made it); 'stability' is the rank correlation between folds;"
        " 'group_completeness' is that of the groups that a model predicts from slides."
    )
    table = table_of(
        summary, headings | {"size": "values"}, name="explanation-checks", caption="Checks of explanations"
    )
    return [Text(text), table]
