"""From co-expression statistics and residual expression to the gene graph of one dataset."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import sparse

from histoweave.errors import InputError, shorten
from histoweave.genegraph.graph import GeneGraph, check_graphs, symmetric


@dataclass(frozen=True)
class GraphSettings:
    """What describes a gene.

    components : principal components of the residuals as features of a gene; 0 = all cells, as published
    """

    section: ClassVar[str] = "genegraph.graph"
    components: int


def build_graph(
    residuals: np.ndarray,
    genes: np.ndarray,
    pairs: pd.DataFrame,
    *,
    name: str,
    modality: str,
    tissue: str,
    species: str,
    settings: GraphSettings,
) -> GeneGraph:
    """Gene graph of one dataset.

    residuals : (cell, gene); genes : (gene,) names
    pairs : table with ``gene_a``, ``gene_b``, ``correlation``, ``edge`` (bool), each pair once
    Raises InputError for unknown genes, values that are not finite, or a graph without edges.
    """
    genes = np.asarray(genes, dtype=str)
    bad = genes[~np.isfinite(residuals).all(axis=0)]
    if len(bad):
        msg = f"dataset '{name}': residuals of {len(bad)} gene(s) are not finite (first: '{bad[0]}')."
        raise InputError(msg)
    graph = GeneGraph(
        name=name,
        modality=modality,
        tissue=tissue,
        species=species,
        genes=genes,
        features=gene_features(residuals, components=settings.components),
        adjacency=edges_of(pairs, genes, name=name),
    )
    check_graphs([graph])
    return graph


def edges_of(pairs: pd.DataFrame, genes: np.ndarray, *, name: str) -> sparse.csr_array:
    """Symmetric (gene, gene) adjacency of the pairs with ``edge``, weighted by correlation.

    An edge without a correlation (0 or not finite, where a gene's variance estimate is not positive) is left out:
    it would have neither sign nor weight.
    """
    position = pd.Index(genes)
    rows, columns = (position.get_indexer(pairs[column]) for column in ("gene_a", "gene_b"))
    unknown = sorted(set(pairs["gene_a"][rows < 0]) | set(pairs["gene_b"][columns < 0]))
    if unknown:
        msg = f"dataset '{name}': {len(unknown)} gene(s) of coexpression.parquet have no residuals: {shorten(unknown)}."
        raise InputError(msg)
    correlation = np.nan_to_num(pairs["correlation"].to_numpy(float))
    keep = pairs["edge"].to_numpy(bool) & (correlation != 0) & (rows != columns)
    return symmetric(rows[keep], columns[keep], correlation[keep], n_genes=len(genes))


def gene_features(residuals: np.ndarray, *, components: int) -> np.ndarray:
    """(gene, feature) float32: residuals centred per gene, or their leading principal components.

    The components are scaled together to a mean square of 1, and each has its largest entry positive.
    """
    centred = (residuals - residuals.mean(axis=0)).T.astype(np.float64)  # (gene, cell)
    if components == 0:
        return np.ascontiguousarray(centred, dtype=np.float32)
    gram = centred @ centred.T  # (gene, gene); its eigenvectors are the left singular vectors of (gene, cell)
    values, vectors = np.linalg.eigh(gram)
    first = slice(None, -min(components, len(values)) - 1, -1)
    scores = vectors[:, first] * np.sqrt(np.maximum(values[first], 0))
    scores *= np.sign(scores[np.abs(scores).argmax(axis=0), np.arange(scores.shape[1])] + 1e-300)
    return (scores / np.sqrt(max(np.square(scores).mean(), 1e-12))).astype(np.float32)
