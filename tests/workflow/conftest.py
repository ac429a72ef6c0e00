"""Running Snakemake on a copy of the project's tree, so that tests touch nothing of a user's results."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PARTS = ("Snakefile", "workflow", "envs", "profiles", "config", "resources", "slurm")


@dataclass(frozen=True)
class Project:
    """A folder with the workflow in it."""

    folder: Path

    def snakemake(
        self, *args: str, cores: int = 2, timeout: float = 1500, before: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess:
        command = [*before, sys.executable, "-m", "snakemake", "--cores", str(cores), *args]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=timeout, check=False, env=clean_env()
        )

    def dry_run(self, *args: str) -> dict[str, int]:
        """Rule -> number of jobs that would run."""
        done = self.snakemake("-n", "--quiet", "rules", *args)
        assert done.returncode == 0, done.stdout + done.stderr
        stats = re.findall(r"(?m)^([a-z_]+)\s+(\d+)$", done.stdout + done.stderr)
        return {name: int(count) for name, count in stats if name != "total"}


def clean_env() -> dict[str, str]:
    """The environment without what would lend a job another project's code."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SNAKEMAKE_PROFILE")}
    return env | {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}


def copy_project(root: Path, folder: Path) -> Project:
    for part in PARTS:
        source = root / part
        if source.is_symlink():
            (folder / part).symlink_to(source.readlink())
        elif source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            shutil.copy(source, folder / part)
    return Project(folder)


@pytest.fixture
def project(root, tmp_path) -> Project:
    """A copy without results."""
    return copy_project(root, tmp_path)


@cache
def without_network() -> tuple[str, ...]:
    """What a command is begun with so that it has no network; nothing where this user may not do that."""
    unshare = ("unshare", "--net")
    allowed = shutil.which("unshare") and subprocess.run([*unshare, "true"], check=False, capture_output=True)
    return unshare if allowed and allowed.returncode == 0 else ()


@pytest.fixture(scope="session")
def demo(root, tmp_path_factory) -> Project:
    """A copy in which the demo has run to its end, with the network cut off: once for all workers, changed by none."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # that of all workers of this session
    folder, ended = shared / "demo", shared / "demo-ended"
    with (shared / "demo-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ended.exists():
            folder.mkdir()
            done = copy_project(root, folder).snakemake("all", before=without_network())
            ended.write_text("" if done.returncode == 0 else (done.stdout + done.stderr)[-8000:])
    failed = ended.read_text()
    assert not failed, failed
    return Project(folder)
