"""Whether predicted probabilities are met: calibration at a horizon, and D-calibration."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from histoweave.plots.panels import panels
from histoweave.plots.style import GREY, colour, dashes, describe, figure_of


@figure_of
def calibration(groups: pd.DataFrame) -> Figure:
    """Observed against predicted risk of an event by the horizon, a panel per model, with intervals.

    groups : ``model``, ``horizon_days``, ``predicted``, ``observed``, ``lower``, ``upper``; one row per group of
        patients of similar predicted risk. On the dashed line predictions are met.
    """
    models = list(dict.fromkeys(groups["model"]))
    horizons = sorted(groups["horizon_days"].unique())
    figure, grid = panels(models, height_in=2.3)
    for model, axes in grid:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (3, 2)))
        for number, horizon in enumerate(horizons):
            part = groups[(groups["model"] == model) & (groups["horizon_days"] == horizon)].sort_values("predicted")
            error = np.abs(part[["lower", "upper"]].to_numpy().T - part["observed"].to_numpy())
            style = {"color": colour(number), "linestyle": dashes(number), "marker": "o", "markersize": 3.5}
            label = f"{horizon:,.0f} days" if axes is figure.axes[0] else None
            axes.errorbar(part["predicted"], part["observed"], error, linewidth=1, elinewidth=0.8, label=label, **style)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
    figure.supxlabel("predicted risk of an event by the horizon", fontsize=9)
    figure.supylabel("observed (Kaplan-Meier)", fontsize=9)
    figure.legend(loc="outside upper left", ncols=min(4, len(horizons)))
    gaps = (groups["observed"] - groups["predicted"]).abs().groupby(groups["model"], sort=False).max()
    said = "; ".join(f"{model}: largest gap {gap:.2f}" for model, gap in gaps.items())
    return describe(figure, f"Observed against predicted risk in groups of patients; on the line they agree. {said}.")


@figure_of
def d_calibration(bins: pd.DataFrame) -> Figure:
    """Share of patients per bin of the survival predicted at their own time, a panel per model; all equal is right.

    bins : ``model``, ``from_survival``, ``to_survival``, ``share``
    """
    models = list(dict.fromkeys(bins["model"]))
    figure, grid = panels(models, height_in=1.8)
    for model, axes in grid:
        part = bins[bins["model"] == model]
        width = part["to_survival"] - part["from_survival"]
        axes.bar(part["from_survival"], part["share"], width, align="edge", color=colour(0), edgecolor="white")
        axes.axhline(1 / len(part), color=GREY, linewidth=1, linestyle=(0, (3, 2)))
    figure.supxlabel("predicted survival at the patient's own time", fontsize=9)
    figure.supylabel("share of patients", fontsize=9)
    spread = bins.groupby("model", sort=False)["share"].agg(["min", "max"])
    said = "; ".join(f"{model} {row['min']:.2f} to {row['max']:.2f}" for model, row in spread.iterrows())
    text = f"Shares of patients per bin; equal shares (dashed line) mean calibrated survival. Ranges: {said}."
    return describe(figure, text)
