"""One vector per gene, modules of genes, and each gene's nearest genes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from histoweave.errors import InputError, shorten
from histoweave.genegraph.heldout import unit_rows
from histoweave.genegraph.layout import umap_layout
from histoweave.genegraph.neighbours import fuzzy_graph, leiden, nearest
from histoweave.rng import derive_seed, generator


@dataclass(frozen=True)
class ModuleSettings:
    """How genes are averaged and grouped.

    tissues : datasets of these tissues go into a gene's vector; none = all
    neighbours : per gene in the graph that Leiden and the layout use; resolution : of Leiden, higher = more modules
    min_genes : smaller groups are called ``none``; listed_neighbours : nearest genes listed per gene
    layout_epochs : steps of the two-dimensional picture
    """

    section: ClassVar[str] = "genegraph.modules"
    tissues: tuple[str, ...]
    neighbours: int
    resolution: float
    min_genes: int
    listed_neighbours: int
    layout_epochs: int


def average_by(embedding: np.ndarray, names: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Mean direction for each distinct row of `names`, in sorted order.

    embedding : (row, dim); names : (row, key) such as gene, or gene and tissue
    Returns the distinct keys, and (key, dim) unit vectors of the mean of the rows' unit vectors.
    """
    keys = names.drop_duplicates().sort_values(list(names.columns), kind="stable").reset_index(drop=True)
    place = keys.reset_index().merge(names.reset_index(names="row"), on=list(names.columns)).sort_values("row")["index"]
    total = np.zeros((len(keys), embedding.shape[1]))
    np.add.at(total, place.to_numpy(), unit_rows(embedding.astype(np.float64)))
    return keys, unit_rows(total).astype(np.float32)


def gene_vectors(
    embedding: np.ndarray, rows: pd.DataFrame, *, tissues: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Names (gene,) and vectors (gene, dim), averaged over the datasets of `tissues`.

    rows : one per embedded row, with ``gene`` and ``tissue``. Raises InputError for a tissue that is not there.
    """
    unknown = sorted(set(tissues) - set(rows["tissue"]))
    if unknown:
        msg = (
            f"genegraph.modules.tissues names {len(unknown)} tissue(s) that no dataset has: {shorten(unknown)}. "
            f"datasets.tsv has {shorten(sorted(set(rows['tissue'])))}."
        )
        raise InputError(msg)
    chosen = rows["tissue"].isin(tissues).to_numpy() if tissues else np.ones(len(rows), dtype=bool)
    keys, vectors = average_by(embedding[chosen], rows.loc[chosen, ["gene"]].astype(str))
    return keys["gene"].to_numpy(str), vectors


def find_modules(genes: np.ndarray, vectors: np.ndarray, *, settings: ModuleSettings, seed: int) -> pd.DataFrame:
    """Leiden modules of genes and a picture of them: ``gene``, ``module``, ``x``, ``y``.

    genes : (gene,); vectors : (gene, dim). Modules are called M01, M02, ... from the largest down.
    """
    graph = fuzzy_graph(*nearest(vectors, number=settings.neighbours))
    label = leiden(graph, resolution=settings.resolution, seed=derive_seed(seed, "genegraph/leiden"))
    size = np.bincount(label)[label]
    width = max(2, len(str(label.max() + 1)))
    name = np.where(size >= settings.min_genes, [f"M{i + 1:0{width}d}" for i in label], "none")
    start = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)[0][:, :2]
    start = start * np.sign(start[np.abs(start).argmax(axis=0), [0, 1]])
    place = umap_layout(graph, start=start, epochs=settings.layout_epochs, rng=generator(seed, "genegraph/layout"))
    return pd.DataFrame({"gene": genes, "module": name, "x": place[:, 0], "y": place[:, 1]})


def nearest_genes(genes: np.ndarray, vectors: np.ndarray, *, number: int) -> pd.DataFrame:
    """The `number` nearest genes of each by cosine: ``gene``, ``rank``, ``neighbour``, ``cosine``."""
    number = min(number, len(genes) - 1)
    found, distances = nearest(unit_rows(vectors), number=number + 1)
    return pd.DataFrame(
        {
            "gene": np.repeat(genes, number),
            "rank": np.tile(np.arange(1, number + 1), len(genes)),
            "neighbour": genes[found[:, 1:].ravel()],
            "cosine": 1 - np.square(distances[:, 1:].ravel()) / 2,
        }
    )


def stacked(embeddings: Mapping[str, np.ndarray], graphs: Mapping[str, object]) -> tuple[np.ndarray, pd.DataFrame]:
    """All datasets' rows in one: (row, dim), with gene, dataset, tissue, modality and species of each."""
    parts = [
        pd.DataFrame(
            {
                "gene": graph.genes,
                "dataset": name,
                "tissue": graph.tissue,
                "modality": graph.modality,
                "species": graph.species,
            }
        )
        for name, graph in graphs.items()
    ]
    return np.concatenate([embeddings[name] for name in graphs]), pd.concat(parts, ignore_index=True)
