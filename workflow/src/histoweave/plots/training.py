"""Training curves: did the networks learn, and when were they stopped."""

import pandas as pd
from matplotlib.figure import Figure

from histoweave.plots.panels import panels
from histoweave.plots.style import colour, dashes, describe, figure_of


@figure_of
def training_curves(curves: pd.DataFrame, *, quantity: str) -> Figure:
    """`quantity` by epoch, a panel per model: each fold as a thin line, their mean as a thick one.

    curves : ``model``, ``repeat``, ``fold``, ``epoch``, ``part`` (train, validation), ``quantity``, ``value``
    """
    curves = curves[curves["quantity"] == quantity]
    models = list(dict.fromkeys(curves["model"]))
    parts = list(dict.fromkeys(curves["part"]))
    figure, grid = panels(models, height_in=2.0)
    for model, axes in grid:
        for number, part in enumerate(parts):
            rows = curves[(curves["model"] == model) & (curves["part"] == part)]
            for _, fold in rows.groupby(["repeat", "fold"]):
                axes.plot(fold["epoch"], fold["value"], color=colour(number), linewidth=0.5, alpha=0.5)
            mean = rows.groupby("epoch")["value"].mean()
            label = part if axes is figure.axes[0] else None
            axes.plot(mean.index, mean, color=colour(number), linestyle=dashes(number), linewidth=2, label=label)
    figure.supxlabel("epoch", fontsize=9)
    figure.supylabel(quantity.replace("_", " "), fontsize=9)
    figure.legend(loc="outside upper left", ncols=len(parts))
    said = "; ".join(
        f"{model}: {rows['epoch'].max()} epochs at most" for model, rows in curves.groupby("model", sort=False)
    )
    return describe(figure, f"Training curves of {quantity} by epoch, one thin line per fold. {said}.")
