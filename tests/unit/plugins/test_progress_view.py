"""The live view of a run: counts, time left, and what a real Snakemake prints through it."""

import os
import pty
import subprocess
import sys

import pytest

PLUGINS = "workflow/plugins"


@pytest.fixture(scope="module")
def plugin(root):
    sys.path.insert(0, str(root / PLUGINS))
    import snakemake_logger_plugin_histoweave as module
    from snakemake_logger_plugin_histoweave import progress

    yield module, progress
    sys.path.remove(str(root / PLUGINS))


def started(progress):
    made = progress.Progress({"tile": "slides", "train": "survival"})
    made.plan({"tile": 4, "train": 2, "all": 1, "total": 7}, 100.0)
    for job in range(3):
        made.start(job, "tile", 100.0 + 10 * job)
        made.finish(job, 110.0 + 10 * job)
    return made


def test_counts_by_stage_in_the_order_of_the_data_flow(plugin):
    made = started(plugin[1])
    made.start("x", "train", 130.0)
    assert made.stage_counts() == {"slides": (3, 4, 0, 0), "survival": (0, 2, 1, 0), "other": (0, 1, 0, 0)}


def test_time_left_is_work_left_over_jobs_side_by_side(plugin):
    made = started(plugin[1])
    # four jobs left at 10 s each, one at a time so far
    assert made.seconds_left(130.0) == pytest.approx(40.0)
    made.start("x", "train", 130.0)
    assert made.seconds_left(135.0) < 40.0


def test_no_estimate_from_fewer_than_three_jobs(plugin):
    made = plugin[1].Progress({})
    made.plan({"a": 5}, 0.0)
    made.start(1, "a", 0.0)
    made.finish(1, 1.0)
    assert made.seconds_left(1.0) is None


def test_a_failed_job_is_counted_once_and_may_start_anew(plugin):
    made = started(plugin[1])
    made.start("x", "train", 130.0)
    assert made.fail("x") == "train"
    assert made.stage_counts()["survival"] == (0, 2, 0, 1)
    made.start("x", "train", 131.0)
    made.finish("x", 132.0)
    assert made.stage_counts()["survival"] == (1, 2, 0, 1)


def test_lines(plugin):
    made = started(plugin[1])
    assert made.line(130.0) == "3 of 7 jobs (42 %), about 40 s left: slides 3/4"
    block = made.block(130.0)
    assert len({line.index("/") for line in block[:3]}) == 1
    assert block[-1] == "3 of 7 jobs, 30 s so far, about 40 s left"


@pytest.mark.parametrize(("seconds", "text"), [(7, "7 s"), (150, "2 min"), (7500, "2 h 05 min")])
def test_duration(plugin, seconds, text):
    assert plugin[1].duration(seconds) == text


def test_every_rule_has_its_stage(plugin, root):
    stages = plugin[0].stages_of_rules(root / "workflow/rules")
    assert stages["write_report"] == "report"
    assert stages["score_models"] == "evaluation"
    assert list(dict.fromkeys(stages.values()))[-1] == "report"


SNAKEFILE = """
rule all:
    input: "a.txt", "b.txt"
rule tile_slides:
    output: "a.txt"
    shell: "touch {output}"
rule train_model:
    output: "b.txt"
    log: "b.log"
    shell: "echo 'error: no events' > {log}; exit 2"
"""


def command(root, folder):
    (folder / "Snakefile").write_text(SNAKEFILE)
    environment = os.environ | {"PYTHONPATH": str(root / PLUGINS)}
    flags = ["--cores", "1", "--keep-going", "--show-failed-logs", "--logger", "histoweave"]
    return {"args": [sys.executable, "-m", "snakemake", *flags], "cwd": folder, "env": environment}


def test_redirected_it_is_plain_lines_with_the_failed_jobs_log(root, tmp_path):
    run = subprocess.run(**command(root, tmp_path), capture_output=True, text=True, timeout=120)
    assert run.returncode == 1
    assert "\x1b" not in run.stderr
    assert "error: no events" in run.stderr
    assert "0 of 3 jobs (0 %): starting" in run.stderr
    assert run.stderr.rstrip().splitlines()[-1].startswith("1 of 3 jobs done, 1 failed, ")


def test_on_a_terminal_it_is_one_view_that_is_redrawn(root, tmp_path):
    ours, theirs = pty.openpty()
    run = subprocess.Popen(**command(root, tmp_path), stderr=theirs, stdout=theirs)
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 65536):
            text += piece
    except OSError:  # how a terminal whose other side was closed ends
        pass
    assert run.wait(120) == 1
    os.close(ours)
    shown = text.decode()
    assert "\x1b[2Kslides" in shown
    assert "1 FAILED" in shown
    assert "1 of 3 jobs done, 1 failed" in shown
