"""Metrics of several methods together: an overall score, means over seeds with intervals, and paired gains.

A seed draws other edges to leave out and other weights. The overall score is made as scIB's
(doi:10.1038/s41592-021-01336-8), of MuSe-GNN's six metrics: each is scaled so that the worst method has 0 and the best
1, and the scaled values are averaged. It compares the methods of one run, and means nothing outside it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

SIX = ("asw", "auc", "ilisi", "gc", "cgr", "no")
OURS = "musegnn"


def with_overall(table: pd.DataFrame) -> pd.DataFrame:
    """Metrics of one seed (``method``, ``metric``, ``value``, ...) with rows of the metric ``overall``.

    A metric that all methods share, or that one of them lacks, says nothing and does not count. Without any there is no
    overall score.
    """
    order = list(dict.fromkeys(table["method"]))
    wide = table[table["metric"].isin(SIX)].pivot(index="method", columns="metric", values="value")
    span = wide.max() - wide.min()
    counted = wide.columns[(span > 0) & wide.notna().all()]
    if len(counted) == 0:
        return table
    overall = ((wide - wide.min()) / span.where(span > 0))[counted].mean(axis=1).reindex(order)
    rows = pd.DataFrame({"method": order, "metric": "overall", "value": overall.to_numpy()})
    return pd.concat([table, rows], ignore_index=True)


def over_seeds(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean of each metric over the seeds' tables, with the 95 % t interval of the mean and ``seeds``, their number.

    Of a single seed the intervals are those of its table.
    """
    if len(tables) == 1:
        return tables[0].assign(seeds=1)
    together = pd.concat(tables, ignore_index=True)
    grouped = together.groupby(["method", "metric"], sort=False)["value"]
    return grouped.apply(_summary).unstack().reset_index().astype({"seeds": int})


def gains(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """What the trained embedding has over each other method, paired by seed.

    Returns ``method``, ``metric``, ``difference``, ``lower``, ``upper`` (95 % t interval; NaN with one seed) and
    ``seeds``.
    """
    wide = [table.set_index(["method", "metric"])["value"] for table in tables]
    methods = [name for name in dict.fromkeys(tables[0]["method"]) if name != OURS]
    rows = []
    for method in methods:
        apart = pd.DataFrame([values[OURS] - values[method] for values in wide])
        for metric in dict.fromkeys(tables[0]["metric"]):
            found = _summary(apart[metric]) if metric in apart else None
            if found is not None and np.isfinite(found["value"]):
                rows.append({"method": method, "metric": metric, **found.rename({"value": "difference"})})
    columns = ["method", "metric", "difference", "lower", "upper", "seeds"]
    return pd.DataFrame(rows, columns=columns).astype({"seeds": int})


def _summary(values: pd.Series) -> pd.Series:
    """Mean, and its t interval over the seeds where there are two or more."""
    values = values.dropna()
    n = len(values)
    mean = values.mean() if n else np.nan
    half = t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return pd.Series({"value": mean, "lower": mean - half, "upper": mean + half, "seeds": n})
