"""A tiny demo cohort for tests of the machinery: its own config and tables in a copy of the project."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from workflow.conftest import Project, clean_env

PATIENTS = 36


def make_mini(project: Project, *, batches: int = 3, **simulate: object) -> list[str]:
    """Give the project a tiny cohort; returns the arguments that choose it."""
    folder = project.folder
    properties = yaml.safe_load((folder / "workflow/schemas/simulate.schema.yaml").read_text())["properties"]
    values = {key: leaf["default"] for key, leaf in properties.items()}
    values |= {"patients": PATIENTS, "cells": 60, "spots": 100} | simulate
    subprocess.run(
        [sys.executable, "-P", "workflow/scripts/simulate/simulate_tables.py",
         "--settings", json.dumps(values), "--out-dir", "mini"],
        cwd=folder, check=True, env=clean_env() | {"PYTHONPATH": "workflow/src"},
    )  # fmt: skip
    config = yaml.safe_load((folder / "config/demo.yaml").read_text())
    config["simulate"] = values
    config["inputs"] |= {name: f"mini/{name}.tsv" for name in ("slides", "patients", "datasets")}
    config["slides"]["batches"] = batches
    (folder / "mini.yaml").write_text(yaml.safe_dump(config))
    return ["--configfile", "mini.yaml", "--"]


SMALL = {
    "expression": {"hvg": {"n_genes": 120}},
    "genegraph": {
        "train": {"epochs": 6, "patience": 0, "check_every": 2},
        "metrics": {"methods": ["random_per_gene", "pca"]},
    },
    "survival": {
        "folds": {"folds": 2, "least_train_events": 5},
        "models": {"cox_clinical": {"method": "cox_clinical"}, "abmil_wsi": {"method": "abmil_wsi"}},
        "explain": {"models": []},
        "abmil_wsi": {"hidden": 16, "attention": 8, "training": {"epochs": 40, "patience": 0}},
    },
    "evaluation": {
        "bootstrap": {"draws": 50},
        "audits": {"permutations": 20},
        "compare": {"pairs": [["abmil_wsi", "cox_clinical"]]},
    },
}
"""What differs from the demo where the whole workflow runs in a minute; its numbers mean nothing."""


def make_small(project: Project) -> list[str]:
    """Give the project a cohort on which all stages run: two datasets, two models; returns what chooses it."""
    args = make_mini(project, batches=2, patients=60, cells=150, spots=150)
    table = project.folder / "mini/datasets.tsv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([lines[0], *(line for line in lines if line.startswith("tumour"))]))
    path = project.folder / "mini.yaml"
    config = yaml.safe_load(path.read_text())
    for section, values in SMALL.items():
        config[section] = config[section] | values
    config["report"]["viewer"] = {"enabled": False}
    path.write_text(yaml.safe_dump(config))
    return args


def simulated(project: Project) -> dict[str, bytes]:
    """Path -> content of every file of the cohort, temporary ones too."""
    folder = project.folder / "demo-data"
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def start(project: Project, *args: str) -> subprocess.Popen:
    """Snakemake in a process group of its own."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *args]
    log = (project.folder / "started.log").open("w")
    return subprocess.Popen(
        command, cwd=project.folder, env=clean_env(), stdout=log, stderr=log, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip


def wait_until(condition: Callable[[], bool], *, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def kill_group(process: subprocess.Popen, number: signal.Signals) -> int:
    """Send a signal to Snakemake and all its jobs; returns the exit status."""
    os.killpg(process.pid, number)
    return process.wait(timeout=60)


def leftovers(folder: Path) -> list[str]:
    """Temporary files of interrupted writers."""
    return [str(p) for p in folder.rglob(".part-*") if ".snakemake" not in p.parts]
