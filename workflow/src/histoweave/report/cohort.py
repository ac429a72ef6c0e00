"""The first sections: who was analysed, what was predicted from what, and how the patients were split."""

from collections.abc import Mapping

import pandas as pd

from histoweave.errors import counted
from histoweave.report.blocks import Section, Table, Text, cell, interval_text, number_text, table_of
from histoweave.report.participants import baseline, follow_up
from histoweave.report.performance import verdict
from histoweave.report.run import Run


def flow_section(run: Run) -> Section:
    """Participant flow and patients' characteristics."""
    blocks: list = [*run.named("participants")]
    if not run.has("cohort"):
        return Section("flow", "Participants", [*blocks, run.absent("cohort")])
    cohort = run.table("cohort")
    covariates = dict(run.config["inputs"].get("covariates") or {})
    if cohort["site"].replace("", pd.NA).notna().any():
        covariates["site"] = "category"
    rows = baseline(cohort, covariates)
    headings = {"variable": "variable", "level": "level", "all": "all", "event": "with event"}
    headings |= {"no_event": "without event", "missing": "missing", "smd": "std. mean difference"}
    caption = "Patients' characteristics. Values: number (share) or median (quartiles)"
    blocks.append(table_of(rows, headings, name="baseline", caption=caption))
    return Section("flow", "Participants", blocks)


def endpoint_section(run: Run) -> Section:
    """What counts as an event, from when, and for how long patients were followed."""
    if not run.has("cohort"):
        return Section("endpoint", "Endpoint", [run.absent("cohort")])
    cohort = run.table("cohort")
    told = follow_up(cohort)
    endpoint = run.config["inputs"].get("endpoint") or "the columns time_days and event"
    median = told["median_days"]
    length = "was not reached" if pd.isna(median) else f"was {median:,.0f} days"
    text = (
        f"The endpoint is {endpoint} of the patients' table; times are days from the start of follow-up and all other"
        f" patients are censored at their last contact. {told['events']:,} of {told['patients']:,} patients"
        f" ({100 * told['share']:.0f} %) had an event. Median follow-up (reverse Kaplan-Meier) {length}."
    )
    blocks: list = [Text(text), *run.named("follow_up")]
    horizons = run.config.get("survival", {}).get("horizons_days") or []
    if horizons:
        years = ", ".join(f"{days:,.0f} days ({days / 365.25:.1f} years)" for days in horizons)
        blocks.append(Text(f"Predictions are judged at {years}."))
    number = parameters(cohort, run.config["inputs"].get("covariates") or {})
    if number:
        each = told["events"] / number
        blocks.append(
            Text(
                f"The clinical Cox model has {counted(number, 'parameter')}: {each:.0f} events for each."
                " Networks have far more."
            )
        )
    return Section("endpoint", "Endpoint", [*blocks, _missing_values(cohort)])


def parameters(cohort: pd.DataFrame, covariates: Mapping[str, str]) -> int:
    """Parameters of a Cox model of the `covariates`: one for a number, one less than its levels for a category."""
    return sum(
        1 if kind == "numeric" else max(0, cohort[name].dropna().nunique() - 1)
        for name, kind in covariates.items()
        if name in cohort
    )


def _missing_values(cohort: pd.DataFrame) -> Table:
    hidden = ("patient", "slides")
    rows = [[cell(name), cell(int(cohort[name].isna().sum()))] for name in cohort if name not in hidden]
    return Table("missing-values", "Missing values per field of the cohort", ["field", "missing"], rows)


def assays_section(run: Run) -> Section:
    """Slides, features and expression data, as they were measured."""
    blocks: list = []
    if run.has("slides_qc"):
        quality = run.table("slides_qc")
        states = quality["status"].value_counts()
        told = ", ".join(f"{count:,} {state}" for state, count in states.items())
        blocks.append(Text(f"{len(quality):,} slides were given: {told}."))
        numbers = [name for name in ("n_tiles", "mpp", "tissue_um2", "width_px", "height_px") if name in quality]
        summary = quality.loc[quality["status"] == "ok", numbers].describe().T.reset_index()
        headings = {"index": "quantity", "min": "minimum", "25%": "first quartile", "50%": "median"}
        headings |= {"75%": "third quartile", "max": "maximum"}
        blocks.append(table_of(summary, headings, name="slides", caption="Slides with status ok"))
    else:
        blocks.append(run.absent("slides_qc"))
    blocks.append(_datasets(run))
    return Section("assays", "Slides and expression data", blocks)


def _datasets(run: Run) -> Table | Text:
    datasets = run.tables.get("datasets")
    if datasets is None:
        return Text("No single-cell or spatial datasets were given.", "missing")
    headings = {name: name for name in ("dataset", "modality", "tissue", "species")}
    return table_of(datasets, headings, name="datasets", caption="Datasets behind the gene graphs")


def splits_section(run: Run) -> Section:
    """The scheme of folds, with the proof that no patient has two roles."""
    blocks: list = [*run.named("splits")]
    if not run.has("folds"):
        return Section("splits", "Splits", [*blocks, run.absent("folds")])
    folds = run.table("folds")
    doubled = int(folds.duplicated(["patient", "repeat", "fold"]).sum())
    tested = folds[folds["role"] == "test"].groupby(["patient", "repeat"]).size()
    fewest = "" if tested.min() == tested.max() else f"{tested.min()} to "
    often = fewest + counted(tested.max(), "fold")
    text = (
        f"{counted(folds['repeat'].nunique(), 'repeat')} of {folds['fold'].nunique()} folds. Patients with two roles"
        f" in one fold: {doubled}. A patient is in the test part of {often} of a repeat."
        " The validation part is taken from the training part and serves early stopping and tuning; the test part is"
        " used once, after everything is fixed."
    )
    return Section("splits", "Splits", [Text(text), *blocks, _fold_table(run, folds), *_site_text(run, folds)])


def _fold_table(run: Run, folds: pd.DataFrame) -> Table:
    events: Mapping = {}
    if run.has("cohort"):
        events = run.table("cohort").set_index("patient")["event"].to_dict()
    counted = folds.assign(event=folds["patient"].map(events))
    groups = counted.groupby(["repeat", "fold", "role"])["event"].agg(["size", "sum"]).reset_index()
    headings = {"repeat": "repeat", "fold": "fold", "role": "role", "size": "patients", "sum": "events"}
    return table_of(groups, headings, name="folds", caption="Patients and events per fold")


def _site_text(run: Run, folds: pd.DataFrame) -> list[Text]:
    if not run.has("cohort") or "site" not in run.table("cohort"):
        return []
    sites = run.table("cohort").set_index("patient")["site"]
    known = folds.assign(site=folds["patient"].map(sites)).dropna(subset=["site"])
    parts = known.assign(tested=known["role"] == "test").groupby(["repeat", "fold", "site"])["tested"].nunique()
    shared = int((parts > 1).sum())
    if not shared:
        return [Text("No site is in the training and the test part of the same fold.")]
    text = (
        f"In {shared} of {len(parts)} pairs of fold and site, a site has patients in the training and the test part:"
        " the figures below may hold what is special to a site."
    )
    return [Text(text, "caution")]


def lead(run: Run) -> list[str]:
    """Sentences for the top of the page: how much data, and what the main model adds to the reference."""
    if not run.has("cohort"):
        parts = {"slides": "slides_qc", "genes in the gene graphs": "gene_embedding"}
        counts = [f"{len(run.table(name)):,} {what}" for what, name in parts.items() if run.has(name)]
        return [f"{'; '.join(counts) or 'No table'}; no survival analysis."]
    told = follow_up(run.table("cohort"))
    models = len(run.config.get("survival", {}).get("models") or {})
    size = f"{told['patients']:,} patients with {told['events']:,} events; {models} survival models on the same folds"
    if run.has("gene_embedding"):
        size += f"; {number_text(len(run.table('gene_embedding')), digits=3)} genes in the gene graphs"
    return [f"{size}.", *headline(run)]


def headline(run: Run) -> list[str]:
    """What the main model reaches, and its gain over the reference model, in one sentence."""
    chosen = run.config["report"]["figures"]
    main, reference = chosen["main_model"], chosen["reference_model"]
    if not run.has("metrics") or not run.has("comparisons"):
        return []
    reached, compared = run.table("metrics"), run.table("comparisons")
    reached = reached[(reached["model"] == main) & (reached["metric"] == "c_index")]
    pair = compared[compared["metric"] == "c_index"]
    pair = pair[(pair["model_a"] == main) & (pair["model_b"] == reference)]
    if not len(reached) or not len(pair):
        return []
    one, gain = reached.iloc[0], pair.iloc[0]
    return [
        f"{main} reaches a c-index of {interval_text(one['estimate'], one['lower'], one['upper'], digits=2)};"
        f" difference from {reference} {interval_text(gain['difference'], gain['lower'], gain['upper'], digits=2)}:"
        f" {verdict(gain.to_dict())}."
    ]
