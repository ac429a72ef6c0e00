"""The user's tables: each way to be wrong has its line."""

import sys

import pytest
from architecture.sources import ROOT

sys.path.insert(0, str(ROOT / "workflow/rules"))
from hwrules.config import BadInput
from hwrules.tables import check_cohorts, check_endpoint, check_files, read_table

SCHEMAS = ROOT / "workflow/schemas"


@pytest.fixture
def table(tmp_path):
    def make(kind, *lines):
        path = tmp_path / f"{kind}.tsv"
        path.write_text("\n".join(line.replace(" ", "\t") for line in lines) + "\n")
        return path, SCHEMAS / f"{kind}.table.yaml"

    return make


def test_rows_are_keyed_and_typed(table):
    rows = read_table(*table("slides", "slide patient path mpp", "S1 P1 a.svs 0.25", "", "S2 P1 b.svs NA"))
    assert list(rows) == ["S1", "S2"]
    assert rows["S1"]["mpp"] == 0.25
    assert rows["S2"]["mpp"] is None
    assert rows["S2"]["_line"] == 4


@pytest.mark.parametrize(
    ("kind", "lines", "message"),
    [
        ("slides", ["slide path", "S1 a"], "column 'patient' is missing (columns found: slide, path)"),
        ("slides", ["slide patient", "S/1 P1"], "line 2, column 'slide': 'S/1' is not allowed. Use letters"),
        ("slides", ["slide patient", "S..1 P1"], "'S..1' is not allowed"),
        ("slides", ["slide patient", "S1 P1", "s1 P2"], "line 3: slide 's1' stands already in line 2"),
        ("slides", ["slide patient", "S1 NA"], "line 2, column 'patient': is empty"),
        ("slides", ["slide patient mpp", "S1 P1 fine"], "column 'mpp': 'fine' is not a number"),
        ("slides", ["slide patient mpp", "S1 P1 0.01"], "column 'mpp': 0.01 is out of range. Micrometres per pixel"),
        ("patients", ["patient time_days event", "P1 0 1"], "column 'time_days': 0 is out of range. Days from"),
        ("patients", ["patient time_days event", "P1 5 2"], "'2' is not one of 0, 1"),
        ("patients", ["patient OS_days OS_event", "P1 -5 1"], "column 'OS_days': -5 is out of range"),
        ("patients", ["patient time_days event", "P1 5 1", "P1 6 0"], "patient 'P1' stands already in line 2"),
        ("datasets", ["dataset path modality tissue", "d x bulk lung"], "'bulk' is not one of scrna, scatac, spatial"),
    ],
)
def test_bad_tables_name_file_line_and_column(table, kind, lines, message):
    with pytest.raises(BadInput) as caught:
        read_table(*table(kind, *lines))
    assert message in str(caught.value)
    assert f"{kind}.tsv" in str(caught.value)


def test_a_missing_table_names_its_config_key(tmp_path):
    with pytest.raises(BadInput, match=r"does not exist. Set inputs.slides"):
        read_table(tmp_path / "no.tsv", SCHEMAS / "slides.table.yaml")


def test_an_event_needs_its_time(table):
    rows = read_table(*table("patients", "patient time_days event", "P1 5 0", "P7 NA 1"))
    with pytest.raises(BadInput, match=r"line 3: patient 'P7' has event=1 but no time_days"):
        check_endpoint("patients.tsv", rows, None)
    with pytest.raises(BadInput, match=r"column 'DSS_days' is missing; inputs.endpoint asks for it"):
        check_endpoint("patients.tsv", rows, "DSS")


def test_files_must_exist_unless_the_run_makes_them(table, tmp_path):
    rows = read_table(*table("slides", "slide patient path", "S1 P1 made/S1.tiff"))
    check_files("slides.tsv", rows, ["path", "features"], made_in="made", allow_links=False)
    with pytest.raises(BadInput, match=r"line 2: 'S1': the file made/S1.tiff does not exist"):
        check_files("slides.tsv", rows, ["path", "features"], made_in=None, allow_links=False)
    with pytest.raises(BadInput, match=r"'S1' gives no file; fill in path or features"):
        check_files(
            "slides.tsv", {"S1": {"_line": 2, "path": None}}, ["path", "features"], made_in=None, allow_links=False
        )


def test_a_link_out_of_its_folder_is_refused_unless_allowed(tmp_path):
    inside, outside = tmp_path / "data/S1.svs", tmp_path / "elsewhere/S2.svs"
    for file in (inside, outside):
        file.parent.mkdir()
        file.touch()
    (tmp_path / "data/near.svs").symlink_to("S1.svs")
    (tmp_path / "data/far.svs").symlink_to(outside)
    given = {"made_in": None, "allow_links": False}
    check_files("slides.tsv", {"S1": {"_line": 2, "path": str(tmp_path / "data/near.svs")}}, ["path"], **given)
    rows = {"S2": {"_line": 3, "path": str(tmp_path / "data/far.svs")}}
    with pytest.raises(BadInput, match=r"line 3: 'S2': .*far.svs is a link to .*S2.svs, outside its folder"):
        check_files("slides.tsv", rows, ["path"], **given)
    check_files("slides.tsv", rows, ["path"], made_in=None, allow_links=True)


@pytest.mark.parametrize(
    ("cohorts", "message"),
    [
        ({"a": "train"}, "line 3: patient 'P2' has the cohort 'b', which inputs.cohorts does not name (a)"),
        ({"a": "train", "b": "external", "c": "external"}, "no patient has the cohort 'c' of inputs.cohorts"),
        ({"a": "external", "b": "external"}, "inputs.cohorts gives no cohort the role train (a, b)"),
    ],
)
def test_cohorts_that_do_not_fit_the_table(table, cohorts, message):
    rows = read_table(*table("patients", "patient cohort", "P1 a", "P2 b"))
    with pytest.raises(BadInput) as error:
        check_cohorts("patients.tsv", rows, cohorts)
    assert message in str(error.value)


def test_cohorts_that_fit(table):
    rows = read_table(*table("patients", "patient cohort", "P1 a", "P2 b"))
    check_cohorts("patients.tsv", rows, {"a": "train", "b": "external"})
    check_cohorts("patients.tsv", rows, {})
    with pytest.raises(BadInput, match="patient 'P1' has the cohort ''"):
        check_cohorts("patients.tsv", read_table(*table("patients", "patient", "P1")), {"a": "train"})
