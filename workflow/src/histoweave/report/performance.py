"""The sections on how well the models do."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from histoweave.report.ablations import ablation_blocks
from histoweave.report.blocks import Cell, Section, Table, Text, cell, interval_cell, p_text, table_of
from histoweave.report.run import Run

NAMES = {
    "c_index": "Harrell's c",
    "c_index_ipcw": "Uno's c",
    "auc": "time-dependent AUC",
    "brier": "Brier score",
    "ibs": "integrated Brier score",
    "ipa": "index of prediction accuracy",
    "d_calibration_p": "D-calibration p",
    "calibration_slope": "calibration slope",
    "observed_expected": "observed / expected",
    "hazard_ratio": "hazard ratio per SD",
    "log_rank_p": "log-rank p",
    "event_rate": "share with the event",
    "median_follow_up_days": "median follow-up (days)",
}

ESTIMATE = ("estimate", "lower", "upper")


def interval_words(run: Run) -> str:
    """The level of the run's intervals, such as ``95 % interval``."""
    level = run.config.get("evaluation", {}).get("bootstrap", {}).get("confidence", 0.95)
    return f"{100 * level:g} % interval"


def discrimination_section(run: Run) -> Section:
    """Metrics with intervals, and paired comparisons."""
    blocks: list = [*run.named("discrimination")]
    if run.has("metrics"):
        blocks += [_summary(run), _metrics(run)]
    else:
        blocks.append(run.absent("metrics"))
    blocks += run.named("comparisons")
    blocks.append(_comparisons(run) if run.has("comparisons") else run.absent("comparisons"))
    blocks += ablation_blocks(run)
    draws = run.config.get("evaluation", {}).get("bootstrap", {}).get("draws")
    text = (
        f"Each estimate stands with its {interval_words(run)} from a bootstrap over patients of the out-of-fold risks,"
        f" within folds{f' ({draws:,} draws)' if draws else ''}. The spread over folds is not an interval and is not"
        " printed as one. Differences are paired on the same patients; p-values are corrected by Holm's rule over the"
        " comparisons of a metric."
    )
    return Section("discrimination", "Discrimination", [Text(text), *blocks])


def _summary(run: Run) -> Table:
    """One row per model, one column per metric without a horizon."""
    frame = run.table("metrics")
    frame = frame[frame["horizon_days"].isna()]
    metrics = list(dict.fromkeys(frame["metric"]))
    rows = []
    for model, part in frame.groupby("model", sort=False):
        found = part.drop_duplicates("metric").assign(row=lambda rows: rows.index).set_index("metric")
        cells = [_to_row(found.loc[name]) if name in found.index else cell(None) for name in metrics]
        first = part.iloc[0]
        rows.append([cell(model), *cells, cell(first["n_patients"]), cell(first["n_events"])])
    columns = ["model", *(NAMES.get(name, name) for name in metrics), "patients", "events"]
    return Table("summary", f"All models on the same folds; estimate ({interval_words(run)})", columns, rows)


def _to_row(found: pd.Series) -> Cell:
    """Cell of an estimate that links to its row in the table of all metrics."""
    shown = interval_cell(found["estimate"], found["lower"], found["upper"])
    return replace(shown, link=f"#metrics-row-{found['row']}")


def _metrics(run: Run) -> Table:
    frame = run.table("metrics")
    columns = ["model", "metric", "horizon (days)", f"estimate ({interval_words(run)})", "patients", "events"]
    rows = []
    for row in frame.to_dict("records"):
        cells = [cell(row["model"]), cell(NAMES.get(row["metric"], row["metric"])), cell(row["horizon_days"])]
        cells.append(interval_cell(row["estimate"], row["lower"], row["upper"]))
        rows.append([*cells, cell(row["n_patients"]), cell(row["n_events"]), cell(row["reason"])])
    caption = "Every metric, with the reason where one could not be computed"
    columns.append("why not")
    return Table("metrics", caption, columns, rows, file=run.files["metrics"], rows_of=list(frame.index))


def _comparisons(run: Run) -> Table:
    frame = run.table("comparisons")
    columns = ["model", "compared with", "metric", "horizon (days)", f"difference ({interval_words(run)})"]
    columns += ["p", "p (Holm)", "p over repeats", "in words"]
    rows = []
    for row in frame.to_dict("records"):
        cells = [cell(row["model_a"]), cell(row["model_b"]), cell(NAMES.get(row["metric"], row["metric"]))]
        cells += [cell(row["horizon_days"]), interval_cell(row["difference"], row["lower"], row["upper"])]
        cells += [p_cell(row["p_value"]), p_cell(row["p_holm"]), p_cell(row["nb_p_value"]), cell(verdict(row))]
        rows.append(cells)
    caption = (
        "Paired comparisons: first model minus second, same patients; 'p over repeats' is Nadeau and Bengio's test"
    )
    return Table("comparison", caption, columns, rows, file=run.files["comparisons"], rows_of=list(frame.index))


def verdict(row: dict) -> str:
    """What a comparison says, with the models' names in place of a and b."""
    words = row["verdict"] or row["reason"] or "not available"
    for side in ("a", "b"):
        words = words.replace(f"{side} better", f"{row[f'model_{side}']} better")
    return words


def p_cell(value: float) -> Cell:
    """Cell of a p-value."""
    return cell(None) if pd.isna(value) else Cell(p_text(value), repr(float(value)), number=True)


def calibration_section(run: Run) -> Section:
    """Whether predicted probabilities are met, and the error of the whole predicted curve."""
    blocks: list = [*run.named("calibration"), *run.named("d_calibration")]
    chosen = ("calibration_slope", "observed_expected", "d_calibration_p", "brier", "ibs", "ipa")
    if run.has("metrics"):
        frame = run.table("metrics")
        blocks.append(_long(run, "metrics", frame[frame["metric"].isin(chosen)], name="calibration-metrics"))
    else:
        blocks.append(run.absent("metrics"))
    if run.has("calibration"):
        headings = {name: name.replace("_", " ") for name in run.table("calibration")}
        caption = "Groups of similar predicted risk"
        blocks.append(_whole(run, "calibration", headings, caption=caption))
    text = (
        "Risks are turned into survival probabilities by a baseline that is fitted on the training part alone. The row"
        " 'kaplan_meier' gives everybody the survival of the training part; a model is of use where its Brier score is"
        " lower."
    )
    return Section("calibration", "Calibration and overall error", [Text(text), *blocks])


def _long(run: Run, source: str, frame: pd.DataFrame, *, name: str) -> Table:
    rows = []
    for row in frame.to_dict("records"):
        cells = [cell(row["model"]), cell(NAMES.get(row["metric"], row["metric"])), cell(row["horizon_days"])]
        rows.append([*cells, interval_cell(row["estimate"], row["lower"], row["upper"]), cell(row["reason"])])
    columns = ["model", "metric", "horizon (days)", f"estimate ({interval_words(run)})", "why not"]
    caption = "Calibration and overall error"
    return Table(name, caption, columns, rows, file=run.files[source], rows_of=list(frame.index))


def _whole(run: Run, name: str, headings: dict[str, str], *, caption: str) -> Table:
    """All rows of the table `name`, with links to them."""
    return table_of(run.table(name), headings, name=name, caption=caption, file=run.files[name])


def use_section(run: Run) -> Section:
    """Decision curves, and risk groups cut at the training median."""
    blocks: list = [*run.named("decision"), *run.named("kaplan_meier")]
    blocks.append(_rows(run, "logrank", _logrank))
    text = "Groups are never cut where the test part's curves differ most; such a cut makes any risk look telling."
    return Section("use", "Clinical use", [Text(text), *blocks])


def _logrank(run: Run) -> Table:
    rows = [
        [cell(row["model"]), cell(row["statistic"]), p_cell(row["p_value"])]
        + [cell(row[f"{name}_{group}"]) for name in ("n", "events", "median_days") for group in ("low", "high")]
        + [cell(row["reason"])]
        for row in run.table("logrank").to_dict("records")
    ]
    groups = [f"{name}, {group} risk" for name in ("patients", "events", "median days") for group in ("low", "high")]
    caption = "Risk groups, cut at the median risk of the training part; counts are means over the repeats"
    return _linked(run, "logrank", caption, ["model", "log-rank statistic", "p", *groups, "why not"], rows)


def added_section(run: Run) -> Section:
    """Hazard ratios, and what the risks add to the clinical covariates."""
    blocks: list = []
    for name, make in (("hazard_ratios", _hazards), ("added_value", _added)):
        blocks += run.named(name)
        blocks.append(_rows(run, name, make))
    return Section("added", "Added value over clinical covariates", blocks)


def _rows(run: Run, name: str, make: Callable[[Run], Table]) -> object:
    return make(run) if run.has(name) else run.absent(name)


def _hazards(run: Run) -> Table:
    rows = [
        [cell(row["model"]), cell(row["adjusted_for"] or "nothing")]
        + [interval_cell(row["hazard_ratio"], row["lower"], row["upper"], digits=2), p_cell(row["p_value"])]
        + [cell(row["n_patients"]), cell(row["n_events"]), cell(row["reason"])]
        for row in run.table("hazard_ratios").to_dict("records")
    ]
    columns = ["model", "adjusted for", f"hazard ratio per SD ({interval_words(run)})", "p", "patients", "events"]
    return _linked(run, "hazard_ratios", "Hazard ratios, stratified by fold", [*columns, "why not"], rows)


def _added(run: Run) -> Table:
    rows = [
        [cell(row["model"]), cell(row["covariates"]), cell(row["chi_square"]), p_cell(row["p_value"])]
        + [cell(row["c_covariates"]), cell(row["c_with_risk"])]
        + [interval_cell(row["change"], row["lower"], row["upper"]), cell(row["n_patients"]), cell(row["n_events"])]
        + [cell(row["reason"])]
        for row in run.table("added_value").to_dict("records")
    ]
    columns = ["model", "covariates", "likelihood ratio", "p", "c of covariates", "c with the risk"]
    columns += [f"change ({interval_words(run)})", "patients", "events", "why not"]
    return _linked(run, "added_value", "What each risk adds to the covariates", columns, rows)


def _linked(run: Run, name: str, caption: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    return Table(name, caption, columns, rows, file=run.files[name], rows_of=list(run.table(name).index))


def subgroups_section(run: Run) -> Section:
    """Performance within subgroups of patients, and at sites that the models have not seen."""
    blocks: list = [*run.named("subgroups"), _rows(run, "subgroups", _subgroups), *_sites(run)]
    text = (
        "Subgroups with too few events are named and not estimated. Many subgroups are looked at; expect chance finds."
    )
    return Section("subgroups", "Heterogeneity", [Text(text), *blocks])


def _subgroups(run: Run) -> Table:
    rows = [
        [cell(row["model"]), cell(row["variable"]), cell(row["level"]), cell(NAMES.get(row["metric"], row["metric"]))]
        + [interval_cell(row["estimate"], row["lower"], row["upper"]), cell(row["n_patients"]), cell(row["n_events"])]
        + [cell(row["reason"])]
        for row in run.table("subgroups").to_dict("records")
    ]
    columns = ["model", "variable", "level", "metric", f"estimate ({interval_words(run)})", "patients", "events"]
    return _linked(run, "subgroups", "Subgroups", [*columns, "why not"], rows)


def _sites(run: Run) -> list:
    """Leave-one-site-out, where the config asks for it."""
    if not run.config["survival"]["one_site_out"]["models"]:
        return [Text("No model was trained anew without a site (survival.one_site_out); above, a site's patients are"
                     " tested with those of the other sites of their fold.")]  # fmt: skip
    if not run.has("sites"):
        return [run.absent("sites")]
    text = (
        "Leave-one-site-out: each model was trained anew without the site and tested there, so patients are compared"
        " within their site. 'Mean of sites' is that of a random-effects model; 'another site' is the range in which"
        " the c-index of a further site is expected, which matters to a hospital that was not part of this study."
    )
    return [Text(text), *run.named("sites"), _site_table(run)]


def _site_table(run: Run) -> Table:
    frame = run.table("sites")
    frame = frame[frame["metric"] == "c_index"]
    inside = {}
    if run.has("subgroups"):
        groups = run.table("subgroups").query("variable == 'site' and metric == 'c_index'")
        inside = {(row.model, row.level): cell(row.estimate) for row in groups.itertuples()}
    rows = [
        [cell(row["model"]), cell(row["site"] or row["kind"]), interval_cell(*(row[k] for k in ESTIMATE))]
        + [inside.get((row["model"], row["site"]), cell(None)), cell(row["n_patients"]), cell(row["n_events"])]
        + [cell(row["reason"])]
        for row in frame.to_dict("records")
    ]
    columns = ["model", "site", f"Harrell's c ({interval_words(run)})", "c there in the folds", "patients", "events"]
    caption = "Models trained without the site"
    return Table("sites", caption, [*columns, "why not"], rows, file=run.files["sites"], rows_of=list(frame.index))


def robustness_section(run: Run) -> Section:
    """Audits of the run, the spread over folds, and how the networks learned."""
    blocks: list = []
    if run.has("audits"):
        headings = {"check": "check", "subject": "of", "value": "value", "lower": "lower", "upper": "upper"}
        headings |= {"verdict": "verdict", "sentence": "in words"}
        caption = "Audits: 'look' asks for a second look, 'fact' is for information"
        blocks.append(_whole(run, "audits", headings, caption=caption))
    else:
        blocks.append(run.absent("audits"))
    blocks.append(_rows(run, "fold_metrics", _folds))
    return Section("robustness", "Robustness", [*blocks, *run.named("training"), *run.named("balance")])


def _folds(run: Run) -> Table:
    """Range over folds of each model's c-index."""
    frame = run.table("fold_metrics")
    frame = frame[frame["metric"] == "c_index"]
    rows = []
    for model, part in frame.groupby("model", sort=False):
        values = part["estimate"].dropna().to_numpy()
        told = [np.min(values), np.median(values), np.max(values)] if len(values) else [np.nan] * 3
        rows.append([cell(model), cell(len(values)), *map(cell, told), cell(int(part["estimate"].isna().sum()))])
    columns = ["model", "folds", "lowest c", "median c", "highest c", "folds without"]
    return Table("fold-range", "Harrell's c by fold (a range, not an interval)", columns, rows)
