"""Methods beside their controls, one panel per measure."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from histoweave.plots.style import GREY, colour, describe, figure_of, wrapped

_ACROSS = 3


@figure_of
def beside_controls(rows: pd.DataFrame) -> Figure:
    """A panel per metric with a point, and an interval where there is one, for each method.

    rows : ``method``, ``metric``, ``value``, ``lower``, ``upper``
    """
    metrics, methods = (list(dict.fromkeys(rows[name])) for name in ("metric", "method"))
    down = -(-len(metrics) // _ACROSS)
    figure = Figure(figsize=(7.2, down * (0.6 + 0.24 * len(methods))), layout="constrained")
    grid = figure.subplots(down, min(_ACROSS, len(metrics)), sharey=True, squeeze=False).ravel()
    for axes in grid[len(metrics) :]:
        axes.set_axis_off()
    for axes, metric in zip(grid, metrics, strict=False):
        part = rows[rows["metric"] == metric]
        places = [methods.index(method) for method in part["method"]]
        shades = [colour(0) if place == 0 else GREY for place in places]
        axes.hlines(places, part["lower"], part["upper"], colors=shades)
        axes.scatter(part["value"], places, c=shades, s=20, zorder=3)
        axes.set_title(wrapped(metric.replace("_", " "), 26), fontsize=8.5)
        axes.set_yticks(range(len(methods)), [wrapped(method, 22) for method in methods], fontsize=7.5)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.tick_params(axis="x", labelsize=7)
        axes.margins(x=0.1)
    values = rows[np.isfinite(rows["value"])]
    said = "; ".join(f"{row.metric}, {row.method}: {row.value:.3g}" for row in values.itertuples())
    return describe(figure, f"Each measure for the method (first row) and its controls. {said}.")
