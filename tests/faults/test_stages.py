"""Each stage killed, its disk full, its output damaged: told, and mended by running again. `make faults`; minutes.

HISTOWEAVE_DEMO may name the folder of a finished demo; otherwise one is run first.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from workflow.conftest import Project, copy_project
from workflow.mini import kill_group, leftovers, start, wait_until

from histoweave.formats.files import fingerprint

# stage -> (rule, an output of it, how its files are found)
STAGES = {
    "slides": ("encode_tiles", "slides/batches/b0001/encode_tiles.parquet"),
    "expression": ("compute_residuals", "expression/tumour_st/residuals.h5ad"),
    "genegraph": ("train_embedding", "genegraph/embedding.h5ad"),
    "survival": ("train_model", "survival/abmil_wsi/risk.parquet"),
    "evaluation": ("score_models", "evaluation/metrics.parquet"),
    "report": ("draw_figures", "report/figures.parquet"),
}


@pytest.fixture(scope="session")
def finished(root, tmp_path_factory) -> Project:
    """A finished demo."""
    if given := os.environ.get("HISTOWEAVE_DEMO"):
        return Project(Path(given))
    project = copy_project(root, tmp_path_factory.mktemp("finished"))
    done = project.snakemake("all")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished demo that may be broken."""
    shutil.copytree(finished.folder, tmp_path / "run", symlinks=True)
    return Project(tmp_path / "run")


def files(project: Project, stage: str) -> dict[str, str]:
    """Path -> fingerprint of all that a stage wrote; that of a table leaves measured seconds out."""
    folder = project.folder / "results" / stage
    return {str(p.relative_to(folder)): fingerprint(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def unmake(project: Project, stage: str) -> str:
    """Take away an output of the stage, and what its job would not make again; returns it as a target."""
    target = f"results/{STAGES[stage][1]}"
    (project.folder / target).unlink()
    if stage == "slides":  # a batch skips slides whose files are there
        shutil.rmtree(project.folder / "results/slides/features")
        for path in (project.folder / "results/slides/batches").glob("*/encode_tiles.parquet"):
            path.unlink()
        (project.folder / "results/slides/qc.parquet").unlink()
    return "results/slides/qc.parquet" if stage == "slides" else target


def jobs(project: Project, stage: str) -> list[int]:
    """Processes of the stage's script in this project's folder."""
    name = f"scripts/{stage}/{STAGES[stage][0]}.py"
    found = subprocess.run(["pgrep", "-f", name], capture_output=True, text=True, check=False).stdout.split()
    return [
        int(p) for p in found if Path(f"/proc/{p}/cwd").exists() and Path(f"/proc/{p}/cwd").resolve() == project.folder
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_the_stage(project, stage):
    before = files(project, stage)
    target = unmake(project, stage)
    process = start(project, target)
    wait_until(lambda: jobs(project, stage), seconds=300)
    wait_until(lambda: cpu_seconds(jobs(project, stage)) > 2 or process.poll() is not None, seconds=300)
    kill_group(process, signal.SIGKILL)
    for number in jobs(project, stage):
        os.kill(number, signal.SIGKILL)
    assert project.snakemake("--unlock").returncode == 0
    done = project.snakemake("--rerun-incomplete", target)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    after = files(project, stage)
    assert {name: after[name] == content for name, content in before.items()} == dict.fromkeys(before, True)


def cpu_seconds(processes: list[int]) -> float:
    """CPU time of processes so far."""
    ticks = 0
    for number in processes:
        stat = Path(f"/proc/{number}/stat")
        if stat.exists():
            ticks += sum(map(int, stat.read_text().rsplit(")", 1)[1].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


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
        done = project.snakemake(target)
        assert done.returncode != 0
        assert "the disk is full" in done.stdout + done.stderr
        assert leftovers(folder) == []
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
    done = project.snakemake("--rerun-incomplete", target)
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
    triggers = ["--rerun-triggers", "mtime"]
    done = project.snakemake(str(target.relative_to(project.folder)), *triggers)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert f"error: {path.relative_to(project.folder)} is " in said
    assert "Remove it and run again" in said
    assert leftovers(project.folder / "results") == []
    path.write_bytes(whole)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = project.snakemake("--rerun-incomplete", str(target.relative_to(project.folder)), *triggers)
    assert done.returncode == 0, said
    assert target.read_bytes() == before
