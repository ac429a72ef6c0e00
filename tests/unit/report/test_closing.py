import hashlib
import json

import pandas as pd
from unit.report.test_page import run_of

from histoweave.report import closing
from histoweave.report.blocks import Code, Table


def tables(section):
    return {block.name: block for block in section.blocks if isinstance(block, Table)}


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_ledger_is_summed_by_reason_and_lists_slides_and_patients(root, results):
    found = tables(closing.failed_section(run_of(root, results)))
    assert texts(found["ledger"]) == [
        ["slides", "slide", "all", "cannot be opened", "1"],
        ["survival", "patient", "cohort", "no follow-up time", "2"],
    ]
    assert [row[2] for row in texts(found["ledger-items"])] == ["T999", "P998", "P<b>&9"]
    assert list(found["ledger-items"].rows_of) == [0, 1, 2]


def test_cells_and_genes_are_counted_but_not_listed(root, results):
    run = run_of(root, results)
    row = {"stage": "expression", "kind": "gene", "context": "d", "item": "MT-1", "reason": "mitochondrial"}
    run.tables["ledger"] = pd.DataFrame([row])
    found = tables(closing.failed_section(run))
    assert list(found) == ["ledger"]


def test_a_long_list_is_cut_and_says_so(root, results):
    run = run_of(root, results)
    row = {"stage": "slides", "kind": "slide", "context": "d", "reason": "empty"}
    run.tables["ledger"] = pd.DataFrame([row | {"item": f"S{i}"} for i in range(2001)])
    found = tables(closing.failed_section(run))["ledger-items"]
    assert len(found.rows) == 2000
    assert "the first 2,000 of 2,001" in found.caption


def test_empty_and_missing_ledgers_differ(root, results):
    run = run_of(root, results)
    run.tables["ledger"] = run.table("ledger")[:0]
    assert closing.failed_section(run).blocks[0].text == "No step left anything out."
    run.tables["ledger"] = None
    assert "was not written" in closing.failed_section(run).blocks[0].text


def test_provenance_names_every_table_with_its_step_and_inputs(root, results):
    run = run_of(root, results)
    section = closing.provenance_section(run)
    rows = texts(tables(section)["provenance"])
    assert len(rows) == len(run.records)
    assert ["evaluation/metrics.parquet", "evaluation_metrics", "1", "test", "1", "table abc"] in rows
    code = next(block for block in section.blocks if isinstance(block, Code))
    assert json.loads(code.text) == run.config


def test_many_files_of_one_kind_are_counted(root, results):
    run = run_of(root, results)
    run.records["metrics"] = {"provenance": {"inputs": {"risks": "abc+def+012", "folds": "777"}}}
    rows = texts(tables(closing.provenance_section(run))["provenance"])
    assert "folds 777; risks abc and 2 more" in [row[-1] for row in rows]


def test_card_changes_with_the_configuration(root, results):
    run = run_of(root, results)
    card = dict(texts(tables(closing.provenance_section(run))["card"]))
    expected = hashlib.sha256(json.dumps(run.config, sort_keys=True).encode()).hexdigest()[:24]
    assert card["hash of the configuration"] == expected
    run.config["seed"] = 99
    changed = dict(texts(tables(closing.provenance_section(run))["card"]))
    assert changed["seed"] == "99"
    assert changed["hash of the configuration"] != expected


def test_limits_are_those_of_what_was_done(root, results):
    run = run_of(root, results)
    first = closing.limits_section(run).blocks[0].text
    assert first.startswith("Internal evaluation")
    run.tables["external"] = run.table("metrics")
    assert closing.limits_section(run).blocks[0].text.startswith("The external cohorts are those")
    run.config["inputs"]["patients"] = None
    assert [block.text for block in closing.limits_section(run).blocks] == list(closing.ALWAYS)
