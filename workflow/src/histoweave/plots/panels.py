"""Small multiples: one panel per model on a common scale."""

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from histoweave.plots.style import wrapped

_ACROSS = 3


def panels(names: Sequence[str], *, height_in: float) -> tuple[Figure, Iterator[tuple[str, Axes]]]:
    """Figure with a titled panel for each of `names`, three across, on common axes; and the pairs (name, panel)."""
    down, across = math.ceil(len(names) / _ACROSS), min(_ACROSS, len(names))
    figure = Figure(figsize=(7.2 if across > 1 else 4.2, height_in * down + 0.3), layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    for place, (name, axes) in enumerate(zip(names, grid, strict=False)):
        axes.set_title(wrapped(name, 26), fontsize=9)
        # With panels missing in the last row, the ones above them carry the numbers of the axis.
        axes.tick_params(labelbottom=place + across >= len(names))
    return figure, zip(names, grid, strict=False)
