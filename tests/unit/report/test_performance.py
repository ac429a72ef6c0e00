import numpy as np
import pytest
from unit.report import fake_run
from unit.report.test_page import run_of

from histoweave.formats.report import TABLES
from histoweave.report import performance


def row(**changed):
    return {"model_a": "new", "model_b": "old", "verdict": "", "reason": ""} | changed


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (row(verdict="within noise"), "within noise"),
        (row(verdict="a better"), "new better"),
        (row(verdict="b better, but within noise"), "old better, but within noise"),
        (row(reason="a fold has no events"), "a fold has no events"),
        (row(), "not available"),
    ],
)
def test_verdict_names_the_models(given, words):
    assert performance.verdict(given) == words


def test_p_cells():
    assert performance.p_cell(0.0004).text == "< 0.001"
    assert performance.p_cell(np.nan).text == "n/a"


def test_summary_has_one_row_per_model_and_no_horizon(root, results):
    section = performance.discrimination_section(run_of(root, results))
    summary = next(block for block in section.blocks if getattr(block, "name", "") == "summary")
    assert [cells[0].text for cells in summary.rows] == ["cox_clinical", "abmil_wsi", "path_gptomic"]
    assert list(summary.columns) == ["model", "Harrell's c", "patients", "events"]
    assert summary.rows[0][1].text == "0.600 (0.550 to 0.660)"


def test_a_metric_that_could_not_be_computed_gives_its_reason(root, results):
    section = performance.discrimination_section(run_of(root, results))
    metrics = next(block for block in section.blocks if getattr(block, "name", "") == "metrics")
    assert [cells[-1].text for cells in metrics.rows][-1] == "no patient is at risk"
    assert metrics.rows[-1][3].text == "n/a"


def test_intervals_are_called_by_their_level(root, results):
    run = run_of(root, results)
    assert performance.interval_words(run) == "95 % interval"
    run.config["evaluation"]["bootstrap"]["confidence"] = 0.9
    assert performance.interval_words(run) == "90 % interval"


def tables(section):
    return {block.name: block for block in section.blocks if hasattr(block, "rows")}


def with_table(run, name, rows):
    kind = dict(TABLES)[name][1]
    run.tables[name] = fake_run.filled(kind, rows)
    return run


def test_hazard_ratios_and_added_value_are_told_with_their_reasons(root, results):
    run = with_table(
        run_of(root, results),
        "hazard_ratios",
        [
            {"model": "m", "hazard_ratio": 2.0, "lower": 1.5, "upper": 2.6, "p_value": 0.0002},
            {"model": "m", "adjusted_for": "age", "hazard_ratio": np.nan, "reason": "did not converge"},
        ],
    )
    run = with_table(run, "added_value", [{"model": "m", "covariates": "age", "change": 0.04, "lower": 0.01}])
    found = tables(performance.added_section(run))
    rows = [[cell.text for cell in cells] for cells in found["hazard_ratios"].rows]
    assert rows[0][:4] == ["m", "nothing", "2.00 (1.50 to 2.60)", "< 0.001"]
    assert rows[1][1:3] == ["age", "n/a"]
    assert rows[1][-1] == "did not converge"
    assert found["added_value"].rows[0][6].text == "0.040 (no interval)"


def test_calibration_table_holds_only_its_metrics(root, results):
    run = with_table(
        run_of(root, results),
        "metrics",
        [
            {"model": "m", "metric": "c_index", "estimate": 0.7},
            {"model": "m", "metric": "calibration_slope", "horizon_days": 365.0, "estimate": 0.9},
            {"model": "kaplan_meier", "metric": "ibs", "estimate": 0.2},
        ],
    )
    found = tables(performance.calibration_section(run))["calibration-metrics"]
    assert [[cell.text for cell in cells][:3] for cells in found.rows] == [
        ["m", "calibration slope", "365"],
        ["kaplan_meier", "integrated Brier score", "n/a"],
    ]
    assert list(found.rows_of) == [1, 2]


def test_range_over_folds_leaves_out_folds_without_a_value(root, results):
    folds = [{"model": "m", "metric": "c_index", "estimate": value} for value in (0.5, 0.7, np.nan)]
    run = with_table(run_of(root, results), "fold_metrics", [*folds, {"model": "m", "metric": "auc", "estimate": 0.1}])
    found = tables(performance.robustness_section(run))["fold-range"]
    assert [cell.text for cell in found.rows[0]] == ["m", "2", "0.500", "0.600", "0.700", "1"]


def test_suppressed_subgroups_keep_their_row(root, results):
    rows = [{"model": "m", "variable": "site", "level": "B", "metric": "c_index", "reason": "fewer than 10 events"}]
    run = with_table(run_of(root, results), "subgroups", rows)
    found = tables(performance.subgroups_section(run))["subgroups"]
    assert [cell.text for cell in found.rows[0]] == [
        "m",
        "site",
        "B",
        "Harrell's c",
        "n/a",
        "0",
        "0",
        rows[0]["reason"],
    ]


def test_risk_groups_have_their_test(root, results):
    found = tables(performance.use_section(run_of(root, results)))["logrank"]
    assert [cell.text for cell in found.rows[0]][:3] == ["cox_clinical", "9.10", "0.003"]


def test_groups_of_calibration_are_shown_whole(root, results):
    rows = [{"model": "m", "horizon_days": 365.0, "group": k, "predicted": k / 10, "observed": k / 8} for k in (1, 2)]
    run = with_table(run_of(root, results), "calibration", rows)
    found = tables(performance.calibration_section(run))["calibration"]
    assert list(found.columns)[:4] == ["model", "horizon days", "group", "predicted"]
    assert [cells[4].text for cells in found.rows] == ["0.125", "0.250"]


def test_audits_stand_first_in_robustness_or_are_missed(root, results):
    run = run_of(root, results)
    run.tables.pop("audits", None)
    first = performance.robustness_section(run).blocks[0]
    assert first.text.startswith("Not available: ")
    assert first.text.endswith("was not written by this run.")
    audit = {"check": "roles", "subject": "folds", "value": 2.0, "verdict": "look", "sentence": "2 patients have two"}
    run = with_table(run, "audits", [audit])
    found = tables(performance.robustness_section(run))["audits"]
    assert [cell.text for cell in found.rows[0]][:3] == ["roles", "folds", "2"]
    assert [cell.text for cell in found.rows[0]][-2:] == ["look", "2 patients have two"]


def at_sites(run):
    run.config["survival"]["one_site_out"]["models"] = ["m"]
    section = performance.subgroups_section(run)
    return " ".join(getattr(block, "text", "") for block in section.blocks), tables(section)


def test_a_site_left_out_stands_beside_what_it_has_in_the_folds(root, results):
    whole = {"model": "m", "metric": "c_index", "estimate": 0.61, "lower": 0.5, "upper": 0.7, "n_patients": 20}
    run = with_table(
        run_of(root, results),
        "sites",
        [whole | {"kind": "site", "site": "B"}, whole | {"kind": "mean of sites"}, whole | {"metric": "auc"}],
    )
    inside = {"model": "m", "variable": "site", "level": "B", "metric": "c_index", "estimate": 0.655}
    run = with_table(run, "subgroups", [inside])
    said, found = at_sites(run)
    assert "Leave-one-site-out: each model was trained anew" in said
    rows = [[cell.text for cell in cells] for cells in found["sites"].rows]
    assert [row[1] for row in rows] == ["B", "mean of sites"]
    assert [row[3] for row in rows] == ["0.655", "n/a"]
    assert rows[0][2] == "0.610 (0.500 to 0.700)"


def test_sites_asked_for_and_not_there_are_missed(root, results):
    run = run_of(root, results)
    run.tables.pop("sites", None)
    said, found = at_sites(run)
    assert "sites" not in found
    assert "was not written by this run" in said
