import numpy as np
import pandas as pd
import pytest

from histoweave.plots.forest import forest, numbers
from histoweave.plots.style import alternative_text

ROWS = pd.DataFrame(
    {"label": ["a", "b", "c"], "estimate": [0.6, np.nan, 0.7], "lower": [0.5, np.nan, np.nan], "upper": [0.7, 1.0, 0.8]}
)


def figure_of(rows=ROWS, **changed):
    return forest(rows, **({"quantity": "c-index", "reference": 0.5, "log_scale": False} | changed))


def test_interval_is_drawn_only_where_both_ends_are_known():
    lines = [line for line in figure_of().axes[0].lines if line.get_marker() == "None" and len(line.get_xdata()) == 2]
    intervals = [list(line.get_xdata()) for line in lines if line.get_linestyle() == "-"]
    assert intervals == [[0.5, 0.7]]


def test_reference_line_stands_where_asked():
    dashed = [line for line in figure_of(reference=0.25).axes[0].lines if line.get_linestyle() == "--"]
    assert [list(line.get_xdata()) for line in dashed] == [[0.25, 0.25]]


@pytest.mark.parametrize(
    ("row", "text"),
    [(0, "0.60 (0.50 to 0.70)"), (1, "not available"), (2, "0.70 (no interval)")],
)
def test_numbers(row, text):
    assert numbers(ROWS.iloc[row]) == text
    assert text in alternative_text(figure_of())


def test_log_scale_and_first_row_on_top():
    axes = figure_of(reference=1.0, log_scale=True).axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_ylim() == (2.5, -0.5)


def test_groups_have_their_own_colours():
    axes = figure_of(ROWS.assign(group=["x", "y", "x"])).axes[0]
    colours = [line.get_color() for line in axes.lines if line.get_marker() == "s"]
    assert colours[0] == colours[2] != colours[1]


def test_one_interval_without_end_does_not_stretch_a_log_axis():
    rows = pd.DataFrame({"label": ["a", "b"], "estimate": [2.0, 8.0], "lower": [1.5, 0.2], "upper": [2.6, 300.0]})
    low, high = figure_of(rows, reference=1.0, log_scale=True).axes[0].get_xlim()
    assert 0.5 < low < 1
    assert 20 < high < 30
