"""Predicting what a gene is from its vector: nested cross-validation of nearest neighbours and logistic regression."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

from histoweave.errors import InputError, shorten
from histoweave.rng import derive_seed, generator


@dataclass(frozen=True)
class FunctionSettings:
    """Which labels are predicted.

    labels : TSV with columns ``gene`` and ``label`` (two or more labels), or none
    outer_folds, inner_folds : of the nested cross-validation; the inner one chooses neighbours or penalty
    """

    section: ClassVar[str] = "genegraph.gene_function"
    labels: str | None
    outer_folds: int
    inner_folds: int


def predict_function(
    genes: np.ndarray, vectors: np.ndarray, labels: pd.DataFrame, *, settings: FunctionSettings, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Out-of-fold predictions of the labels of the genes that have one.

    genes (gene,), vectors (gene, dim); labels : ``gene``, ``label``
    Returns scores (``classifier``, ``label``, ``n_genes``, ``auroc``, ``average_precision``; the classifier
    ``shuffled`` is the logistic one on labels dealt out at random), predictions (``gene``, ``label``, ``classifier``,
    ``predicted``, ``probability``), and the labelled genes that are not embedded.
    Raises InputError for a gene with two labels, or a label with too few genes.
    """
    twice = sorted(set(labels.loc[labels["gene"].duplicated(), "gene"]))
    if twice:
        msg = (
            f"{len(twice)} gene(s) of genegraph.gene_function.labels stand there twice: {shorten(twice)}. Keep one row."
        )
        raise InputError(msg)
    place = pd.Index(genes).get_indexer(labels["gene"])
    absent = labels.loc[place < 0, "gene"].astype(str).tolist()
    truth, x = labels.loc[place >= 0, "label"].to_numpy(str), vectors[place[place >= 0]]
    names, counts = np.unique(truth, return_counts=True)
    if len(names) < 2 or counts.min() < settings.outer_folds:
        found = ", ".join(f"{name}: {count}" for name, count in zip(names, counts, strict=True)) or "none"
        msg = (
            f"labelled genes that are embedded: {found}. Two labels with {settings.outer_folds} genes each are needed."
        )
        raise InputError(msg)
    shuffled = generator(seed, "genegraph/shuffled").permutation(truth)
    scores, predictions = [], []
    for name, kind, target in (
        ("knn", "knn", truth),
        ("logistic", "logistic", truth),
        ("shuffled", "logistic", shuffled),
    ):
        probability = nested(x, target, kind=kind, settings=settings, seed=seed)  # (gene, label)
        for number, label in enumerate(names):
            of_label = target == label
            auroc, precision = (
                score(of_label, probability[:, number]) for score in (roc_auc_score, average_precision_score)
            )
            scores.append((name, label, int(of_label.sum()), auroc, precision))
        if name != "shuffled":
            best = probability.argmax(axis=1)
            columns = {"gene": genes[place[place >= 0]], "label": truth, "classifier": name, "predicted": names[best]}
            predictions.append(pd.DataFrame(columns | {"probability": probability.max(axis=1)}))
    columns = ["classifier", "label", "n_genes", "auroc", "average_precision"]
    return pd.DataFrame(scores, columns=columns), pd.concat(predictions, ignore_index=True), absent


def nested(x: np.ndarray, label: np.ndarray, *, kind: str, settings: FunctionSettings, seed: int) -> np.ndarray:
    """(gene, label) out-of-fold probabilities; what the inner folds choose never sees the outer test genes."""
    names = np.unique(label)
    probability = np.zeros((len(label), len(names)))
    state = derive_seed(seed, "genegraph/function") % 2**32
    outer = StratifiedKFold(settings.outer_folds, shuffle=True, random_state=state)
    for fit, test in outer.split(x, label):
        inner = StratifiedKFold(settings.inner_folds, shuffle=True, random_state=state)
        smallest = len(fit) - -(-len(fit) // settings.inner_folds)
        if kind == "knn":
            grid = {"n_neighbors": [k for k in (3, 5, 11, 21) if k <= smallest], "weights": ["distance"]}
            model = GridSearchCV(KNeighborsClassifier(), grid, cv=inner, scoring="balanced_accuracy")
        else:
            logistic = LogisticRegression(class_weight="balanced", max_iter=500)
            model = GridSearchCV(logistic, {"C": [0.1, 1.0, 10.0, 100.0]}, cv=inner, scoring="balanced_accuracy")
        probability[test] = model.fit(x[fit], label[fit]).predict_proba(x[test])
    return probability
