import numpy as np
import pandas as pd

from histoweave.plots.bars import beside_controls
from histoweave.plots.style import alternative_text

ROWS = pd.DataFrame(
    [("ours", "auc", 0.9, 0.8, 1.0), ("random", "auc", 0.5, np.nan, np.nan), ("ours", "no", 0.2, np.nan, np.nan)],
    columns=["method", "metric", "value", "lower", "upper"],
)


def test_each_metric_has_its_panel_and_each_method_its_row():
    figure = beside_controls(ROWS)
    first, second = figure.axes
    assert first.get_title(loc="left") == "auc"
    np.testing.assert_allclose(first.collections[1].get_offsets(), [[0.9, 0], [0.5, 1]])
    np.testing.assert_allclose(second.collections[1].get_offsets(), [[0.2, 0]])
    assert [label.get_text() for label in first.get_yticklabels()] == ["ours", "random"]


def test_only_the_method_itself_is_coloured():
    colours = beside_controls(ROWS).axes[0].collections[1].get_facecolors()
    assert not np.array_equal(colours[0], colours[1])


def test_words_hold_every_value():
    assert "auc, ours: 0.9; auc, random: 0.5; no, ours: 0.2" in alternative_text(beside_controls(ROWS))
