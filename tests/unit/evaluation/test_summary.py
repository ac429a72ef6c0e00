import numpy as np
import pytest

from evaluation.cohorts import GRID, panel_of
from histoweave.evaluation.censoring import survival_curve
from histoweave.evaluation.intervals import BootstrapSettings
from histoweave.evaluation.panel import FoldPrediction
from histoweave.evaluation.scores import ScoreSettings
from histoweave.evaluation.summary import draw_rows, evaluate, fold_rows, metric_rows, reference_predictions

BOOTSTRAP = BootstrapSettings(draws=100, confidence=0.9)


def score_settings(*horizons, min_at_risk=5):
    return ScoreSettings(horizons_days=horizons, min_at_risk=min_at_risk, tau_quantile=0.9)


@pytest.fixture(scope="module")
def scored():
    panel, weights, (model,) = panel_of(0, n=200, draws=100)
    return panel, model, evaluate(model, weights, settings=score_settings(365, 730))


def test_metrics_hold_each_score_with_its_interval(scored):
    panel, _, done = scored
    table = metric_rows(panel, done, settings=BOOTSTRAP)
    assert sorted(zip(table["metric"], table["horizon_days"].fillna(0), strict=True)) == [
        *[("auc", 365), ("auc", 730), ("brier", 365), ("brier", 730), ("c_index", 0), ("c_index_ipcw", 0)],
        *[("ibs", 0), ("ipa", 365), ("ipa", 730)],
    ]
    assert (table["lower"] < table["estimate"]).all()
    assert (table["estimate"] < table["upper"]).all()
    assert table["n_patients"].unique().tolist() == [200]
    assert table["n_events"].unique().tolist() == [int(panel.event.sum())]
    until = table.dropna(subset="tau_days").set_index("metric")["tau_days"]
    assert set(until.index) == {"c_index_ipcw", "ibs"}
    assert until["ibs"] == GRID[-1]


def test_draws_are_those_behind_the_interval(scored):
    panel, _, done = scored
    draws = draw_rows(done)
    c = draws[draws["metric"] == "c_index"]["value"]
    row = metric_rows(panel, done, settings=BOOTSTRAP).set_index("metric").loc["c_index"]
    assert len(c) == 100
    assert [row["lower"], row["upper"]] == pytest.approx(np.quantile(c, [0.05, 0.95]))


def test_folds_are_rows(scored):
    _, model, done = scored
    table = fold_rows(done)
    c = table[table["metric"] == "c_index"]
    assert len(c) == len(model.folds)
    assert (c["n_patients"] + c["n_train"]).unique().tolist() == [200]


def test_horizons_beyond_follow_up_are_missing_with_the_reason():
    panel, weights, (model,) = panel_of(0, n=200, draws=10)
    late = type(model)(model.model, np.array([180.0, 365, 730, 9000]), model.folds)
    table = metric_rows(panel, evaluate(late, weights, settings=score_settings(365, 9000)), settings=BOOTSTRAP)
    rows = table[table["horizon_days"] == 9000]
    assert rows["metric"].tolist() == ["auc", "brier", "ipa"]
    assert rows["estimate"].isna().all()
    assert rows["reason"].str.contains("training part ends before day 9000").all()
    assert table[table["horizon_days"] != 9000]["estimate"].notna().all()


def test_one_horizon_gives_no_integral():
    panel, weights, (model,) = panel_of(0, n=200, draws=10)
    parts = tuple(FoldPrediction(p.fold, p.risk, p.survival[:, :1], p.train_median) for p in model.folds)
    one = type(model)(model.model, model.times_days[:1], parts)
    row = metric_rows(panel, evaluate(one, weights, settings=score_settings()), settings=BOOTSTRAP)
    row = row.set_index("metric").loc["ibs"]
    assert np.isnan(row["estimate"])
    assert row["reason"] == "1 horizon within follow-up; the integral needs two"


def test_no_event_at_all_gives_reasons_and_no_concordance():
    panel, weights, (model,) = panel_of(0, n=120, draws=10)
    quiet = [type(p.fold)(**{**vars(p.fold), "event": np.zeros(len(p.risk), bool)}) for p in model.folds]
    parts = tuple(FoldPrediction(f, p.risk, p.survival, 0.0) for f, p in zip(quiet, model.folds, strict=True))
    done = evaluate(type(model)("m", model.times_days, parts), weights, settings=score_settings(365))
    row = metric_rows(panel, done, settings=BOOTSTRAP).set_index("metric").loc["c_index"]
    assert np.isnan(row["estimate"])
    assert row["reason"] == "no comparable pair of patients"


def test_the_reference_is_the_curve_of_the_training_part():
    panel, weights, (model,) = panel_of(0, n=120, draws=10)
    reference = reference_predictions(panel, model.times_days)
    fold = model.folds[2].fold
    curve = survival_curve(fold.train_time, fold.train_event, confidence=0.95)
    assert (reference.folds[2].survival == curve.at(model.times_days)).all()
    done = evaluate(reference, weights, settings=score_settings(365))
    table = metric_rows(panel, done, settings=BOOTSTRAP)
    assert set(table["metric"]) == {"brier", "ibs"}
    assert done.draws["brier", 365] == pytest.approx(evaluate_brier(model, weights))


def evaluate_brier(model, weights):
    """Brier score that the model's own evaluation takes as the reference: brier / (1 - ipa)."""
    done = evaluate(model, weights, settings=score_settings(365))
    return done.draws["brier", 365] / (1 - done.draws["ipa", 365])
