import numpy as np
import pandas as pd

from histoweave.plots.style import alternative_text
from histoweave.plots.training import training_curves


def test_thin_lines_are_folds_and_the_thick_one_their_mean():
    rows = [("net", 0, fold, epoch, "train", "loss", fold + epoch) for fold in (0, 1) for epoch in range(3)]
    rows.append(("net", 0, 0, 0, "train", "c_index", 9.0))
    columns = ["model", "repeat", "fold", "epoch", "part", "quantity", "value"]
    figure = training_curves(pd.DataFrame(rows, columns=columns), quantity="loss")
    lines = figure.axes[0].lines
    assert len(lines) == 3
    np.testing.assert_allclose(lines[-1].get_ydata(), [0.5, 1.5, 2.5])
    assert lines[-1].get_linewidth() > lines[0].get_linewidth()
    assert "net: 2 epochs at most" in alternative_text(figure)
