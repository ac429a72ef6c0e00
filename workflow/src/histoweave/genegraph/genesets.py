"""Does an embedding know which genes work together? Gene sets against cosines, and a linear probe per set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from histoweave.errors import InputError
from histoweave.genegraph.heldout import unit_rows
from histoweave.rng import derive_seed


@dataclass(frozen=True)
class GeneSetSettings:
    """Which gene sets are used.

    gmt : GMT file of gene sets (name, description, genes), or none
    min_genes, max_genes : of a set, counted among the embedded genes; folds : of the probe's cross-validation
    fdr : threshold of the false discovery rate at which the report shows a term
    """

    section: ClassVar[str] = "genegraph.gene_sets"
    gmt: str | None
    min_genes: int
    max_genes: int
    folds: int
    fdr: float


def usable_sets(
    sets: Mapping[str, Sequence[str]], genes: np.ndarray, *, settings: GeneSetSettings
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Positions of each set's genes among `genes`, and the names of the sets that are too small or too large.

    Raises InputError if no set is left.
    """
    index = pd.Index(genes)
    found, left_out = {}, []
    for name, members in sets.items():
        place = np.unique(index.get_indexer(pd.unique(pd.Series(list(members), dtype=str))))
        place = place[place >= 0]
        if settings.min_genes <= len(place) <= settings.max_genes:
            found[name] = place
        else:
            left_out.append(name)
    if not found:
        msg = (
            f"none of {len(sets)} gene sets has {settings.min_genes} to {settings.max_genes} of the {len(genes)} "
            "embedded genes. Do the names match (symbols or Ensembl)? See genegraph.gene_sets.gmt and min_genes."
        )
        raise InputError(msg)
    return found, left_out


def pair_auroc(vectors: np.ndarray, sets: Mapping[str, np.ndarray]) -> float:
    """ROC-AUC of the cosine of two genes for their being in a set together; genes of any set only.

    vectors : (gene, dim); sets : name -> positions
    """
    together = np.zeros((len(vectors), len(vectors)), dtype=bool)
    for place in sets.values():
        together[np.ix_(place, place)] = True
    inside = np.unique(np.concatenate(list(sets.values())))
    unit = unit_rows(vectors[inside])
    upper = np.triu_indices(len(inside), k=1)
    truth = together[np.ix_(inside, inside)][upper]
    if truth.all() or not truth.any():
        return float("nan")
    return float(roc_auc_score(truth, (unit @ unit.T)[upper]))


def term_probes(vectors: np.ndarray, sets: Mapping[str, np.ndarray], *, folds: int, seed: int) -> pd.DataFrame:
    """How well a linear classifier tells the genes of each set from the others, out of fold.

    vectors : (gene, dim). Returns ``term``, ``n_genes``, ``auroc``, ``average_precision``. A set with fewer genes
    than folds has NaN.
    """
    scaled = (vectors - vectors.mean(axis=0)) / np.maximum(vectors.std(axis=0), 1e-12)
    rows = []
    for name, place in sets.items():
        label = np.zeros(len(vectors), dtype=int)
        label[place] = 1
        if min(label.sum(), len(label) - label.sum()) < folds:
            rows.append((name, len(place), np.nan, np.nan))
            continue
        score = out_of_fold(scaled, label, folds=folds, seed=seed)
        rows.append((name, len(place), roc_auc_score(label, score), average_precision_score(label, score)))
    return pd.DataFrame(rows, columns=["term", "n_genes", "auroc", "average_precision"])


def out_of_fold(features: np.ndarray, label: np.ndarray, *, folds: int, seed: int) -> np.ndarray:
    """(gene,) probability of the label by class-weighted logistic regression that has not seen the gene."""
    score = np.empty(len(label))
    splitter = StratifiedKFold(folds, shuffle=True, random_state=derive_seed(seed, "genegraph/probe") % 2**32)
    for fit, test in splitter.split(features, label):
        model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=200).fit(features[fit], label[fit])
        score[test] = model.predict_proba(features[test])[:, 1]
    return score
