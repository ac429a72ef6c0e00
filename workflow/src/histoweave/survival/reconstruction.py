"""How well a model predicts the expression of gene groups for patients that it has not seen."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

COLUMNS = ("group", "genes", "patients", "r_group", "r_gene")


def group_correlations(
    predicted: np.ndarray, truth: np.ndarray, *, groups: Sequence[str], sizes: Sequence[int]
) -> pd.DataFrame:
    """Pearson correlations over patients, one row per gene group.

    predicted, truth : (patient, gene), group after group; patients without expression are rows of NaN in `truth`
    groups, sizes : names and numbers of genes
    Returns ``group, genes, patients``, ``r_group`` of the groups' means over genes and ``r_gene``, the median over the
    genes; NaN with fewer than three patients or where nothing varies.
    """
    known = ~np.isnan(truth).any(axis=1)
    ends = np.cumsum(sizes)[:-1]
    parts = zip(np.split(predicted[known], ends, axis=1), np.split(truth[known], ends, axis=1), strict=True)
    rows = []
    for name, (one, other) in zip(groups, parts, strict=True):
        whole = correlations(one.mean(axis=1, keepdims=True), other.mean(axis=1, keepdims=True))[0]
        genes = correlations(one, other)
        median = np.nan if np.isnan(genes).all() else float(np.nanmedian(genes))
        rows.append((name, one.shape[1], int(known.sum()), float(whole), median))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(column,) Pearson correlations of the columns of two (patient, column) arrays; NaN where one does not vary."""
    if len(one) < 3:
        return np.full(one.shape[1], np.nan)
    a, b = (np.asarray(part, dtype=np.float64) - part.mean(axis=0, dtype=np.float64) for part in (one, other))
    spread = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.divide((a * b).sum(axis=0), spread, out=np.full(len(spread), np.nan), where=spread > 1e-12)
