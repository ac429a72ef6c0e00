"""Inputs and numbers of the reference software (tests/golden/README.md), and the stage's scripts on a small dataset."""

import importlib.util
import json
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from histoweave.expression.sctransform import fit

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests/golden"
sys.path.insert(0, str(ROOT / "workflow/rules"))

from hwrules.config import fill_defaults, load_schema  # noqa: E402 - after the path is set


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(GOLDEN / f"{name}.csv.gz", index_col=0, float_precision="round_trip")


@pytest.fixture(scope="session")
def golden():
    return table


@pytest.fixture(scope="session")
def synth_a():
    """Counts (cell, gene), given depth (cell,), gene names."""
    counts = table("inputs/synthA_counts_genes_x_cells")
    depth = table("inputs/synthA_cells")["seq_depth"].to_numpy(dtype=float)
    return counts.T.to_numpy(dtype=float), depth, counts.index.to_numpy(dtype=str)


@pytest.fixture(scope="session")
def tiny():
    """Counts (cell, gene) with an all-zero cell and gene, and depth (cell,)."""
    counts = table("inputs/tiny_counts_genes_x_cells")
    return counts.T.to_numpy(dtype=float), table("inputs/tiny_cells")["seq_depth"].to_numpy(dtype=float)


@pytest.fixture(scope="session")
def synth_b():
    """Counts (spot, gene), coordinates (spot, 2), covariates (spot, 2), gene names."""
    counts = table("inputs/synthB_counts_genes_x_spots")
    spots = table("inputs/synthB_spots")
    names = counts.index.to_numpy(dtype=str)
    return counts.T.to_numpy(dtype=float), spots[["x", "y"]].to_numpy(), spots[["x1", "x2"]].to_numpy(), names


@pytest.fixture(scope="session")
def whole_fit():
    """Fit sctransform to all cells and genes, without a draw."""
    every = {"min_cells": 5, "fit_cells": None, "fit_genes": None}
    return lambda counts, depth, *, version: fit(
        counts, depth, version=version, generator=np.random.default_rng(0), **every
    )


@pytest.fixture
def draw():
    return np.random.default_rng(11)


@pytest.fixture(scope="session")
def config():
    return fill_defaults({}, load_schema(ROOT / "workflow/schemas/expression.schema.yaml"))


def main_of(rule):
    spec = importlib.util.spec_from_file_location(rule, ROOT / f"workflow/scripts/expression/{rule}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def data():
    draw = np.random.default_rng(4)
    level = draw.gamma(1.5, 1.0, (1, 80)) * draw.gamma(4.0, 0.25, (60, 80))
    made = ad.AnnData(sparse.csr_matrix(draw.poisson(level).astype(np.float32)))
    made.var_names = [f"GENE{i:03}" for i in range(79)] + ["MT-CO1"]
    made.obs_names = [f"c{i}" for i in range(60)]
    made.obs["kind"] = np.where(np.arange(60) % 2, "T", "B")
    made.obs["batch"] = np.arange(60) % 3
    made.obsm["spatial"] = draw.uniform(0, 100, (60, 2))
    return made


class Stage:
    """Runs the scripts of one dataset in a folder."""

    def __init__(self, folder, config):
        self.folder, self.config = folder, json.loads(json.dumps(config))

    def run(self, rule, sections, *options):
        settings = {name: self.config[name] for name in (*sections, "memory_gb")}
        main_of(rule)(["--settings", json.dumps(settings), *map(str, options)])

    def qc(self, data, *options, modality="scrna"):
        data.write_h5ad(self.folder / "in.h5ad")
        out = ["--out", self.folder / "counts.h5ad", "--ledger", self.folder / "qc.parquet"]
        about = ["--dataset", "d", "--modality", modality, "--tissue", "blood"]
        self.run("qc_counts", ("qc", "peaks"), "--data", self.folder / "in.h5ad", *about, *out, *options)

    def rank(self):
        options = ["--counts", self.folder / "counts.h5ad", "--out", self.folder / "spatial.parquet"]
        self.run("rank_spatial_genes", ("sparkx",), *options)

    def residuals(self, *options):
        out = ["--out", self.folder / "residuals.h5ad", "--ledger", self.folder / "residuals.parquet"]
        files = ["--counts", self.folder / "counts.h5ad", *out]
        self.run("compute_residuals", ("sctransform", "hvg"), *files, *options)

    def coexpression(self):
        out = ["--out", self.folder / "pairs.parquet", "--genes", self.folder / "genes.parquet"]
        files = ["--counts", self.folder / "counts.h5ad", "--residuals", self.folder / "residuals.h5ad"]
        ledger = ["--ledger", self.folder / "pairs_ledger.parquet"]
        self.run("estimate_coexpression", ("cscore", "edges"), *files, *out, *ledger)


@pytest.fixture
def stage(tmp_path, config):
    made = Stage(tmp_path, config)
    made.config["hvg"]["n_genes"] = 20
    return made
