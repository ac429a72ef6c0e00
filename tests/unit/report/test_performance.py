import numpy as np
import pytest
from unit.report.test_page import run_of

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
