"""The six metrics of MuSe-GNN (arXiv:2310.02275), vectorised; what each can be made to say by a trick.

| name | here | what tops it without any data |
|---|---|---|
| ASW | `mixing_silhouette` | one vector per gene name |
| AUC | `edge_auc` | nothing (random: 0.5; training edges, so learning by heart tops it) |
| iLISI | `lisi.graph_lisi` | one vector per gene name |
| GC | `connectivity` | few, large clusters |
| CGR | `common_gene_ratio` | one vector per gene name reaches its maximum |
| NO | `neighbour_overlap` | clusters of the same gene only |

Rows are genes of datasets, all datasets below each other. Common rows: the gene occurs in every dataset.
Clusters: Leiden over the fuzzy graph of nearest neighbours of all rows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import roc_auc_score, silhouette_samples

from histoweave.genegraph.graph import GeneGraph, union_genes
from histoweave.genegraph.heldout import Pairs, unit_rows
from histoweave.genegraph.pairs import with_self


def common_rows(graphs: Sequence[GeneGraph]) -> np.ndarray:
    """(row,) bool: genes that occur in every dataset."""
    genes = np.concatenate([graph.genes for graph in graphs])
    return pd.Series(genes).map(pd.Series(genes).value_counts()).to_numpy() == len(graphs)


def edge_auc(embedding: np.ndarray, graph: GeneGraph, *, diagonal: bool, skip: Pairs | None) -> float:
    """ROC-AUC of the cosine of all gene pairs against the edges.

    embedding : (gene, dim); diagonal : count a gene and itself as an edge, as published; skip : pairs not to count
    """
    unit = unit_rows(embedding)
    edge = with_self(graph.adjacency).toarray() > 0
    counted = np.triu(np.ones(edge.shape, dtype=bool), k=1)
    if skip is not None:
        counted[np.minimum(skip.rows, skip.columns), np.maximum(skip.rows, skip.columns)] = False
    score, truth = (unit @ unit.T)[counted], edge[counted]
    # All n^2 entries count in the original: each pair twice, the diagonal once.
    weight = np.r_[np.full(len(score), 2.0), np.ones(len(unit))] if diagonal else None
    if diagonal:
        score, truth = np.r_[score, np.square(unit).sum(axis=1)], np.r_[truth, np.ones(len(unit), dtype=bool)]
    return float(roc_auc_score(truth, score, sample_weight=weight))


def mixing_silhouette(embedding: np.ndarray, dataset: np.ndarray, cluster: np.ndarray) -> float:
    """ASW: mean over clusters of 1 - |silhouette of the dataset label|; all arguments (common row, ...).

    A cluster counts if it has at least two datasets and more rows than datasets. NaN if none does.
    """
    means = []
    for label in np.unique(cluster):
        inside = cluster == label
        labels = dataset[inside]
        if 2 <= len(np.unique(labels)) < len(labels):
            means.append(np.mean(1 - np.abs(silhouette_samples(embedding[inside], labels))))
    return float(np.mean(means)) if means else float("nan")


def connectivity(graph: sparse.csr_array, cluster: np.ndarray) -> float:
    """GC: mean over clusters of the share of rows in the largest connected component; (row, row) and (row,)."""
    shares = []
    for label in np.unique(cluster):
        inside = np.flatnonzero(cluster == label)
        _, component = connected_components(graph[inside][:, inside], directed=False)
        shares.append(np.bincount(component).max() / len(inside))
    return float(np.mean(shares))


def common_gene_ratio(genes: np.ndarray, cluster: np.ndarray) -> float:
    """CGR: 1 - (number of distinct genes of each cluster, summed) / rows."""
    pairs = pd.DataFrame({"cluster": cluster, "gene": genes}).drop_duplicates()
    return 1 - len(pairs) / len(genes)


def neighbour_overlap(graphs: Sequence[GeneGraph], cluster: np.ndarray) -> float:
    """NO: Jaccard index of the neighbourhoods of two rows of a cluster and of different datasets.

    Averaged over the pairs of a cluster (0 without a pair), then over clusters by size. cluster : (row,)
    """
    names, positions = union_genes(graphs)
    blocks = []
    for graph, place in zip(graphs, positions, strict=True):
        near = with_self(graph.adjacency).tocoo()
        blocks.append(sparse.csr_array((near.data, (near.row, place[near.col])), shape=(len(place), len(names))))
    member = sparse.vstack(blocks, format="csr")  # (row, gene of any dataset)
    dataset = np.repeat(np.arange(len(graphs)), [len(graph.genes) for graph in graphs])
    total = 0.0
    for label in np.unique(cluster):
        inside = np.flatnonzero(cluster == label)
        part = member[inside]
        common = (part @ part.T).toarray()
        size = part.sum(axis=1)
        apart = dataset[inside][:, None] != dataset[inside]
        if apart.any():
            jaccard = common / (size[:, None] + size - common)
            total += len(inside) * jaccard[apart].mean()
    return total / len(cluster)


def all_edge_auc(
    embeddings: Mapping[str, np.ndarray], graphs: Sequence[GeneGraph], *, diagonal: bool, skip: Mapping[str, Pairs]
) -> float:
    """Mean of `edge_auc` over the datasets."""
    found = [edge_auc(embeddings[graph.name], graph, diagonal=diagonal, skip=skip.get(graph.name)) for graph in graphs]
    return float(np.mean(found))
