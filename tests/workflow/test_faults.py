"""What may go wrong on a machine, done on purpose: the run says so, and ends in the same bytes afterwards."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from workflow.conftest import Project, copy_project, without_network
from workflow.mini import kill_group, leftovers, make_mini, simulated, start, wait_until

SLIDES = "demo-data/slides"
TARGETS = ["demo-data/slides/S001.tiff", "demo-data/expression.h5ad"]


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """A project in which an undisturbed run has made the tiny cohort."""
    project = copy_project(root, tmp_path_factory.mktemp("whole"))
    done = project.snakemake(*make_mini(project), *TARGETS)
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture(scope="module")
def unbroken(whole):
    """Content of the tiny cohort."""
    return simulated(whole)


@pytest.fixture
def made(whole, tmp_path):
    """A copy of that project with its cohort, and the arguments that choose it."""
    shutil.copytree(whole.folder, tmp_path / "made", symlinks=True)
    return Project(tmp_path / "made"), ["--configfile", "mini.yaml", "--"]


def some_slides(project):
    return len(list((project.folder / SLIDES).glob("S*.tiff"))) >= 2


@contextmanager
def mounted(folder, *options):
    """A mount at `folder` for the time of the block; skips where it is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mount is not allowed here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_killed_run_ends_in_the_same_bytes(project, unbroken):
    args = make_mini(project)
    process = start(project, *args, *TARGETS)
    wait_until(lambda: some_slides(project))
    kill_group(process, signal.SIGKILL)
    assert len(simulated(project)) < len(unbroken)
    assert project.snakemake("--unlock", *args[:-1]).returncode == 0
    done = project.snakemake(*args, *TARGETS)
    assert done.returncode == 0, done.stderr
    made = simulated(project)
    assert {name: made[name] for name in unbroken} == unbroken


def test_a_cancelled_run_leaves_nothing_half_written(project, unbroken):
    args = make_mini(project)
    process = start(project, *args, *TARGETS)
    wait_until(lambda: some_slides(project))
    assert kill_group(process, signal.SIGINT) != 0
    assert leftovers(project.folder) == []
    whole = simulated(project)
    assert {name: unbroken[name] for name in whole} == whole
    assert project.snakemake(*args, *TARGETS).returncode == 0
    assert simulated(project) == unbroken


def test_the_same_workflow_twice_is_refused_and_the_first_ends_well(project, unbroken):
    args = make_mini(project)
    process = start(project, *args, *TARGETS)
    wait_until(lambda: any((project.folder / ".snakemake/locks").glob("*")))
    os.killpg(process.pid, signal.SIGSTOP)  # held still, so that it cannot end before the second has begun
    second = project.snakemake(*args, *TARGETS)
    os.killpg(process.pid, signal.SIGCONT)
    assert second.returncode != 0
    assert "lock" in (second.stdout + second.stderr).lower()
    assert process.wait(timeout=120) == 0
    assert simulated(project) == unbroken


def test_a_full_disk_is_named_and_leaves_no_half_file(project, unbroken):
    args = make_mini(project)
    with mounted(project.folder / "demo-data", "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        done = project.snakemake(*args, TARGETS[0])
        assert done.returncode != 0
        assert "the disk is full" in done.stdout + done.stderr
        assert leftovers(project.folder / "demo-data") == []
    assert project.snakemake(*args, *TARGETS).returncode == 0
    assert simulated(project) == unbroken


def test_read_only_inputs_are_enough(made, unbroken):
    """The workflow reads a cohort that it may not write to."""
    project, args = made
    data = project.folder / "demo-data"
    with mounted(data, "--bind", "-o", "ro", str(data)):
        if os.access(data, os.W_OK):
            subprocess.run(["mount", "-o", "remount,bind,ro", str(data)], check=True)
        batch = project.snakemake(*args, "results/slides/batches/b0000/tile_slides.parquet")
        assert batch.returncode == 0, batch.stdout + batch.stderr
    assert simulated(project) == unbroken


def test_a_clock_that_ran_ahead_reruns_nothing_and_the_doctor_says_so(made):
    project, args = made
    for path in [*(project.folder / "demo-data").rglob("*"), project.folder / "results"]:
        os.utime(path, (4e9, 4e9))
    again = project.snakemake("-n", *args, *TARGETS)
    assert "Nothing to be done" in again.stdout + again.stderr
    doctor = project.snakemake(*args, "doctor")
    assert doctor.returncode == 0
    assert "from the future" in doctor.stdout + doctor.stderr


@pytest.mark.skipif(not without_network(), reason="network namespaces are not allowed here")
def test_the_demo_of_these_tests_has_no_network():
    """The finished demo that other tests look at ran like this; see the fixture."""
    connect = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=5)"
    done = subprocess.run([*without_network(), sys.executable, "-c", connect], capture_output=True, check=False)
    assert b"Network is unreachable" in done.stderr
