"""Kaplan-Meier curves above the table of patients at risk."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histoweave.plots.style import colour, dashes, describe, figure_of

_DAYS_PER_YEAR = 365.25
_MOST_TICKS = 8


@figure_of
def kaplan_meier(curves: pd.DataFrame, at_risk: pd.DataFrame, *, note: str) -> Figure:
    """Survival per group as steps with bands, and how many are at risk at the marked times.

    curves : per group and time ``group``, ``time_days`` (ascending), ``survival``, ``lower``, ``upper``
    at_risk : per group and marked time ``group``, ``time_days``, ``at_risk``
    note : what stands in the plot's corner, such as a log-rank test; may be empty
    """
    groups = list(dict.fromkeys(curves["group"]))
    figure = Figure(figsize=(7.2, 3.8 + 0.2 * len(groups)), layout="constrained")
    ratio = [3.4, 0.35 + 0.2 * len(groups)]
    axes, table = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": ratio})
    for number, name in enumerate(groups):
        _curve(axes, curves[curves["group"] == name], number, label=name)
    axes.set_ylim(0, 1.02)
    longest = float(max(curves["time_days"].max(), at_risk["time_days"].max()))
    axes.set_xlim(-0.02 * longest, 1.02 * longest)
    axes.set_ylabel("survival probability")
    axes.legend(loc="upper right", title=note or None, alignment="right", title_fontsize=8)
    axes.tick_params(labelbottom=False)
    _counts(table, at_risk, groups)
    return describe(figure, f"Kaplan-Meier curves of {_said(curves, at_risk, groups)}. {note}")


def marked_times(times: pd.Series) -> np.ndarray:
    """At most eight of the sorted distinct `times`, evenly picked, the first among them."""
    times = np.unique(times)
    return times[:: max(1, int(np.ceil(len(times) / _MOST_TICKS)))]


def _curve(axes: Axes, curve: pd.DataFrame, number: int, *, label: str) -> None:
    start = pd.DataFrame({"time_days": [0.0], "survival": [1.0], "lower": [1.0], "upper": [1.0]})
    curve = pd.concat([start, curve[start.columns]])
    shade, times = colour(number), curve["time_days"]
    axes.step(times, curve["survival"], where="post", color=shade, linestyle=dashes(number), label=label)
    axes.fill_between(times, curve["lower"], curve["upper"], step="post", color=shade, alpha=0.15, linewidth=0)


def _counts(axes: Axes, at_risk: pd.DataFrame, groups: list[str]) -> None:
    times = marked_times(at_risk["time_days"])
    for row, name in enumerate(groups):
        counts = at_risk[at_risk["group"] == name].set_index("time_days")["at_risk"]
        for time in times:
            text = f"{counts[time]:.0f}" if time in counts.index else ""
            axes.text(time, row, text, ha="center", va="center", fontsize=8, color=colour(row))
    axes.set_yticks(range(len(groups)), groups, fontsize=8)
    axes.set_ylim(len(groups) - 0.5, -0.7)
    axes.set_xticks(times, [f"{round(time / _DAYS_PER_YEAR, 1):g}" for time in times])
    axes.set_xlabel("years since the start of follow-up")
    axes.set_title("at risk", fontsize=8)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(left=False, bottom=False)


def _said(curves: pd.DataFrame, at_risk: pd.DataFrame, groups: list[str]) -> str:
    parts = []
    for name in groups:
        curve = curves[curves["group"] == name]
        below = curve.loc[curve["survival"] <= 0.5, "time_days"]
        median = f"median survival {below.iloc[0]:.0f} days" if len(below) else "median survival not reached"
        first = at_risk.loc[at_risk["group"] == name, "at_risk"]
        start = f"{first.iloc[0]:.0f} patients at the start, " if len(first) else ""
        parts.append(f"group {name} ({start}{median})")
    return "; ".join(parts)
