import numpy as np
import pandas as pd
import pytest

from evaluation.cohorts import GRID, cohort_frame
from histoweave.errors import InputError
from histoweave.evaluation.external import external_panel, external_predictions, group_metrics
from histoweave.evaluation.panel import missing
from histoweave.evaluation.scores import NO_HORIZON, score_predictions, tau_of


@pytest.fixture
def cohorts():
    generator = np.random.default_rng(0)
    training, _ = cohort_frame(generator, 150)
    other, score = cohort_frame(generator, 100)
    other["patient"] = "X" + other["patient"]
    risk = score + 0.5 * generator.standard_normal(100)
    prediction = pd.DataFrame(
        {"patient": other["patient"], "risk": risk, "risk_lower": risk - 1, "risk_upper": risk + 1}
    )
    for day in GRID:
        prediction[f"survival_{day}"] = np.exp(-day / 1500 * np.exp(risk))
        prediction[f"survival_{day}_lower"] = 0.0
    return training, other, prediction


def test_everything_but_the_test_part_comes_from_training(cohorts):
    training, other, prediction = cohorts
    panel = external_panel(other.sample(frac=1, random_state=0), training)
    (fold,) = panel.folds
    assert panel.names.tolist() == sorted(other["patient"])
    assert sorted(fold.train_time) == sorted(training["time_days"])
    model = external_predictions(panel, prediction.sample(frac=1, random_state=1), model="ghanet")
    assert model.times_days.tolist() == list(GRID)
    assert model.folds[0].risk.tolist() == prediction["risk"].tolist()
    assert model.folds[0].train_median == 0
    (scores,) = score_predictions(model, np.ones((1, 100)), horizons=[365], grid=[365, 730], tau_quantile=0.9)
    event = training["event"].to_numpy().astype(bool)
    assert scores.tau_days == tau_of(training["time_days"].to_numpy(), event, quantile=0.9)
    assert scores.sums["c_index", NO_HORIZON].ratio()[0] > 0.6


def test_patients_without_prediction_are_left_out_by_name(cohorts):
    training, other, prediction = cohorts
    panel = external_panel(other, training)
    model = external_predictions(panel, prediction.iloc[3:], model="ghanet")
    assert missing(panel, model) == prediction["patient"].tolist()[:3]


def test_hazard_ratio_and_log_rank_are_rows(cohorts):
    training, other, prediction = cohorts
    panel = external_panel(other, training)
    rows = group_metrics(panel, external_predictions(panel, prediction, model="ghanet"), confidence=0.95)
    table = rows.set_index("metric")
    assert table.loc["hazard_ratio", "lower"] > 1
    assert table.loc["log_rank_p", "estimate"] < 0.05
    assert table["n_patients"].tolist() == [100, 100]


def test_patients_of_the_training_cohort_are_refused(cohorts):
    training, other, _ = cohorts
    with pytest.raises(InputError, match=r"2 patient\(s\) of an external cohort were in the training cohort: 'P0000'"):
        external_panel(pd.concat([other, training.iloc[:2]]), training)


def test_predictions_that_are_no_numbers_are_refused(cohorts):
    training, other, prediction = cohorts
    prediction.loc[0, "risk"] = np.nan
    with pytest.raises(InputError, match="predictions of model 'ghanet' hold NaN"):
        external_predictions(external_panel(other, training), prediction, model="ghanet")
