import pytest

from histoweave.plots.panels import panels
from histoweave.plots.style import figure_of


@pytest.mark.parametrize(("number", "down", "across"), [(1, 1, 1), (3, 1, 3), (4, 2, 3), (7, 3, 3)])
def test_grid_and_titles(number, down, across):
    names = [f"model_{k}" for k in range(number)]
    figure, pairs = figure_of(panels)(names, height_in=2.0)
    assert [(name, axes.get_title(loc="left")) for name, axes in pairs] == [(name, name) for name in names]
    spec = figure.axes[0].get_subplotspec().get_gridspec()
    assert (spec.nrows, spec.ncols) == (down, across)


def test_the_lowest_panel_of_each_column_has_numbers():
    figure, pairs = figure_of(panels)(list("abcd"), height_in=2.0)
    shown = {name: axes.xaxis.get_tick_params()["labelbottom"] for name, axes in pairs}
    assert shown == {"a": False, "b": True, "c": True, "d": True}
