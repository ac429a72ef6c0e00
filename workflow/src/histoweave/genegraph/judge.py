"""All metrics of one embedding in one table, the same for a trained model, a control and a baseline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from histoweave.genegraph.controls import METHODS, BaselineSettings
from histoweave.genegraph.graph import GeneGraph
from histoweave.genegraph.heldout import Split, auc_interval, held_out_scores
from histoweave.genegraph.lisi import graph_lisi
from histoweave.genegraph.metrics import (
    all_edge_auc,
    common_gene_ratio,
    common_rows,
    connectivity,
    mixing_silhouette,
    neighbour_overlap,
)
from histoweave.genegraph.neighbours import fuzzy_graph, leiden, nearest
from histoweave.genegraph.seeds import OURS, with_overall
from histoweave.rng import derive_seed


@dataclass(frozen=True)
class MetricSettings:
    """How an embedding is judged.

    methods : controls and baselines that stand beside the trained embedding
    seeds : how often all is trained and judged, with other edges left out and other weights
    neighbours, resolution : of the graph and the Leiden clusters that ASW, iLISI, GC, CGR and NO use
    lisi_neighbours : nearest rows that iLISI looks at
    """

    section: ClassVar[str] = "genegraph.metrics"
    methods: tuple[str, ...]
    seeds: int
    neighbours: int
    resolution: float
    lisi_neighbours: int


def judge_all(
    embeddings: Mapping[str, np.ndarray],
    split: Split,
    *,
    settings: MetricSettings,
    baselines: BaselineSettings,
    seed: int,
    tell: Callable[[pd.DataFrame], None] = lambda table: None,
) -> pd.DataFrame:
    """`judge` of the trained embedding (dataset -> (gene, dim)) and of all methods of `settings` on the same edges.

    With the metric ``overall``, which compares them. `tell` is given each method's table.
    """
    found = {OURS: embeddings}
    dim = embeddings[split.graphs[0].name].shape[1]
    for method in settings.methods:
        made = METHODS[method](split.graphs, dim=dim, settings=baselines, seed=seed)
        found[method] = {graph.name: z for graph, z in zip(split.graphs, made, strict=True)}
    parts = []
    for method, made in found.items():
        parts.append(judge(method, made, split, settings=settings, seed=seed))
        tell(parts[-1])
    return with_overall(pd.concat(parts, ignore_index=True))


def judge(
    method: str, embeddings: Mapping[str, np.ndarray], split: Split, *, settings: MetricSettings, seed: int
) -> pd.DataFrame:
    """Metrics of `embeddings` (dataset -> (gene, dim)): ``method``, ``metric``, ``value``, ``lower``, ``upper``.

    The graphs of `split` are those that training saw; edges that were left out count neither as edge nor as gap
    in the AUC over training edges.
    """
    values = cluster_metrics(embeddings, split.graphs, settings=settings, seed=seed)
    values |= {
        "auc": all_edge_auc(embeddings, split.graphs, diagonal=True, skip=split.test),
        "auc_no_diagonal": all_edge_auc(embeddings, split.graphs, diagonal=False, skip=split.test),
    }
    rows = [(method, metric, value, np.nan, np.nan) for metric, value in values.items()]
    auc, precision = held_out_scores(embeddings, split.test)
    if auc:
        value = float(np.mean(list(auc.values())))
        rows.append((method, "held_out_auc", value, *auc_interval(embeddings, split.test)))
        rows.append((method, "held_out_ap", float(np.mean(list(precision.values()))), np.nan, np.nan))
    return pd.DataFrame(rows, columns=["method", "metric", "value", "lower", "upper"])


def cluster_metrics(
    embeddings: Mapping[str, np.ndarray], graphs: Sequence[GeneGraph], *, settings: MetricSettings, seed: int
) -> dict[str, float]:
    """The five metrics of mixing and of clusters (the sixth, AUC, reads the edges)."""
    rows = np.concatenate([embeddings[graph.name] for graph in graphs])
    dataset = np.repeat(np.arange(len(graphs)), [len(graph.genes) for graph in graphs])
    genes = np.concatenate([graph.genes for graph in graphs])
    near = fuzzy_graph(*nearest(rows, number=settings.neighbours))
    cluster = leiden(near, resolution=settings.resolution, seed=derive_seed(seed, "genegraph/metrics"))
    common = np.flatnonzero(common_rows(graphs))
    found = {"cgr": common_gene_ratio(genes, cluster), "no": neighbour_overlap(graphs, cluster)}
    if len(graphs) > 1 and len(common):
        found["asw"] = mixing_silhouette(rows[common], dataset[common], cluster[common])
        found["gc"] = connectivity(near[common][:, common], cluster[common])
        near_common = fuzzy_graph(*nearest(rows[common], number=settings.neighbours))
        found["ilisi"] = graph_lisi(near_common, dataset[common], number=settings.lisi_neighbours)
    return found
