"""Small datasets with planted gene modules."""

import numpy as np
import pandas as pd
from scipy.stats import norm

from histoweave.genegraph.build import GraphSettings, build_graph
from histoweave.genegraph.graph import GeneGraph

SETTINGS = GraphSettings(components=0)


def coexpression(residuals: np.ndarray, genes: np.ndarray) -> pd.DataFrame:
    """Every pair once, with Fisher's test of the correlation."""
    correlation = np.corrcoef(residuals, rowvar=False)
    a, b = np.triu_indices(len(genes), k=1)
    r = correlation[a, b]
    statistic = np.arctanh(r) * np.sqrt(len(residuals) - 3)
    p = 2 * norm.sf(np.abs(statistic))
    return pd.DataFrame({"gene_a": genes[a], "gene_b": genes[b], "correlation": r, "edge": p < 0.005})


def expression(
    rng: np.random.Generator, *, cells: int, modules: int, size: int, alone: int, own: str
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals (cell, gene) and names: `modules` x `size` genes that share a factor; `alone` genes of `own` name."""
    factor = rng.standard_normal((cells, modules))
    loading = rng.uniform(0.6, 0.9, size=(modules, size))
    shared = (factor[:, :, None] * loading).reshape(cells, -1)
    values = np.concatenate(
        [shared + 0.7 * rng.standard_normal(shared.shape), rng.standard_normal((cells, alone))], axis=1
    )
    names = [f"m{m}_{g}" for m in range(modules) for g in range(size)] + [f"{own}_{g}" for g in range(alone)]
    return values, np.array(names)


def planted_graphs(
    seed: int = 0, *, datasets: int = 3, cells: int = 120, modules: int = 4, size: int = 12, alone: int = 20
) -> list[GeneGraph]:
    """Graphs with the same modules and with genes of their own; each lacks a few module genes."""
    rng = np.random.default_rng(seed)
    graphs = []
    for number in range(datasets):
        values, names = expression(rng, cells=cells, modules=modules, size=size, alone=alone, own=f"d{number}")
        keep = np.sort(rng.permutation(len(names))[: len(names) - 3 - number])
        pairs = coexpression(values[:, keep], names[keep])
        graphs.append(
            build_graph(
                values[:, keep],
                names[keep],
                pairs,
                name=f"set.{number}",
                modality="spatial" if number == 2 else "scrna",
                tissue="blood" if number == 0 else "tumour",
                species="human",
                settings=SETTINGS,
            )
        )
    return graphs


def module_of(genes: np.ndarray) -> np.ndarray:
    """Planted module of each gene by its name; 'none' for the others."""
    return np.array([gene.split("_")[0] if gene.startswith("m") else "none" for gene in genes])
