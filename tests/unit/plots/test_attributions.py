import numpy as np
import pandas as pd

from histoweave.plots.attributions import top_inputs
from histoweave.plots.style import alternative_text

ROWS = pd.DataFrame(
    [
        ("gene", "A", 0, 0, 0.2),
        ("gene", "A", 0, 1, 0.4),
        ("gene", "B", 0, 0, 0.5),
        ("gene", "C", 0, 1, 0.1),
        ("tile_feature", "area", 0, 0, 0.3),
    ],
    columns=["kind", "name", "repeat", "fold", "share"],
)


def test_bars_are_means_over_folds_and_a_missing_fold_counts_as_nothing():
    genes, tiles = top_inputs(ROWS, most=2).axes
    np.testing.assert_allclose([bar.get_width() for bar in genes.patches], [0.3, 0.25])
    assert [label.get_text() for label in genes.get_yticklabels()] == ["A", "B"]
    assert [label.get_text() for label in tiles.get_yticklabels()] == ["area"]


def test_dots_are_the_folds():
    dots = top_inputs(ROWS, most=2).axes[0].lines[0]
    assert sorted(zip(dots.get_xdata(orig=False), dots.get_ydata(orig=False), strict=True)) == [
        (0.2, 0.0),
        (0.4, 0.0),
        (0.5, 1.0),
    ]


def test_words():
    assert "gene: A, B and C; tile feature: area" in alternative_text(top_inputs(ROWS, most=5))
