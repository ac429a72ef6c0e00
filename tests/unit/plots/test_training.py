import numpy as np
import pandas as pd
import pytest

from histoweave.plots.style import alternative_text
from histoweave.plots.training import balance_curves, training_curves


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


def test_the_mean_ends_where_the_first_fold_does():
    rows = [("net", 0, fold, epoch, "train", "loss", 10.0 * fold) for fold in (0, 1) for epoch in range(2 + fold)]
    columns = ["model", "repeat", "fold", "epoch", "part", "quantity", "value"]
    mean = training_curves(pd.DataFrame(rows, columns=columns), quantity="loss").axes[0].lines[-1]
    np.testing.assert_allclose(mean.get_ydata(), [5.0, 5.0])


def monitored(model, quantities, part="validation"):
    rows = [
        (model, 0, fold, epoch, part, name, value + 0.1 * fold)
        for name, value in quantities.items()
        for fold in (0, 1)
        for epoch in (1, 2)
    ]
    return pd.DataFrame(rows, columns=["model", "repeat", "fold", "epoch", "part", "quantity", "value"])


def test_branches_stand_beside_the_joint_risk():
    figure = balance_curves(monitored("m", {"c_index": 0.7, "c_index_gene": 0.6, "c_index_slide": 0.5}))
    assert len(figure.axes) == 1
    thick = {line.get_label(): line.get_ydata()[0] for line in figure.axes[0].lines if line.get_linewidth() == 2}
    assert thick == pytest.approx({"both": 0.75, "gene": 0.65, "slide": 0.55})
    assert "m: highest mean c-index both 0.75, gene 0.65, slide 0.55" in alternative_text(figure)


def test_factors_and_rho_stand_below_where_steps_are_scaled():
    plain = monitored("plain", {"c_index": 0.7, "c_index_gene": 0.6, "c_index_slide": 0.5})
    scaled = [plain.assign(model="scaled"), monitored("scaled", {"coefficient_gene": 0.4, "log_rho": 0.0}, "train")]
    figure = balance_curves(pd.concat([plain, *scaled]))
    assert len(figure.axes) == 6  # three rows, two models
    rho = figure.axes[5].lines[-1].get_ydata()
    np.testing.assert_allclose(rho, np.exp(0.05))
    assert figure.axes[5].get_yscale() == "log"
