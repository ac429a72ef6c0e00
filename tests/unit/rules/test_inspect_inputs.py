import sys

import h5py
import numpy as np
import pytest
from architecture.sources import ROOT

sys.path.insert(0, str(ROOT / "workflow/rules"))
from hwrules import inspect_inputs as inputs
from hwrules.findings import FAIL, NOTE, OK, WARN


def statuses(findings):
    return [finding.status for finding in findings]


def patients(number, *, events):
    return {f"P{i}": {"event": int(i < events)} for i in range(number)}


def h5ad(path, *, values=(1.0, 2.0), **groups):
    with h5py.File(path, "w") as file:
        file["X"] = np.array([values])
        for group, key in groups.items():
            file.create_group(group)[key] = np.zeros(2)
    return path


def test_slides_of_unknown_patients_are_worth_a_look_all_unknown_fail():
    slides = {"S1": {"patient": "P0"}, "S2": {"patient": "P9"}}
    assert WARN in statuses(inputs.check_links(slides, patients(1, events=1)))
    assert FAIL in statuses(inputs.check_links({"S2": {"patient": "P9"}}, patients(1, events=1)))


def test_patients_without_slide_are_noted():
    found = list(inputs.check_links({"S1": {"patient": "P0"}}, patients(3, events=1)))
    assert found[-1].status == NOTE
    assert "2 have no slide: P1, P2" in found[-1].detail


@pytest.mark.parametrize(("events", "status"), [(10, FAIL), (32, WARN), (60, OK)])
def test_number_of_events(events, status):
    assert statuses(inputs.check_events(patients(100, events=events), endpoint=None)) == [status]


def test_events_of_a_named_endpoint():
    rows = {f"P{i}": {"OS_event": 1} for i in range(50)}
    assert statuses(inputs.check_events(rows, endpoint="OS")) == [OK]


def test_files_missing_empty_and_of_another_kind_are_named(tmp_path):
    (tmp_path / "empty.svs").touch()
    (tmp_path / "page.svs").write_text("<html>not found</html>")
    (tmp_path / "good.svs").write_bytes(b"II*\0" + bytes(9))
    rows = {name: {"path": str(tmp_path / f"{name}.svs")} for name in ("empty", "page", "good", "gone")}
    (found,) = inputs.check_paths(rows, ["path"], table="slides", made_in=None)
    assert found.status == FAIL
    assert found.detail.startswith("3 of 4")
    assert inputs.file_problem(tmp_path / "good.svs") == ""
    assert "No such file" in inputs.file_problem(tmp_path / "gone.svs")


def test_files_that_the_run_makes_are_noted_only(tmp_path):
    rows = {"S1": {"path": str(tmp_path / "demo/S1.tiff")}}
    assert statuses(inputs.check_paths(rows, ["path"], table="slides", made_in=str(tmp_path / "demo"))) == [NOTE]


@pytest.mark.parametrize(
    ("values", "row", "problem"),
    [
        ((1.0, 2.0), {"modality": "scrna"}, ""),
        ((1.5, 2.0), {"modality": "scrna"}, "no raw counts"),
        ((-1.0, 2.0), {"modality": "scrna"}, "no raw counts"),
        ((1.0, 2.0), {"modality": "spatial"}, "no obsm['spatial']"),
        ((1.0, 2.0), {"modality": "scrna", "cell_type_column": "kind"}, "no column 'kind'"),
    ],
)
def test_dataset_problems(tmp_path, values, row, problem):
    path = h5ad(tmp_path / "a.h5ad", values=values, obs="cell_type")
    (found,) = inputs.check_datasets({"a": {"path": str(path)} | row})
    assert found.status == (FAIL if problem else OK)
    assert problem in found.detail


def test_dataset_without_matrix(tmp_path):
    with h5py.File(tmp_path / "a.h5ad", "w") as file:
        file.create_group("obs")
    (found,) = inputs.check_datasets({"a": {"path": str(tmp_path / "a.h5ad"), "modality": "scrna"}})
    assert found.detail == "has no X"


def test_sample_is_spread_over_the_table(tmp_path):
    for number in range(10):
        (tmp_path / f"{number}.svs").touch()
    rows = {str(number): {"path": str(tmp_path / f"{number}.svs")} for number in range(10)}
    assert [name for name, _ in inputs.sample(rows, "path", most=3)] == ["0", "3", "6"]


def test_slide_that_does_not_open_is_worth_a_look(tmp_path):
    (tmp_path / "a.svs").write_bytes(b"II*\0" + bytes(99))
    found = list(inputs.check_slides({"a": {"path": str(tmp_path / "a.svs")}}, most=5))
    assert statuses(found) == [OK, WARN]
    assert "will be left out: a" in found[1].detail
