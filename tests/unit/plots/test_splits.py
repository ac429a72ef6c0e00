import numpy as np
import pandas as pd

from histoweave.plots.splits import fold_roles
from histoweave.plots.style import alternative_text

FOLDS = pd.DataFrame(
    [
        ("p1", 0, 0, "test", "A"),
        ("p2", 0, 0, "train", "B"),
        ("p3", 0, 0, "validation", "B"),
        ("p1", 0, 1, "train", "A"),
        ("p2", 0, 1, "test", "B"),
    ],
    columns=["patient", "repeat", "fold", "role", "site"],
)


def test_grid_holds_the_role_of_each_patient_and_a_gap_where_there_is_none():
    grid = np.asarray(fold_roles(FOLDS).axes[0].images[0].get_array().filled(-1))
    np.testing.assert_array_equal(grid, [[2, 0], [0, 2], [1, -1]])


def test_sites_and_words():
    figure = fold_roles(FOLDS)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["A (1)", "B (2)"]
    assert "3 patients from 2 sites in 2 folds of 1 repeat" in alternative_text(figure)
