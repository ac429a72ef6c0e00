"""Reporting checklists, filled in where the run knows the answer."""

from collections.abc import Callable, Mapping

import pandas as pd

from histoweave.errors import counted
from histoweave.report.blocks import Cell, Section, Table, Text, cell
from histoweave.report.participants import follow_up
from histoweave.report.run import Run

AUTHORS = "for the authors"


def checklists_section(run: Run) -> Section:
    """TRIPOD+AI and REMARK, item by item; they are about studies of patients."""
    if not run.config["inputs"].get("patients"):
        return Section(
            "checklists", "Reporting checklists", [Text("Not available: no patients were given.", "missing")]
        )
    blocks: list = [
        Text(
            "What the run knows is filled in and linked to where this page shows it; the rest is marked 'for the"
            " authors'. A filled checklist tells what is reported, not how good the study is."
        )
    ]
    facts = answers(run)
    for name in ("tripod_ai", "remark"):
        if name in run.texts:
            blocks.append(_table(name, run.texts[name], facts))
    return Section("checklists", "Reporting checklists", blocks)


def _table(name: str, checklist: Mapping, facts: Mapping[str, str]) -> Table:
    rows = []
    for item in checklist["items"]:
        answer = facts.get(item.get("answer", ""), "")
        place = Cell(item["section"], item["section"], link=f"#{item['section']}") if answer else Cell("")
        known = "answered by the run" if answer else AUTHORS
        rows.append([Cell(item["item"], item["item"]), cell(item["topic"]), cell(known), cell(answer), place])
    done = sum(row[2].text != AUTHORS for row in rows)
    caption = f"{checklist['name']}: {done} of {len(rows)} items answered by the run"
    return Table(name, caption, ["item", "topic", "status", "answer", "section"], rows)


def answers(run: Run) -> dict[str, str]:
    """What the run knows, by the names that the checklists use; what it does not know is left out."""
    facts: dict[str, str] = {}
    for names, make in _MAKERS:
        if all(run.has(name) for name in names):
            facts |= make(run)
    return {name: text for name, text in facts.items() if text}


def _from_config(run: Run) -> dict[str, str]:
    survival = run.config.get("survival") or {}
    models = survival.get("models") or {}
    covariates = ", ".join(run.config["inputs"].get("covariates") or {})
    horizons = ", ".join(f"{days:,}" for days in survival.get("horizons_days") or [])
    return {
        "objective": f"Development and internal evaluation of {len(models)} models, compared on the same folds.",
        "models": f"{', '.join(models)}; settings and references in the Methods paragraph.",
        "predictors": f"Features of slide tiles, bulk expression; clinical covariates: {covariates or 'none'}.",
        "handling": "Scaling, panels and bins are estimated in the training part of each fold.",
        "measures": "Harrell's and Uno's c, AUC, Brier scores, calibration, net benefit; settings in Methods.",
        "prediction": f"Survival at {horizons} days from the risk and a baseline fitted on the training part.",
        "imbalance": "Nothing was resampled; censoring is handled by weights or by the likelihood.",
        "output": "A continuous risk; groups are cut at the median risk of the training part.",
        "code": "This workflow; all settings, seeds and versions stand in this page.",
        "bundle": "One bundle per model under survival/<model>/bundle: weights, statistics, gene lists.",
        "limits": "General limits of the design; those of your data are for you to add.",
        "missing_input": "A patient without what a model needs gets no risk from it and stands in the ledger.",
        "fairness": "Performance by subgroup, with intervals; too small ones are named and not estimated.",
    }


def _from_cohort(run: Run) -> dict[str, str]:
    cohort = run.table("cohort")
    told = follow_up(cohort)
    sites = cohort["site"].replace("", pd.NA).nunique()
    missing = cohort.drop(columns=["slides"], errors="ignore").isna().sum()
    gaps = ", ".join(f"{name} {count}" for name, count in missing[missing > 0].items())
    endpoint = run.config["inputs"].get("endpoint") or "time_days and event"
    median = "not reached" if pd.isna(told["median_days"]) else f"{told['median_days']:,.0f} days"
    size = f"{told['patients']:,} patients, {told['events']:,} events"
    return {
        "data": f"{size}, from the tables named in the config; how they were gathered is for the authors.",
        "sites": f"{sites} sites." if sites else "",
        "endpoint": f"{endpoint}; times in days from the start of follow-up.",
        "size": f"{size}; no sample size was calculated.",
        "missing": f"Missing values: {gaps or 'none'}.",
        "baseline": f"Table of {told['patients']:,} patients by event, with missing values.",
        "flow": f"{size} analysed; those left out, with reasons, stand in the flow and the ledger.",
        "followup": f"Median follow-up by reverse Kaplan-Meier {median}; dates are for the authors.",
    }


def _from_folds(run: Run) -> dict[str, str]:
    folds = run.table("folds")
    scheme = run.config.get("survival", {}).get("folds", {}).get("scheme", "")
    repeats = counted(folds["repeat"].nunique(), "repeat")
    text = f"{repeats} of {folds['fold'].nunique()} folds, scheme '{scheme}', nested."
    return {"splits": text, "differences": f"Training and test parts are of the same cohort: {text}"}


def _from_slides(run: Run) -> dict[str, str]:
    states = run.table("slides_qc")["status"].value_counts()
    return {"quality": "Slides: " + ", ".join(f"{count} {state}" for state, count in states.items()) + "."}


def _from_external(run: Run) -> dict[str, str]:
    cohorts = sorted(run.table("external")["cohort"].unique())
    if not cohorts:
        return {}
    where = f"external cohorts ({', '.join(cohorts)})"
    return {"differences": f"The {where} stand beside the training cohorts; frozen models there, with intervals."}


def _from_metrics(run: Run) -> dict[str, str]:
    rows = run.table("metrics")
    rows = rows[rows["metric"] == "c_index"]
    best = ", ".join(f"{row.model} {row.estimate:.2f}" for row in rows.itertuples() if pd.notna(row.estimate))
    counts = ", ".join(f"{row.model} {row.n_patients}/{row.n_events}" for row in rows.itertuples())
    return {"performance": f"c-index: {best}; all with intervals.", "analysed": f"Patients/events: {counts}."}


def _said(names: tuple[str, ...], text: str) -> Callable[[Run], dict[str, str]]:
    return lambda _run: dict.fromkeys(names, text)


_MAKERS: tuple[tuple[tuple[str, ...], Callable[[Run], dict[str, str]]], ...] = (
    ((), _from_config),
    (("cohort",), _from_cohort),
    (("folds",), _from_folds),
    (("slides_qc",), _from_slides),
    (("metrics",), _from_metrics),
    (("subgroups",), _said(("clusters",), "c-index by site and other subgroups, with intervals.")),
    (("added_value",), _said(("added",), "Hazard ratios adjusted for the covariates; likelihood ratio; change of c.")),
    (
        ("kaplan_meier",),
        _said(("univariable",), "Kaplan-Meier curves with numbers at risk, stratified log-rank tests."),
    ),
    (("external",), _from_external),
    (("audits",), _said(("audits",), "Audits of sites, roles, follow-up and seeds.")),
)
