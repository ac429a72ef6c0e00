"""The section on external cohorts, for which everything is frozen from training."""

import pandas as pd

from histoweave.report.blocks import Cell, Section, Table, Text, cell, interval_cell, table_of
from histoweave.report.performance import ESTIMATE, NAMES, interval_words, p_cell, verdict
from histoweave.report.run import Run

_P_VALUES = ("d_calibration_p", "log_rank_p")


def external_section(run: Run) -> Section:
    """Who the external cohorts are, how the frozen models do there, and how they compare there."""
    title = "External validation"
    wanted = "external" in run.config["inputs"]["cohorts"].values() or run.config["evaluation"]["cohorts"]
    if not wanted and run.has("cohort"):
        none = (
            "No external cohort was given (inputs.cohorts, evaluation.cohorts): nothing on this page says how the"
            " models do in patients of another origin."
        )
        return Section("external", title, [Text(none)])
    if not wanted or not run.has("external"):
        return Section("external", title, [run.absent("external")])
    text = (
        "The models were trained on the training cohorts alone and predict these patients once. Nothing was fitted to"
        " them: scaling, genes, the cut between the risk groups, baseline hazards, the weights of censoring and the"
        " Kaplan-Meier reference come from training."
    )
    blocks: list = [Text(text), _cohorts(run), *run.named("external"), _summary(run)]
    blocks += [*run.named("external_calibration"), *run.named("external_kaplan_meier")]
    if run.has("external_comparisons"):
        blocks.append(_comparisons(run))
    headings = {"cohort": "cohort", "model": "model", "metric": "metric", "horizon_days": "horizon (days)"}
    headings |= {name: name for name in (*ESTIMATE, "n_patients", "n_events", "reason")}
    caption = "Every metric on the external cohorts"
    return Section("external", title, [*blocks, _whole(run, headings, caption)])


def _whole(run: Run, headings: dict[str, str], caption: str) -> Table:
    frame = run.table("external")
    shown = frame.assign(metric=frame["metric"].map(lambda name: NAMES.get(name, name)))
    return table_of(shown, headings, name="external", caption=caption, file=run.files["external"])


def _cohorts(run: Run) -> Table:
    """Patients, events and follow-up of each cohort."""
    frame = run.table("external")
    rows = []
    for cohort, part in frame[frame["model"] == ""].groupby("cohort", sort=False):
        told, first = part.set_index("metric")["estimate"], part.iloc[0]
        cells = [cell(cohort), cell(first["n_patients"]), cell(first["n_events"])]
        rows.append([*cells, cell(told["event_rate"]), cell(told["median_follow_up_days"])])
    columns = ["cohort", "patients", "events", "share with the event", "median follow-up (days, reverse Kaplan-Meier)"]
    return Table("external-cohorts", "External cohorts", columns, rows)


def _summary(run: Run) -> Table:
    """One row per cohort and model, one column per metric; with several horizons the metrics of the middle one."""
    frame = run.table("external")
    frame = frame[~frame["model"].isin(["", "kaplan_meier"])]
    days = sorted(frame.dropna(subset=["estimate"])["horizon_days"].dropna().unique())
    chosen = days[(len(days) - 1) // 2] if days else None
    frame = frame[frame["horizon_days"].isna() | (frame["horizon_days"] == chosen)]
    metrics = sorted(frame["metric"].unique(), key=list(NAMES).index)
    rows = []
    for (cohort, model), part in frame.groupby(["cohort", "model"], sort=False):
        found = part.drop_duplicates("metric").set_index("metric")
        cells = [_value(found, name) for name in metrics]
        rows.append([cell(cohort), cell(model), *cells, cell(part["n_patients"].iloc[0])])
    caption = f"Frozen models on external cohorts; estimate ({interval_words(run)})"
    caption += f", at day {chosen:,.0f} where a metric has a horizon" if chosen else ""
    return Table("external-summary", caption, ["cohort", "model", *(NAMES[m] for m in metrics), "patients"], rows)


def _value(found: pd.DataFrame, metric: str) -> Cell:
    if metric not in found.index:
        return cell(None)
    row = found.loc[metric]
    return p_cell(row["estimate"]) if metric in _P_VALUES else interval_cell(*(row[name] for name in ESTIMATE))


def _comparisons(run: Run) -> Table:
    frame = run.table("external_comparisons")
    rows = [
        [cell(row["cohort"]), cell(row["model_a"]), cell(row["model_b"]), cell(NAMES.get(row["metric"], row["metric"]))]
        + [cell(row["horizon_days"]), interval_cell(row["difference"], row["lower"], row["upper"])]
        + [p_cell(row["p_value"]), p_cell(row["p_holm"]), cell(verdict(row))]
        for row in frame.to_dict("records")
    ]
    columns = ["cohort", "model", "compared with", "metric", "horizon (days)", f"difference ({interval_words(run)})"]
    file = run.files["external_comparisons"]
    caption = "Paired comparisons on the external cohorts: first model minus second, same patients"
    columns += ["p", "p (Holm)", "in words"]
    return Table("external-comparisons", caption, columns, rows, file=file, rows_of=list(frame.index))
