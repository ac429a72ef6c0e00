"""Decision curves: what acting on a model would gain at each threshold."""

import pandas as pd
from matplotlib.figure import Figure

from histoweave.errors import counted
from histoweave.plots.style import GREY, colour, dashes, describe, figure_of

NEEDED = ("treat all", "treat none")


@figure_of
def decision_curves(curves: pd.DataFrame) -> Figure:
    """Net benefit by threshold probability, a panel per horizon, with the policies to treat all and to treat none.

    curves : ``model``, ``horizon_days``, ``threshold``, ``net_benefit``; `treat all` and `treat none` among the models
        (Vickers and Elkin, doi:10.1177/0272989X06295361)
    """
    horizons = sorted(curves["horizon_days"].unique())
    models = [model for model in dict.fromkeys(curves["model"]) if model not in NEEDED]
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    grid = figure.subplots(1, len(horizons), sharey=True, squeeze=False)[0]
    for axes, horizon in zip(grid, horizons, strict=True):
        part = curves[curves["horizon_days"] == horizon]
        for model, rows in part.groupby("model", sort=False):
            number = models.index(model) if model in models else -1
            look = (
                {"color": colour(number), "linestyle": dashes(number)}
                if number >= 0
                else {"color": GREY if model == NEEDED[0] else "black", "linewidth": 1}
            )
            axes.plot(rows["threshold"], rows["net_benefit"], label=model if axes is grid[0] else None, **look)
        axes.set_title(f"{horizon:,.0f} days", fontsize=9)
        axes.set_ylim(*_limits(curves))
    grid[0].set_ylabel("net benefit")
    figure.supxlabel("threshold: risk from which one would act", fontsize=9)
    figure.legend(loc="outside right upper", fontsize=7.5)
    return describe(figure, f"Decision curves at {counted(len(horizons), 'horizon')}. {_said(curves, models)}.")


def _limits(curves: pd.DataFrame) -> tuple[float, float]:
    """From a little below zero to a little above the best: treating all falls without bound."""
    top = float(curves["net_benefit"].max())
    return -0.25 * max(top, 0.02), 1.08 * max(top, 0.02)


def _said(curves: pd.DataFrame, models: list[str]) -> str:
    """For each model, the share of thresholds at which it is better than both policies."""
    wide = curves.pivot_table(index=["horizon_days", "threshold"], columns="model", values="net_benefit")
    policies = [name for name in NEEDED if name in wide]
    best = wide[policies].max(axis=1) if policies else 0.0
    shares = {model: (wide[model] > best + 1e-9).mean() for model in models if model in wide}
    return "; ".join(
        f"{model} is above both policies at {100 * share:.0f} % of thresholds" for model, share in shares.items()
    )
