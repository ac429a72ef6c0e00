"""Estimates with their intervals, one line each."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from histoweave.plots.style import GREY, colour, describe, figure_of, wrapped


@figure_of
def forest(rows: pd.DataFrame, *, quantity: str, reference: float, log_scale: bool) -> Figure:
    """Point and 95 % interval per row, with the numbers at the right and a line at `reference`.

    rows : ``label``, ``estimate``, ``lower``, ``upper`` and, if some rows belong together, ``group``;
        a row without an estimate is named with "not available"
    quantity : name of the axis; reference : value that means "no effect" or "by chance"
    """
    rows = rows.reset_index(drop=True)
    labels = [wrapped(str(label), 30) for label in rows["label"]]
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    figure = Figure(figsize=(7.2, 0.75 + max(0.34, 0.17 * lines) * len(rows)), layout="constrained")
    axes = figure.subplots()
    groups = list(dict.fromkeys(rows["group"])) if "group" in rows else []
    for place, row in enumerate(rows.itertuples()):
        shade = colour(groups.index(row.group)) if groups else colour(0)
        if pd.notna(row.lower) and pd.notna(row.upper):
            axes.plot([row.lower, row.upper], [place, place], color=shade, solid_capstyle="butt")
        axes.plot(row.estimate, place, "s", color=shade, markersize=5)
        axes.text(1.02, place, numbers(row), transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    axes.axvline(reference, color=GREY, linewidth=1, linestyle=(0, (3, 2)))
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    if log_scale:
        _log_axis(axes, rows, reference)
    axes.set_xlabel(quantity)
    said = "; ".join(f"{row.label} {numbers(row)}" for row in rows.itertuples())
    return describe(figure, f"{quantity} with intervals; the dashed line marks {reference:g}. {said}.")


def _log_axis(axes: Axes, rows: pd.DataFrame, reference: float) -> None:
    """Logarithmic axis that one interval without end does not stretch: at most 3 times beyond the estimates."""
    low = max(rows["lower"].min(), rows["estimate"].min() / 3)
    high = min(rows["upper"].max(), rows["estimate"].max() * 3)
    axes.set_xscale("log", subs=())
    if np.isfinite([low, high]).all() and 0 < low < high:
        axes.set_xlim(0.95 * min(low, reference), 1.05 * max(high, reference))
    steps = (1, 1.5, 2, 3, 5, 7) if high < 10 * low else (1, 2, 5)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter("{x:g}")


def numbers(row: object) -> str:
    """``0.71 (0.66 to 0.76)`` of a row with estimate, lower and upper."""
    if pd.isna(row.estimate):
        return "not available"
    if pd.isna(row.lower) or pd.isna(row.upper):
        return f"{row.estimate:.2f} (no interval)"
    return f"{row.estimate:.2f} ({row.lower:.2f} to {row.upper:.2f})"
