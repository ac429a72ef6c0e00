"""The map of genes that the gene graphs give."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from histoweave.plots.style import COLOURS, GREY, describe, figure_of, listed

_MARKS = "os^Dv*PX"


@figure_of
def gene_map(genes: pd.DataFrame, *, most: int) -> Figure:
    """Genes as points in two dimensions, coloured and marked by module; small modules are grey.

    genes : ``gene``, ``x``, ``y``, ``module`` (``none`` for genes of no module)
    most : modules that get a colour of their own
    """
    sizes = genes["module"].astype(str).value_counts().drop("none", errors="ignore")
    shown = list(sizes.index[:most])
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.subplots()
    rest = genes[~genes["module"].astype(str).isin(shown)]
    axes.scatter(rest["x"], rest["y"], s=8, color=GREY, alpha=0.4, linewidths=0, rasterized=True)
    for number, name in enumerate(shown):
        part = genes[genes["module"].astype(str) == name]
        shade = COLOURS[number % len(COLOURS)]
        mark = _MARKS[number % len(_MARKS)]
        label = f"module {name} ({len(part)})"
        axes.scatter(
            part["x"], part["y"], s=16, color=shade, marker=mark, linewidths=0, alpha=0.8, label=label, rasterized=True
        )
        top = (np.median(part["x"]), part["y"].max())
        axes.annotate(name, top, (0, 3), textcoords="offset points", fontsize=8, ha="center", va="bottom")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7.5)
    told = listed([f"module {name} with {sizes[name]} genes" for name in shown])
    return describe(figure, f"Map of {len(genes)} genes; genes of a module lie together where it is tight. {told}.")
