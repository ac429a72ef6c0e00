"""Inputs and numbers of the reference software (tests/golden/README.md)."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


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


@pytest.fixture
def draw():
    return np.random.default_rng(11)
