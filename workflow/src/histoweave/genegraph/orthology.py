"""Whether orthologues of two species lie together."""

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np
import pandas as pd

from histoweave.errors import InputError
from histoweave.genegraph.heldout import unit_rows

_TOP = 10


@dataclass(frozen=True)
class OrthologySettings:
    """Which genes are orthologues.

    table : TSV with one column per species, named as in datasets.tsv, a pair or group of orthologues per row; or none
    neighbours, resolution : of the Leiden clusters that the share of pairs is counted in
    """

    section: ClassVar[str] = "genegraph.orthology"
    table: str | None
    neighbours: int
    resolution: float


def orthologue_agreement(
    vectors: np.ndarray, rows: pd.DataFrame, cluster: np.ndarray, orthologues: pd.DataFrame, *, rng: np.random.Generator
) -> pd.DataFrame:
    """Agreement for each two species, beside what genes dealt out at random reach.

    vectors : (row, dim); rows : ``gene``, ``species`` of each; cluster : (row,); orthologues : a column per species
    Returns ``species_a``, ``species_b``, ``measure``, ``value``, ``random``. Measures: ``cluster_share``, the mean over
    clusters of the share of their pairs of rows of both species that are orthologues; ``rank``, the mean share of the
    other species' genes that lie farther away than the orthologue; ``top``, the share of genes with an orthologue
    among the nearest ten.
    """
    species = [name for name in sorted(set(rows["species"])) if name in orthologues.columns]
    if len(species) < 2:
        found = sorted(set(rows["species"]))
        msg = f"species of the datasets: {found}; columns of genegraph.orthology.table: {list(orthologues.columns)}. "
        raise InputError(msg + "Two of them must agree.")
    unit, made = unit_rows(vectors), []
    for a, b in combinations(species, 2):
        at_a, at_b = (np.flatnonzero(rows["species"] == name) for name in (a, b))
        match = pairs_of(rows["gene"].to_numpy(str)[at_a], rows["gene"].to_numpy(str)[at_b], orthologues[[a, b]])
        if not match.any():
            msg = f"no pair of orthologues of {a} and {b} is embedded. Do the names in genegraph.orthology.table match?"
            raise InputError(msg)
        mixed = rng.permutation(len(at_b))
        real = measures(unit[at_a], unit[at_b], cluster[at_a], cluster[at_b], match)
        random = measures(unit[at_a], unit[at_b[mixed]], cluster[at_a], cluster[at_b[mixed]], match)
        made += [(a, b, name, real[name], random[name]) for name in real]
    return pd.DataFrame(made, columns=["species_a", "species_b", "measure", "value", "random"])


def pairs_of(genes_a: np.ndarray, genes_b: np.ndarray, orthologues: pd.DataFrame) -> np.ndarray:
    """(row a, row b) bool: the two are orthologues."""
    known = orthologues.dropna().astype(str).drop_duplicates()
    match = np.zeros((len(genes_a), len(genes_b)), dtype=bool)
    for gene_a, gene_b in known.itertuples(index=False):
        match[np.ix_(genes_a == gene_a, genes_b == gene_b)] = True
    return match


def measures(
    unit_a: np.ndarray, unit_b: np.ndarray, cluster_a: np.ndarray, cluster_b: np.ndarray, match: np.ndarray
) -> dict[str, float]:
    """Share in clusters, rank and top of the orthologues; unit vectors (row, dim), clusters (row,), match (a, b)."""
    shares = [
        match[np.ix_(cluster_a == label, cluster_b == label)].mean() for label in np.intersect1d(cluster_a, cluster_b)
    ]
    with_one = match.any(axis=1)
    cosine = unit_a[with_one] @ unit_b.T
    best = np.where(match[with_one], cosine, -np.inf).max(axis=1, keepdims=True)
    farther = (cosine < best).mean(axis=1)
    nearer = (cosine > best).sum(axis=1)
    return {
        "cluster_share": float(np.mean(shares)) if shares else float("nan"),
        "rank": float(farther.mean()),
        "top": float((nearer < _TOP).mean()),
    }
