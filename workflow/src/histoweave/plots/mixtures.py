"""Cell types of bulk samples, as the regulated gene encoder estimates them."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from histoweave.plots.style import GREY, colour, describe, figure_of, wrapped

_HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "")
_MOST = 6


@figure_of
def cell_type_shares(shares: pd.DataFrame) -> Figure:
    """One stacked bar per patient, ordered by the share of the commonest type; types beyond six are added up.

    shares : (patient, cell type) proportions, rows summing to 1
    """
    means = shares.mean().sort_values(ascending=False, kind="stable")
    kept, others = means.index[:_MOST], means.index[_MOST:]
    shown = shares[kept].sort_values(kept[0], ascending=False, kind="stable")
    if len(others):
        shown[f"{len(others)} other types"] = shares.loc[shown.index, others].sum(axis=1)
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    axes = figure.subplots()
    below = np.zeros(len(shown))
    places = np.arange(len(shown))
    for number, name in enumerate(shown):
        shade = GREY if number >= _MOST else colour(number)
        look = {"color": shade, "hatch": _HATCHES[number], "edgecolor": "white", "linewidth": 0}
        axes.bar(places, shown[name], bottom=below, width=1.0, label=wrapped(str(name), 24), **look)
        below += shown[name].to_numpy()
    axes.set_xlim(-0.5, len(shown) - 0.5)
    axes.set_ylim(0, 1)
    axes.set_xticks([])
    axes.set_xlabel(f"{len(shown)} patients")
    axes.set_ylabel("estimated share")
    figure.legend(loc="outside right upper", fontsize=8)
    said = "; ".join(f"{name} {share:.2f}" for name, share in means.items())
    return describe(figure, f"Estimated shares of cell types in {len(shown)} bulk samples. Means: {said}.")
