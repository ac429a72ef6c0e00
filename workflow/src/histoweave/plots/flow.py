"""Participant flow: how many patients came in, how many left at each step and why."""

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from histoweave.plots.style import COLOURS, GREY, PALE, describe, figure_of

_BOX_IN, _GAP_IN = 0.55, 0.45


@figure_of
def participant_flow(steps: pd.DataFrame) -> Figure:
    """Boxes from top to bottom with the patients that remain, and boxes at the side with those that left.

    steps : one row per box, in order, with ``step`` (what the box holds), ``n`` (patients in it),
        ``left_out`` (patients that left on the way to it) and ``reason`` (why; may be empty)
    """
    height = len(steps) * (_BOX_IN + _GAP_IN)
    figure = Figure(figsize=(7.2, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, 7.2)
    axes.set_ylim(-height, 0)
    for row, step in enumerate(steps.itertuples()):
        top = -row * (_BOX_IN + _GAP_IN) - 0.02
        _box(axes, 0.1, top, 3.4, f"{step.step}\nn = {step.n:,}", face="white", edge=COLOURS[0])
        if row:
            axes.annotate("", (1.8, top), (1.8, top + _GAP_IN), arrowprops={"arrowstyle": "-|>", "color": GREY})
        if step.left_out:
            middle = top + _GAP_IN / 2
            axes.annotate("", (3.85, middle), (1.8, middle), arrowprops={"arrowstyle": "-|>", "color": GREY})
            text = textwrap.fill(f"{step.left_out:,} left out: {step.reason or 'no reason given'}", 44)
            _box(axes, 3.9, middle + _BOX_IN / 2, 3.2, text, face=PALE, edge=GREY)
    said = "; ".join(
        f"{step.step}: {step.n}" + (f" ({step.left_out} left out: {step.reason})" if step.left_out else "")
        for step in steps.itertuples()
    )
    return describe(figure, f"Participant flow from top to bottom. {said}.")


def _box(axes: Axes, left: float, top: float, width: float, text: str, *, face: str, edge: str) -> None:
    rectangle = {"facecolor": face, "edgecolor": edge, "linewidth": 1}
    axes.add_patch(Rectangle((left, top - _BOX_IN), width, _BOX_IN, **rectangle))
    axes.text(left + width / 2, top - _BOX_IN / 2, text, ha="center", va="center", fontsize=8.5)
