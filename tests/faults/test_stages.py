"""Each stage killed, its disk full, its output damaged: told, and mended by running again. `make faults`; minutes.

On a small cohort; HISTOWEAVE_SMALL may name the folder of a finished one, to save the minutes that it takes.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from workflow.conftest import Project, copy_project
from workflow.mini import kill_group, leftovers, make_small, start, wait_until

from histoweave.formats.files import fingerprint

CONFIG = ("--configfile", "mini.yaml")
# stage -> (rule, a file to make, others that would make room as they are removed or be skipped, files when killed)
STAGES = {
    "slides": ("encode_tiles", "slides/qc.parquet", ("features/*", "batches/*/encode_tiles.parquet"), 2),
    "expression": ("compute_residuals", "expression/tumour_st/residuals.h5ad", (), 0),
    "genegraph": ("train_embedding", "genegraph/embedding.h5ad", (), 1),
    "survival": ("train_model", "survival/abmil_wsi/risk.parquet", (), 9),
    "evaluation": ("score_models", "evaluation/metrics.parquet", ("fold_metrics.parquet", "draws.parquet"), 1),
    "report": ("draw_figures", "report/figures.parquet", ("figures/*",), 5),
}


@pytest.fixture(scope="session")
def finished(root, tmp_path_factory) -> Project:
    """A small cohort on which all stages have run."""
    if given := os.environ.get("HISTOWEAVE_SMALL"):
        return Project(Path(given))
    project = copy_project(root, tmp_path_factory.mktemp("finished"))
    done = project.snakemake(*make_small(project), "all")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished cohort that may be broken."""
    shutil.copytree(finished.folder, tmp_path / "run", symlinks=True)
    return Project(tmp_path / "run")


def files(project: Project, stage: str) -> dict[str, str]:
    """Path -> fingerprint of all that a stage wrote; that of a table leaves measured seconds out."""
    folder = project.folder / "results" / stage
    return {str(p.relative_to(folder)): fingerprint(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def unmake(project: Project, stage: str) -> str:
    """Take away what the stage's job makes; returns the target that makes it again."""
    _, target, others, _ = STAGES[stage]
    (project.folder / "results" / target).unlink()
    for path in [path for pattern in others for path in (project.folder / "results" / stage).glob(pattern)]:
        path.unlink()
    return f"results/{target}"


HOLD = """
import os, time
from pathlib import Path

if b"scripts/{stage}/{rule}.py" in Path("/proc/self/cmdline").read_bytes():
    replace, whole = os.replace, []

    def hold(source, target, **more):
        whole.append(target)
        if len(whole) > {after}:
            Path("held").touch()
            time.sleep(900)
        replace(source, target, **more)

    os.replace = hold
"""
"""Holds a job still as it puts a file in its place, which is when a kill is worst."""


@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_the_stage(project, stage):
    before = files(project, stage)
    target = unmake(project, stage)
    rule, _, _, after = STAGES[stage]
    held = project.folder / "workflow/src/sitecustomize.py"  # Python imports it by itself; no rule's code changes
    held.write_text(HOLD.format(stage=stage, rule=rule, after=after))
    process = start(project, *CONFIG, "--", target)
    wait_until(lambda: (project.folder / "held").exists() or process.poll() is not None, seconds=300)
    assert process.poll() is None, (project.folder / "started.log").read_text()[-3000:]
    kill_group(process, signal.SIGKILL)
    held.unlink()
    assert files(project, stage) != before
    assert project.snakemake("--unlock", *CONFIG).returncode == 0
    done = project.snakemake("--rerun-incomplete", *CONFIG, "--", target)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    changed = {name for name, content in files(project, stage).items() if before.get(name, content) != content}
    assert changed == set()
    assert set(before) <= set(files(project, stage))
    assert leftovers(project.folder / "results") == []


@pytest.mark.parametrize("stage", STAGES)
def test_disk_full_in_the_stage(project, stage):
    before = files(project, stage)
    target = unmake(project, stage)
    folder = project.folder / "results" / stage
    kept = shutil.copytree(folder, project.folder / "kept")
    pages = sum(-(-path.stat().st_size // 4096) for path in folder.rglob("*"))
    room = 4096 * (pages + 2 * len(before) + 60)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("mount is not allowed here")
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        free = shutil.disk_usage(folder).free
        with (folder / ".ballast").open("wb") as file:
            file.write(bytes(max(0, free - 8192)))
        done = project.snakemake(*CONFIG, "--", target)
        assert done.returncode != 0
        assert "the disk is full" in done.stdout + done.stderr
        assert leftovers(folder) == []
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
    done = project.snakemake("--rerun-incomplete", *CONFIG, "--", target)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    after = files(project, stage)
    assert {name: after[name] == content for name, content in before.items()} == dict.fromkeys(before, True)


# stage -> (a file of it, what the next step makes of it)
READ_BY = {
    "slides": ("slides/features/S002.h5ad", "survival/abmil_wsi/risk.parquet"),
    "expression": ("expression/tumour_st/residuals.h5ad", "genegraph/graphs/tumour_st.h5ad"),
    "genegraph": ("genegraph/embedding.h5ad", "genegraph/modules.parquet"),
    "survival": ("survival/abmil_wsi/risk.parquet", "evaluation/metrics.parquet"),
    "evaluation": ("evaluation/metrics.parquet", "report/figures.parquet"),
}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [flip, cut])
@pytest.mark.parametrize("stage", READ_BY)
def test_damage_is_noticed_by_the_step_that_reads(project, stage, damage):
    """A file changes on the disk, with its time as it was: the next step refuses it by name."""
    path, target = (project.folder / "results" / name for name in READ_BY[stage])
    whole, times = path.read_bytes(), path.stat()
    damage(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    before = target.read_bytes()
    target.unlink()
    args = [*CONFIG, "--rerun-triggers", "mtime", "--", str(target.relative_to(project.folder))]
    done = project.snakemake(*args)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"error: {path.relative_to(project.folder)} is " in said
    assert "Remove it and run again" in said
    assert leftovers(project.folder / "results") == []
    path.write_bytes(whole)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = project.snakemake("--rerun-incomplete", *args)
    assert done.returncode == 0, said
    assert target.read_bytes() == before
