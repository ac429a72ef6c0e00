"""Which inputs a model's risk rests on, and whether the folds agree."""

import pandas as pd
from matplotlib.figure import Figure

from histoweave.plots.style import GREY, colour, describe, figure_of, listed, wrapped


@figure_of
def top_inputs(rows: pd.DataFrame, *, most: int) -> Figure:
    """The inputs with the largest share of the risk, a panel per kind: bars are means over folds, dots are folds.

    rows : ``kind``, ``name``, ``share`` (of all attributions of a fold), one per input and fold
    most : inputs per kind
    """
    kinds = list(dict.fromkeys(rows["kind"]))
    tops = {kind: _top(rows[rows["kind"] == kind], most) for kind in kinds}
    longest = max(len(top) for top in tops.values())
    figure = Figure(figsize=(7.2, 0.9 + 0.24 * longest), layout="constrained")
    grid = figure.subplots(1, len(kinds), squeeze=False)[0]
    for number, (axes, kind) in enumerate(zip(grid, kinds, strict=True)):
        top = tops[kind]
        axes.barh(range(len(top)), top, color=colour(number), alpha=0.6)
        folds = rows[(rows["kind"] == kind) & rows["name"].isin(top.index)]
        axes.plot(folds["share"], folds["name"].map(list(top.index).index), ".", color=GREY, markersize=4)
        axes.set_yticks(range(len(top)), [wrapped(str(name), 30) for name in top.index], fontsize=7.5)
        axes.set_ylim(longest - 0.5, -0.5)
        axes.set_xlabel("share of the risk", fontsize=8)
        axes.set_title(kind.replace("_", " "))
    said = "; ".join(f"{kind.replace('_', ' ')}: {listed(top.index[:5])}" for kind, top in tops.items())
    return describe(figure, f"Inputs with the largest share of the risk, dots are folds. Largest first: {said}.")


def _top(rows: pd.DataFrame, most: int) -> pd.Series:
    """Name -> mean share over folds (a fold that lacks the input counts as 0), largest first, ties by name."""
    folds = rows.groupby(["repeat", "fold"]).ngroups
    means = (rows.groupby("name")["share"].sum() / folds).reset_index()
    return means.sort_values(["share", "name"], ascending=[False, True]).head(most).set_index("name")["share"]
