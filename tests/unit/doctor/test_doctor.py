"""The doctor's script as a user's run calls it."""

import json
import subprocess
import sys

import pytest


@pytest.fixture
def config(tmp_path):
    (tmp_path / "slides.tsv").write_text(f"slide\tpatient\tpath\nS1\tP1\t{tmp_path}/S1.svs\n")
    (tmp_path / "S1.svs").write_bytes(b"II*\0" + bytes(99))
    rows = "".join(f"P{i}\t{i + 1}\t1\n" for i in range(60))
    (tmp_path / "patients.tsv").write_text("patient\ttime_days\tevent\n" + rows)
    return {
        "results_dir": str(tmp_path / "results"),
        "inputs": {
            "slides": str(tmp_path / "slides.tsv"),
            "patients": str(tmp_path / "patients.tsv"),
            "datasets": None,
            "expression": None,
            "endpoint": None,
        },
        "slides": {"tiles": {"mpp": 0.5, "tile_px": 256}},
    }


def doctor(root, config):
    command = [sys.executable, "-P", root / "workflow/scripts/doctor/doctor.py", "--config", json.dumps(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_sound_inputs_end_well(root, config):
    ended = doctor(root, config)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "nothing found that would make a run fail" in ended.stdout
    assert "1 do not open and will be left out: S1" in ended.stdout


def test_missing_slide_ends_with_1_and_a_line(root, config, tmp_path):
    (tmp_path / "S1.svs").unlink()
    ended = doctor(root, config)
    assert ended.returncode == 1
    assert "No such file" in ended.stdout


def test_broken_table_is_a_finding_not_a_crash(root, config, tmp_path):
    (tmp_path / "patients.tsv").write_text("patient\ttime_days\tevent\nP1\t-3\t1\n")
    ended = doctor(root, config)
    assert ended.returncode == 1
    assert "line 2, column 'time_days'" in ended.stdout
    assert ended.stderr == ""
