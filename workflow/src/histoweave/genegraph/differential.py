"""Which genes change their partners between two conditions: neighbourhoods and embedding, with a permutation test.

For a gene in both conditions, averaged over the datasets of each:
- lost neighbours: 1 - Jaccard index of its neighbourhoods;
- moved: distance of its two profiles of cosines to all genes of both conditions, which a rotation does not change.
The null distribution permutes which dataset is of which condition where there are at least two of each; otherwise it
comes from the pairs of datasets of one condition, and with one dataset each there is no test: p is NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np
import pandas as pd

from histoweave.errors import InputError, shorten
from histoweave.genegraph.enrichment import benjamini_hochberg
from histoweave.genegraph.graph import GeneGraph
from histoweave.genegraph.heldout import unit_rows
from histoweave.genegraph.pairs import with_self

_MOST_PERMUTATIONS = 1000


@dataclass(frozen=True)
class DifferentialSettings:
    """Which datasets are compared: names of datasets of either condition; none = no comparison."""

    section: ClassVar[str] = "genegraph.differential"
    first: tuple[str, ...]
    second: tuple[str, ...]


def differential(
    graphs: Mapping[str, GeneGraph],
    embeddings: Mapping[str, np.ndarray],
    *,
    settings: DifferentialSettings,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Compare two conditions gene by gene.

    graphs, embeddings (gene, dim) : by dataset
    Returns ``gene``, ``lost_neighbours``, ``moved``, and ``p_...``, ``q_...`` of each, the most moved first.
    Only genes of all datasets of both conditions are compared.
    """
    chosen = [*settings.first, *settings.second]
    check_conditions(settings, list(graphs))
    label = np.repeat([False, True], [len(settings.first), len(settings.second)])
    genes = sorted(set.intersection(*[set(graphs[name].genes) for name in chosen]))
    if len(genes) < 3:
        msg = f"{len(genes)} gene(s) are in all {len(chosen)} datasets of genegraph.differential; 3 are needed."
        raise InputError(msg)
    near, profile = [], []
    for name in chosen:
        place = pd.Index(graphs[name].genes).get_indexer(genes)
        near.append(with_self(graphs[name].adjacency)[place][:, place].toarray())
        unit = unit_rows(embeddings[name][place])
        profile.append(unit @ unit.T)
    measures = {"lost_neighbours": lost_neighbours, "moved": moved}
    parts = {"lost_neighbours": np.stack(near), "moved": np.stack(profile)}  # (dataset, gene, gene)
    found = pd.DataFrame({"gene": genes})
    for name, measure in measures.items():
        found[name] = measure(parts[name], label)
        null = [measure(parts[name], other) for other in relabelled(label, rng=rng)]
        p = np.full(len(genes), np.nan)
        if null:
            # a change as large or larger in any gene of any relabelling counts, so that few datasets still give a null
            pool = np.sort(np.concatenate(null))
            above = len(pool) - np.searchsorted(pool, found[name].to_numpy(), side="left")
            p = (above + 1) / (len(pool) + 1)
        found[f"p_{name}"] = p
        found[f"q_{name}"] = benjamini_hochberg(p) if null else p
    return found.sort_values(["moved", "gene"], ascending=[False, True], ignore_index=True)


def check_conditions(settings: DifferentialSettings, known: list[str]) -> None:
    """Raise InputError for an empty condition, an unknown dataset, or one that stands in both."""
    both = sorted(set(settings.first) & set(settings.second))
    unknown = sorted({*settings.first, *settings.second} - set(known))
    if unknown or both or not settings.first or not settings.second:
        why = f"unknown: {shorten(unknown)}" if unknown else f"in both: {shorten(both)}" if both else "one is empty"
        msg = f"genegraph.differential.first and second must name datasets of datasets.tsv, each once ({why})."
        raise InputError(msg)


def lost_neighbours(near: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(gene,) 1 - weighted Jaccard index of the mean neighbourhoods (dataset, gene, gene) of the two labels."""
    a, b = near[~label].mean(axis=0), near[label].mean(axis=0)
    return 1 - np.minimum(a, b).sum(axis=1) / np.maximum(a, b).sum(axis=1)


def moved(profile: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(gene,) root mean square change of the mean cosines (dataset, gene, gene) between the two labels."""
    change = profile[~label].mean(axis=0) - profile[label].mean(axis=0)
    return np.sqrt(np.square(change).mean(axis=1))


def relabelled(label: np.ndarray, *, rng: np.random.Generator) -> list[np.ndarray]:
    """Other assignments of the datasets to the two conditions, of the same sizes; none with one dataset each."""
    n, k = len(label), int(label.sum())
    if n < 3:
        return []
    every = [np.isin(np.arange(n), pick) for pick in combinations(range(n), k)]
    swapped = [~label] if 2 * k == n else []
    others = [made for made in every if not any(np.array_equal(made, same) for same in [label, *swapped])]
    pick = rng.permutation(len(others))[:_MOST_PERMUTATIONS]
    return [others[i] for i in np.sort(pick)]
