"""Counts of the demo cohort: bulk RNA of the patients, single cells and spots."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from histoweave.rng import generator
from histoweave.simulate.cohort import MODULES
from histoweave.simulate.genes import BLOOD_TYPES, TUMOUR_TYPES, GeneModel

DATASETS = {"blood_1": "blood", "blood_2": "blood", "tumour_1": "tumour", "tumour_st": "tumour"}
SPATIAL = "tumour_st"
SILENT = {"blood": ("module_8",), "tumour": ("module_7",)}  # a module that the tissue does not use
DEPTH = {"blood_1": 4000.0, "blood_2": 3000.0, "tumour_1": 5000.0, "tumour_st": 6000.0}
MIXTURE = {"blood": (4.0, 2.0, 1.5, 2.5), "tumour": (6.0, 2.5, 1.0, 2.0, 1.5)}  # Dirichlet, per tissue's cell types
DEBRIS = 0.02  # share of cells that are broken: little RNA, mostly mitochondrial
MISSING_GENES = 40  # genes outside every module that a single-cell dataset did not measure
CELL_NOISE = 0.1  # variance of the multiplicative noise of a gene in a cell
BULK_NOISE = 0.04
BULK_DEPTH = 2e6
SITE_SHIFT = 0.1  # SD of a site's shift of a gene's log expression
SPOT_UM = 100.0  # distance between spots
DOMAINS = ("core", "rim", "stroma", "infiltrate")


@dataclass(frozen=True)
class Dataset:
    """One single-cell or spatial dataset.

    counts : (cell, gene) raw counts; genes : (gene,) names; obs : `cell, cell_type, sample` and for spots `domain`
    positions : (spot, 2) in um, None without
    """

    counts: np.ndarray
    genes: np.ndarray
    obs: pd.DataFrame
    positions: np.ndarray | None


def simulate_bulk(
    model: GeneModel, activity: np.ndarray, sites: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bulk counts (patient, gene) and the cell-type proportions (patient, cell type) behind them.

    activity : (patient, module); sites : (patient,). Each patient is a mixture of the tumour's
    cell types, changed by the activity of the modules and by the site's batch effect.
    """
    rng = generator(seed, "simulate", "bulk")
    n = len(activity)
    shares = rng.dirichlet(MIXTURE["tumour"], size=n)  # (patient, cell type)
    profile = shares @ np.stack([model.profiles[kind] for kind in TUMOUR_TYPES])  # (patient, gene)
    names, place = np.unique(sites, return_inverse=True)
    batch = rng.normal(0, SITE_SHIFT, size=(len(names), profile.shape[1]))[place]
    mean = profile * np.exp(activity @ model.loadings.T + batch)
    depth = BULK_DEPTH * rng.lognormal(0, 0.25, size=n)
    return _counts(mean, depth, noise=BULK_NOISE, rng=rng), shares


def simulate_cells(model: GeneModel, dataset: str, *, cells: int, seed: int) -> Dataset:
    """Single cells (cell, gene): one type each, modules active to a different degree in each cell."""
    rng = generator(seed, "simulate", "cells", dataset)
    tissue = DATASETS[dataset]
    kinds = _types(tissue)
    weights = np.array(MIXTURE[tissue]) / sum(MIXTURE[tissue])
    types = rng.choice(kinds, cells, p=weights)
    profile = np.stack([model.profiles[kind] for kind in types])  # (cell, gene)
    activity = rng.normal(size=(cells, len(MODULES))) * _used(tissue)
    mean = profile * np.exp(activity @ model.loadings.T)
    depth = DEPTH[dataset] * rng.lognormal(0, 0.35, size=cells)
    broken = rng.random(cells) < DEBRIS
    depth[broken] *= 0.04
    mean[np.ix_(broken, model.table["gene"].str.startswith("MT-"))] *= 40
    counts = _counts(mean, depth, noise=CELL_NOISE, rng=rng)
    plain = np.flatnonzero((model.table["module"] == "") & (model.table["marker_of"] == ""))
    kept = np.setdiff1d(np.arange(counts.shape[1]), rng.choice(plain, MISSING_GENES, replace=False))
    obs = pd.DataFrame({"cell": [f"{dataset}_c{i:04d}" for i in range(cells)], "cell_type": types, "sample": dataset})
    return Dataset(counts=counts[:, kept], genes=model.table["gene"].to_numpy()[kept], obs=obs, positions=None)


def simulate_spots(model: GeneModel, dataset: str, *, spots: int, seed: int) -> Dataset:
    """Spots (spot, gene) on a hexagonal grid: each domain has its own cell types and active modules."""
    rng = generator(seed, "simulate", "spots", dataset)
    positions = hexagonal(spots)
    domain = _domains(positions, rng=rng)
    kinds = _types("tumour")
    leaning = np.array([[9, 1, 1, 0.5, 0.5], [5, 2, 1.5, 1, 1.5], [1, 7, 2, 1, 1], [2, 1, 1, 6, 3]], dtype=float)
    shares = np.stack([rng.dirichlet(2 * leaning[place]) for place in domain])  # (spot, cell type)
    profile = shares @ np.stack([model.profiles[kind] for kind in kinds])
    activity = 0.7 * rng.normal(size=(spots, len(MODULES)))
    activity[np.arange(spots), domain] += 1.2  # domain k uses module k more than the others do
    mean = profile * np.exp(activity * _used("tumour") @ model.loadings.T)
    depth = DEPTH[dataset] * rng.lognormal(0, 0.3, size=spots)
    obs = pd.DataFrame(
        {
            "cell": [f"{dataset}_s{i:04d}" for i in range(spots)],
            "cell_type": np.array(kinds)[shares.argmax(axis=1)],
            "sample": dataset,
            "domain": np.array(DOMAINS)[domain],
        }
    )
    counts = _counts(mean, depth, noise=CELL_NOISE, rng=rng)
    return Dataset(counts=counts, genes=model.table["gene"].to_numpy(), obs=obs, positions=positions)


def hexagonal(spots: int) -> np.ndarray:
    """Centres (spot, 2) in um of a nearly square hexagonal grid."""
    across = int(np.ceil(np.sqrt(spots)))
    row, column = np.divmod(np.arange(spots), across)
    return np.column_stack([(column + 0.5 * (row % 2)) * SPOT_UM, row * SPOT_UM * np.sqrt(0.75)])


def _domains(positions: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Domain number (spot,): a core, a rim around it, stroma left of a line, infiltrate elsewhere."""
    unit = positions / positions.max(axis=0)  # (spot, 2) in 0..1
    bend = 0.04 * np.sin(6 * np.pi * unit[:, ::-1] + rng.uniform(0, 2 * np.pi, 2))
    place = unit + bend
    radius = np.hypot(place[:, 0] - 0.6, place[:, 1] - 0.45)
    outside = np.where(place[:, 0] + 0.3 * place[:, 1] < 0.45, 2, 3)
    return np.select([radius < 0.22, radius < 0.36], [0, 1], outside)


def _types(tissue: str) -> tuple[str, ...]:
    return BLOOD_TYPES if tissue == "blood" else TUMOUR_TYPES


def _used(tissue: str) -> np.ndarray:
    return ~np.isin(MODULES, SILENT[tissue])


def _counts(mean: np.ndarray, depth: np.ndarray, *, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Negative binomial counts (cell, gene) around `depth` times the shares in `mean`, variance `noise` of the rate."""
    rate = mean / mean.sum(axis=1, keepdims=True) * depth[:, None]
    return rng.poisson(rate * rng.gamma(1 / noise, noise, size=rate.shape)).astype(np.int32)
