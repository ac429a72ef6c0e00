"""Data that cannot be used is told in one line by the job that reads it, which ends with exit code 2."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml

PATIENTS = [f"P{number:02d}" for number in range(40)]


@pytest.fixture
def told(project):
    """Run the workflow on `inputs`; returns what is printed, each failed job's lines of error and its exit status."""

    def run(*targets, config, **inputs):
        path = project.folder / "my.yaml"
        path.write_text(yaml.safe_dump({"inputs": inputs, **config}))
        done = project.snakemake("--keep-going", "--configfile", str(path), "--", *targets)
        assert done.returncode == 1
        logs = (project.folder / "results/logs").rglob("*.log")
        errors = [line for log in logs for line in log.read_text().splitlines() if line.startswith("error: ")]
        return done.stdout + done.stderr, sorted(errors)

    return run


def patients(folder, *, events):
    table = pd.DataFrame({"patient": PATIENTS, "time_days": np.arange(1, 41) * 50, "event": 0, "site": "A"})
    table.loc[: events - 1, "event"] = 1
    table["site"] = [f"S{number % 8}" for number in range(40)]
    table.to_csv(folder / "patients.tsv", sep="\t", index=False)
    return str(folder / "patients.tsv")


def expression(folder, *, lowest):
    values = np.random.default_rng(3).poisson(20, (40, 6)).astype("float32")
    values[7, 2] = lowest
    table = pd.DataFrame(values, index=pd.Index(PATIENTS, name="patient"), columns=[f"G{n}" for n in range(6)])
    table.to_csv(folder / "expression.tsv", sep="\t")
    return {"path": str(folder / "expression.tsv"), "scale": "counts"}


def dataset(folder):
    """Cells that somebody normalised."""
    counts = np.log1p(np.random.default_rng(4).poisson(3, (60, 30))).astype("float32")
    cells = pd.DataFrame(index=[f"c{n}" for n in range(60)])
    ad.AnnData(counts, obs=cells, var=pd.DataFrame(index=[f"G{n}" for n in range(30)])).write_h5ad(
        folder / "cells.h5ad"
    )
    row = {"dataset": "blood", "path": folder / "cells.h5ad", "modality": "scrna", "tissue": "blood"}
    pd.DataFrame([row]).to_csv(folder / "datasets.tsv", sep="\t", index=False)
    return str(folder / "datasets.tsv")


def test_negative_counts_and_normalised_cells(told, tmp_path):
    inputs = {"patients": patients(tmp_path, events=30), "expression": expression(tmp_path, lowest=-2)}
    text, errors = told("survival", "expression", config={}, datasets=dataset(tmp_path), **inputs)
    assert len(errors) == 2
    cells, profiles = errors
    assert "counts are not whole numbers" in cells
    assert "Give raw counts" in cells
    assert "says 'counts', but 1 values are negative" in profiles
    assert "'P07', gene 'G2', -2" in profiles
    assert text.count("exit status 2") == text.count("exit status") == 2
    assert not list((tmp_path / "results").rglob("cohort.parquet"))


def test_too_few_events(told, tmp_path):
    inputs = {"patients": patients(tmp_path, events=8), "expression": expression(tmp_path, lowest=0)}
    _, errors = told("survival", config={"survival": {"models": {"coxnet_rna": {"method": "coxnet_rna"}}}}, **inputs)
    assert len(errors) == 1
    assert "the training part has" in errors[0]
    assert "least_train_events = 30" in errors[0]
