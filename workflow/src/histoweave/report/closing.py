"""The last sections: limits, what was left out, and where everything comes from."""

import hashlib
import json

import pandas as pd

from histoweave.report.blocks import Cell, Code, Section, Table, Text, cell, table_of
from histoweave.report.run import Run

_MOST_ROWS = 2000


ORIGIN = {
    "internal": "Internal evaluation: all patients come from the same tables. An interval that is clear of zero here"
    " does not say that a model holds at another hospital.",
    "external": "The external cohorts are those that were at hand; they do not stand for all hospitals. What was"
    " changed after a look at them would make them internal.",
}
LIMITS = (
    "Several models are compared; the best one of several is judged too well. Trust the comparison that you named"
    " before seeing results.",
    "Folds of one repeat share training patients, so fold results are not independent; the tests over repeats allow"
    " for that, intervals from the bootstrap do not contain the variation of training anew.",
    "Censoring is taken to be unrelated to prognosis given the fold; the data cannot prove it.",
    "Batches of slides, stains and scanners differ between sites; the audits tell how well features give a site away.",
)
ALWAYS = (
    "Attention and gene modules describe what a model uses. They are no causes, and other models use other things.",
)


def limits_section(run: Run) -> Section:
    """What the design cannot tell."""
    inside = "external" if run.has("external") else "internal"
    survival = (ORIGIN[inside], *LIMITS) if run.config["inputs"].get("patients") else ()
    blocks: list = [Text(text) for text in (*survival, *ALWAYS)]
    if run.config.get("simulate"):
        blocks.append(Text("The cohort is simulated: nothing here is a finding about patients.", "caution"))
    return Section("limits", "Limits", blocks)


def failed_section(run: Run) -> Section:
    """The ledger: what any step left out, and why."""
    if run.tables.get("ledger") is None:
        return Section("failed", "Left out", [run.absent("ledger")])
    ledger = run.table("ledger")
    if not len(ledger):
        return Section("failed", "Left out", [Text("No step left anything out.")])
    groups = ledger.groupby(["stage", "kind", "context", "reason"]).size().reset_index(name="items")
    headings = {name: name for name in ("stage", "kind", "context", "reason", "items")}
    blocks: list = [table_of(groups, headings, name="ledger", caption="What the steps left out, by reason")]
    items = ledger[ledger["kind"].isin(["slide", "patient"])]
    shown = items.head(_MOST_ROWS)
    headings = {name: name for name in ("stage", "kind", "item", "context", "reason")}
    caption = "Slides and patients left out"
    if len(items) > len(shown):
        caption += f" (the first {len(shown):,} of {len(items):,}; all are in the file)"
    if len(shown):
        blocks.append(table_of(shown, headings, name="ledger-items", caption=caption, file=run.files["ledger"]))
    text = (
        f"The steps left out {len(ledger):,} items in all. For each step, items in equal items out plus rows here;"
        " the run fails otherwise."
    )
    return Section("failed", "Left out", [Text(text), *blocks])


def provenance_section(run: Run) -> Section:
    """Settings, seed and content of every table behind the page."""
    rows = [
        {"file": run.files[name], "format": record.get("format", "none"), "version": record.get("format_version", "")}
        | _made(record.get("provenance") or {})
        for name, record in sorted(run.records.items())
    ]
    blocks: list = [
        _card(run),
        Text("Each table names the step, seed and inputs that made it; equal runs write equal bytes."),
    ]
    if rows:
        headings = {name: name for name in ("file", "format", "version", "step", "seed", "inputs")}
        blocks.append(table_of(pd.DataFrame(rows), headings, name="provenance", caption="Tables behind this page"))
    title = "The whole configuration of the run, defaults filled in"
    blocks.append(Code(title, json.dumps(run.config, indent=1, sort_keys=True)))
    return Section("provenance", "Provenance", blocks)


def _card(run: Run) -> Table:
    """The few values that name a run."""
    config = json.dumps(run.config, sort_keys=True)
    values = {
        "seed": str(run.config["seed"]),
        "hash of the configuration": hashlib.sha256(config.encode()).hexdigest()[:24],
        "hash of the lock of packages": str(run.texts.get("lock", "n/a")),
        "tables read": str(len(run.records)),
    }
    rows = [[cell(name), Cell(value, value)] for name, value in values.items()]
    return Table("card", "This run", ["", "value"], rows)


def _made(record: dict) -> dict:
    inputs = "; ".join(f"{name} {_short(str(value))}" for name, value in sorted(record.get("inputs", {}).items()))
    return {"step": record.get("step", ""), "seed": record.get("seed", ""), "inputs": inputs}


def _short(hashes: str) -> str:
    """A hash, or the first of several with their number: the table's own file holds them all."""
    first, *others = hashes.split("+")
    return f"{first} and {len(others)} more" if others else first
