import pandas as pd
import pytest
import yaml
from unit.report.test_page import run_of

from histoweave.report import checklists
from histoweave.report.page import sections_of


@pytest.mark.parametrize(("name", "items"), [("tripod_ai", 27), ("remark", 20)])
def test_checklist_holds_every_item_once(root, name, items):
    listed = yaml.safe_load((root / f"workflow/report/{name}.yaml").read_text())["items"]
    numbers = [item["item"] for item in listed]
    assert len(set(numbers)) == len(numbers)
    assert {int(number.rstrip("abcdefg")) for number in numbers} == set(range(1, items + 1))
    assert all(("answer" in item) == ("section" in item) for item in listed)


def test_answers_point_to_sections_that_exist(root, results):
    run = run_of(root, results)
    anchors = {section.anchor for part in sections_of(run) for section in part}
    for name in ("tripod_ai", "remark"):
        assert {item["section"] for item in run.texts[name]["items"] if "section" in item} <= anchors


def test_only_what_the_run_knows_is_answered(root, results, tmp_path):
    full, bare = (checklists.answers(run_of(root, folder)) for folder in (results, tmp_path))
    assert full["flow"].startswith("40 patients, ")
    assert full["quality"] == "Slides: 40 ok, 1 failed."
    assert "flow" not in bare
    assert "performance" not in bare
    assert "Harrell" in bare["measures"]


def test_external_cohorts_answer_for_the_differences(root, results):
    run = run_of(root, results)
    run.tables.pop("external", None)
    assert checklists.answers(run)["differences"].startswith("Training and test parts are of the same cohort: 2 rep")
    run.tables["external"] = pd.DataFrame({"cohort": ["there", "there"]})
    assert "external cohorts (there)" in checklists.answers(run)["differences"]


def test_open_items_are_left_to_the_authors(root, results):
    section = checklists.checklists_section(run_of(root, results))
    tripod = next(block for block in section.blocks if getattr(block, "name", "") == "tripod_ai")
    status = {row[0].text: row[2].text for row in tripod.rows}
    assert status["17"] == status["18a"] == "for the authors"
    assert status["20a"] == "answered by the run"
    linked = {row[0].text: row[4].link for row in tripod.rows}
    assert linked["20a"] == "#flow"
    assert linked["17"] == ""


def test_a_run_without_patients_has_no_checklist(root, results):
    run = run_of(root, results)
    run.config["inputs"]["patients"] = None
    (block,) = checklists.checklists_section(run).blocks
    assert block.text == "Not available: no patients were given."


def test_external_tables_without_a_cohort_answer_nothing(root, results):
    run = run_of(root, results)
    run.tables["external"] = pd.DataFrame({"cohort": []})
    assert checklists._from_external(run) == {}
