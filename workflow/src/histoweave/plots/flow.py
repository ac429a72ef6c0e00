"""Participant flow: how many patients came in, how many left at each step and why."""

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from histoweave.plots.style import COLOURS, GREY, PALE, describe, figure_of

_WIDTH_IN, _BOX_IN, _GAP_IN, _MAIN_IN = 7.2, 0.55, 0.45, 3.4


@figure_of
def participant_flow(steps: pd.DataFrame) -> Figure:
    """Boxes from top to bottom with the patients that remain, and boxes at the side with those that left.

    steps : one row per box with ``level`` (0 at the top; boxes of one level stand side by side), ``step`` (what the
        box holds), ``n`` (patients in it), ``left_out`` (patients that left on the way to it), ``reason`` (why)
    """
    levels = list(steps.groupby("level"))
    height = len(levels) * (_BOX_IN + _GAP_IN) - _GAP_IN + 0.04
    figure = Figure(figsize=(_WIDTH_IN, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, _WIDTH_IN)
    axes.set_ylim(-height, 0)
    for place, (_, row) in enumerate(levels):
        _level(axes, row, top=-place * (_BOX_IN + _GAP_IN) - 0.02, first=place == 0)
    said = "; ".join(
        f"{step.step}: {step.n}" + (f" ({step.left_out} left out: {step.reason})" if step.left_out else "")
        for step in steps.itertuples()
    )
    return describe(figure, f"Participant flow from top to bottom. {said}.")


def _level(axes: Axes, row: pd.DataFrame, *, top: float, first: bool) -> None:
    """Draw the boxes of one level, the arrow that leads to each, and the box of those that left before it."""
    single = len(row) == 1
    width = _MAIN_IN if single else (_WIDTH_IN - 0.2) / len(row) - 0.1
    for number, step in enumerate(row.itertuples()):
        left = 0.1 + number * (width + 0.1)
        _box(axes, left, top, width, f"{step.step}\nn = {step.n:,}", face="white", edge=COLOURS[0])
        start = 0.1 + _MAIN_IN / 2
        end = start if single else left + width / 2
        if not first:
            _arrow(axes, (start, top + _GAP_IN), (end, top))
        if step.left_out:
            middle = top + _GAP_IN / 2
            _arrow(axes, (start, middle), (3.85, middle))
            text = textwrap.fill(f"{step.left_out:,} left out: {step.reason or 'no reason given'}", 46)
            _box(axes, 3.9, middle + _BOX_IN / 2, 3.2, text, face=PALE, edge=GREY)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 0})


def _box(axes: Axes, left: float, top: float, width: float, text: str, *, face: str, edge: str) -> None:
    rectangle = {"facecolor": face, "edgecolor": edge, "linewidth": 1}
    axes.add_patch(Rectangle((left, top - _BOX_IN), width, _BOX_IN, **rectangle))
    axes.text(left + width / 2, top - _BOX_IN / 2, text, ha="center", va="center", fontsize=8.5)
