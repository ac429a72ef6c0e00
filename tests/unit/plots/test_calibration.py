import numpy as np
import pandas as pd

from histoweave.plots.calibration import calibration, d_calibration
from histoweave.plots.style import alternative_text


def groups():
    rows = [
        {"model": model, "horizon_days": 365.0, "predicted": p, "observed": p + off, "lower": p, "upper": p + 2 * off}
        for model, off in (("good", 0.01), ("bad", 0.2))
        for p in (0.6, 0.2)
    ]
    return pd.DataFrame(rows)


def test_points_are_joined_in_the_order_of_predicted_risk_beside_the_diagonal():
    figure = calibration(groups())
    diagonal = figure.axes[0].lines[0]
    line = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    np.testing.assert_allclose(line.get_xdata(orig=False), [0.2, 0.6])
    np.testing.assert_allclose(line.get_ydata(orig=False), [0.21, 0.61])


def test_words_tell_the_largest_gap():
    text = alternative_text(calibration(groups()))
    assert "good: largest gap 0.01; bad: largest gap 0.20" in text


def test_bins_have_their_shares_and_the_line_of_equal_ones():
    edges = np.linspace(0, 1, 6)
    table = {"model": "m", "from_survival": edges[:-1], "to_survival": edges[1:], "share": [0.1, 0.3, 0.2, 0.2, 0.2]}
    figure = d_calibration(pd.DataFrame(table))
    axes = figure.axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], [0.1, 0.3, 0.2, 0.2, 0.2])
    np.testing.assert_allclose([bar.get_x() for bar in axes.patches], edges[:-1], atol=1e-12)
    assert axes.lines[0].get_ydata()[0] == 0.2
    assert "m 0.10 to 0.30" in alternative_text(figure)
