import numpy as np
import pandas as pd

from histoweave.plots.mixtures import cell_type_shares
from histoweave.plots.style import alternative_text


def shares(**columns):
    return pd.DataFrame(columns, index=[f"P{number}" for number in range(3)])


def test_bars_are_ordered_by_the_commonest_type_and_add_up_to_one():
    figure = cell_type_shares(shares(rare=[0.3, 0.1, 0.2], common=[0.7, 0.9, 0.8]))
    bars = [[bar.get_height() for bar in container] for container in figure.axes[0].containers]
    np.testing.assert_allclose(bars, [[0.9, 0.8, 0.7], [0.1, 0.2, 0.3]])
    assert "Means: common 0.80; rare 0.20." in alternative_text(figure)


def test_many_types_are_added_up():
    figure = cell_type_shares(shares(**{f"T{number}": [0.125] * 3 for number in range(8)}))
    labels = [container.get_label() for container in figure.axes[0].containers]
    assert labels == [*(f"T{number}" for number in range(6)), "2 other types"]
    top = [bar.get_y() + bar.get_height() for bar in figure.axes[0].containers[-1]]
    assert top == [1.0] * 3
