import os
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from architecture.sources import ROOT

sys.path.insert(0, str(ROOT / "workflow/rules"))
from hwrules import inspect_machine as machine
from hwrules.findings import FAIL, NOTE, OK, WARN

CONFIG = {"slides": {"tiles": {"mpp": 0.5, "tile_px": 256}}}


def env(folder, *pins):
    (folder / "stage.yaml").write_text("dependencies:\n" + "".join(f"  - {pin}\n" for pin in pins))
    return folder


@pytest.mark.parametrize(
    ("pin", "status"),
    [(f"numpy ={np.__version__}", OK), ("numpy =0.0.1", WARN), ("no-such-package =1.0", FAIL), ("python =3.11", OK)],
)
def test_environment_against_what_is_installed(tmp_path, pin, status):
    (found,) = machine.check_environments(env(tmp_path, pin), conda=False)
    assert found.status == status


def test_conda_asked_for_and_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (found,) = machine.check_environments(env(tmp_path), conda=True)
    assert found.status == FAIL


def test_gpu_insisted_on(monkeypatch):
    monkeypatch.setattr(machine.subprocess, "run", lambda *a, **k: SimpleNamespace(stdout="0\n"))
    (found,) = machine.check_device({"survival": {"device": "cuda"}})
    assert found.status == FAIL
    assert "survival.device" in found.detail
    assert next(machine.check_device({"survival": {"device": "auto"}})).status == OK


def test_forecast_grows_with_slides_and_their_size(tmp_path):
    (tmp_path / "a.svs").write_bytes(bytes(10_000_000))
    rows = {"a": {"path": str(tmp_path / "a.svs"), "mpp": 0.5}}
    tiles = machine.tiles_of(rows["a"], tile_um=128)
    assert tiles == pytest.approx(10_000_000 / 0.25 * 0.5 / 256**2)
    one = machine.forecast_bytes(CONFIG, slides=rows, datasets={})["slides"]
    assert machine.forecast_bytes(CONFIG, slides=rows | {"b": rows["a"]}, datasets={})["slides"] == 2 * one


@pytest.mark.parametrize(("need", "status"), [(0.0, OK), (1e18, FAIL)])
def test_room_on_the_disk(tmp_path, need, status):
    assert next(machine.check_disk(tmp_path / "results", {"slides": need})).status == status


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_results(tmp_path):
    tmp_path.chmod(0o500)
    (found,) = machine.check_disk(tmp_path / "results", {})
    assert found.status == FAIL
    assert "cannot be written" in found.detail


def test_results_from_the_future(tmp_path):
    (tmp_path / "a.parquet").touch()
    now = machine.now()
    assert next(machine.check_clock(tmp_path, now=now)).status == OK
    assert next(machine.check_clock(tmp_path, now=now - 7200)).status == WARN


def squeue(monkeypatch, *, stdout="", code=0):
    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/bin/squeue")
    answer = SimpleNamespace(stdout=stdout, stderr="no controller", returncode=code)
    monkeypatch.setattr(machine.subprocess, "run", lambda *a, **k: answer)


def test_orphans_of_another_run(monkeypatch):
    squeue(monkeypatch, stdout="17 histoweave_ab12\n18 other\n")
    (found,) = machine.check_other_runs()
    assert found.status == WARN
    assert "17 histoweave_ab12" in found.detail


def test_quiet_cluster_and_none(monkeypatch):
    squeue(monkeypatch, stdout="18 other\n")
    assert next(machine.check_other_runs()).status == OK
    squeue(monkeypatch, code=1)
    assert next(machine.check_other_runs()).status == NOTE


def test_hours_are_summed_per_stage(tmp_path):
    folder = tmp_path / "benchmarks/slides/tile_slides"
    folder.mkdir(parents=True)
    for name in ("b0000", "b0001"):
        (folder / f"{name}.tsv").write_text("s\th:m:s\n1800.0\t0:30:00\n")
    (found,) = machine.estimate_hours(tmp_path)
    assert found.detail == "1.00 hours in 2 jobs the last time"


def test_no_benchmarks_no_hours(tmp_path):
    assert list(machine.estimate_hours(tmp_path)) == []


def test_memory_grows_with_tiles_and_genes(tmp_path):
    slide = tmp_path / "a.svs"
    slide.write_bytes(bytes(4_000_000))
    config = CONFIG | {"expression": {"hvg": {"n_genes": 10_000}, "memory_gb": 4}}
    rows = {f"S{number}": {"path": str(slide)} for number in range(10)}
    few = machine.forecast_memory(config, slides={"S0": rows["S0"]}, datasets={})
    many = machine.forecast_memory(config, slides=rows, datasets={"d": {"path": str(slide)}})
    assert set(few) == {"slides", "survival"}
    assert many["survival"] - machine.BASE == pytest.approx(10 * (few["survival"] - machine.BASE))
    assert many["expression"] == machine.BASE + 6 * 8 * 1e8 + 40_000_000


def test_a_job_that_needs_more_than_it_asks_for_is_told():
    found = list(machine.check_memory({"survival": 20e9}))
    assert "survival 20.0" in found[0].detail
    assert "--set-resources" in found[1].detail
    assert len(list(machine.check_memory({"survival": 1e9}))) == 1
