"""Training curves: did the networks learn, when were they stopped, and which of two branches was ahead."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from histoweave.plots.panels import panels
from histoweave.plots.style import GREY, colour, dashes, describe, figure_of, wrapped

BRANCHES = {"c_index": "both", "c_index_gene": "gene", "c_index_slide": "slide"}
"""Quantity of the validation part -> the risk that it belongs to."""
COEFFICIENTS = {"coefficient_gene": "gene", "coefficient_slide": "slide"}
RATIO = "log_rho"
_ROWS = (
    (BRANCHES, "c-index\n(validation part)", 0.5),
    (COEFFICIENTS, "factor on the\nbranch's step", 1.0),
    ({RATIO: "rho"}, "rho, gene\nover slide", 1.0),
)
_PLACE = {"both": 6, "gene": 0, "slide": 1, "rho": 3}  # of the series' colour


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
            label = part if axes is figure.axes[0] else None
            _fold_lines(axes, rows, series=number, style=number, label=label)
    figure.supxlabel("epoch", fontsize=9)
    figure.supylabel(quantity.replace("_", " "), fontsize=9)
    figure.legend(loc="outside upper left", ncols=len(parts))
    said = "; ".join(
        f"{model}: {rows['epoch'].max()} epochs at most" for model, rows in curves.groupby("model", sort=False)
    )
    return describe(figure, f"Training curves of {quantity} by epoch, one thin line per fold. {said}.")


@figure_of
def balance_curves(curves: pd.DataFrame) -> Figure:
    """Both branches by epoch, a column per model: c-indices, and where steps are scaled, their factors and rho.

    curves : as in `training_curves`, with the quantities `BRANCHES`, and perhaps `COEFFICIENTS` and `RATIO`
    """
    models = list(dict.fromkeys(curves["model"]))
    present = set(curves["quantity"])
    rows = [row for row in _ROWS if present & set(row[0])]
    size = (max(4.2, 1.2 + 2.2 * len(models)), 1.7 * len(rows) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), len(models), sharex=True, sharey="row", squeeze=False)
    for across, (series, title, level) in zip(grid, rows, strict=True):
        across[0].set_ylabel(title, fontsize=9)
        for axes, model in zip(across, models, strict=True):
            axes.axhline(level, color="black", linewidth=0.6, linestyle=":")
            found = curves[(curves["model"] == model) & curves["quantity"].isin(list(series))]
            _series(axes, found, series, labelled=axes is grid[0, 0])
    for axes, model in zip(grid[0], models, strict=True):
        axes.set_title(wrapped(model, 26), fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    figure.supxlabel("epoch", fontsize=9)
    figure.legend(loc="outside upper left", ncols=len(BRANCHES))
    said = "; ".join(_best(model, rows) for model, rows in curves.groupby("model", sort=False))
    return describe(figure, f"Branches of models with two modalities, by epoch of training. {said}.")


def _series(axes: Axes, rows: pd.DataFrame, series: Mapping[str, str], *, labelled: bool) -> None:
    """One panel of `balance_curves`; ratios on a log axis."""
    if rows.empty:
        place = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "steps are not scaled", color=GREY, fontsize=8, **place)
    for quantity, part in rows.groupby("quantity"):
        name, shown = series[quantity], None
        if quantity == RATIO:
            shown = np.exp
            axes.set_yscale("log")
            for formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                formatter("{x:.3g}")
        look = {"series": _PLACE[name], "style": list(_PLACE).index(name)}
        _fold_lines(axes, part, **look, label=name if labelled else None, shown=shown)


def _fold_lines(
    axes: Axes, rows: pd.DataFrame, *, series: int, style: int, label: str | None, shown: Callable | None = None
) -> None:
    """Thin lines for folds, and their mean.

    shown : what is drawn of each value and of the mean, such as the exponential of logarithms
    """
    table, mean = _by_fold(rows)
    if shown is not None:
        table, mean = shown(table), shown(mean)
    for fold in table:
        line = table[fold].dropna()
        axes.plot(line.index, line, color=colour(series), linewidth=0.5, alpha=0.5)
    axes.plot(mean.index, mean, color=colour(series), linestyle=dashes(style), linewidth=2, label=label)


def _by_fold(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Values (epoch, fold), and their mean up to the epoch that all folds reach: beyond it, folds drop out."""
    table = rows.pivot_table(index="epoch", columns=["repeat", "fold"], values="value")
    return table, table.dropna().mean(axis=1)


def _best(model: str, rows: pd.DataFrame) -> str:
    """The highest point of each branch's mean line, in words."""
    found = []
    for quantity, name in BRANCHES.items():
        _, mean = _by_fold(rows[rows["quantity"] == quantity])
        found.append(f"{name} {mean.max():.2f}")
    return f"{model}: highest mean c-index {', '.join(found)}"
