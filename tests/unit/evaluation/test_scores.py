import numpy as np
import pytest
from sksurv.metrics import brier_score, concordance_index_ipcw, cumulative_dynamic_auc, integrated_brier_score
from sksurv.util import Surv

from evaluation.cohorts import GRID, panel_of
from histoweave.evaluation.concordance import concordance
from histoweave.evaluation.panel import FoldPrediction
from histoweave.evaluation.scores import NO_HORIZON, pool, score_fold, score_predictions, tau_of


def scored(part, weights, grid=GRID):
    return score_fold(part, weights, times_days=np.array(GRID), horizons=grid, grid=grid, tau_quantile=0.9)


@pytest.fixture(scope="module", params=[1.0, 90.0], ids=["days", "many ties"])
def one_fold(request):
    _, _, (model,) = panel_of(5, n=300, grain=request.param)
    part = model.folds[0]
    if request.param > 1:
        rounded = np.round(part.risk * 4) / 4
        part = FoldPrediction(part.fold, rounded, part.survival, part.train_median)
    inside = part.fold.time < part.fold.train_time.max()  # scikit-survival refuses later times
    part = FoldPrediction(part.fold.only(inside), part.risk[inside], part.survival[inside], part.train_median)
    fold = part.fold
    train, test = (Surv.from_arrays(e, t) for e, t in [(fold.train_event, fold.train_time), (fold.event, fold.time)])
    return part, scored(part, np.ones((1, len(part.risk)))), train, test


def value(scores, metric, horizon=NO_HORIZON):
    return scores.sums[metric, horizon].ratio()[0]


def test_harrell_equals_the_fast_count(one_fold):
    part, scores, *_ = one_fold
    expected = concordance(part.fold.time, part.fold.event, part.risk).index
    assert value(scores, "c_index") == pytest.approx(expected, abs=1e-12)


def test_uno_equals_scikit_survival(one_fold):
    part, scores, train, test = one_fold
    expected = concordance_index_ipcw(train, test, part.risk, tau=scores.tau_days)[0]
    assert value(scores, "c_index_ipcw") == pytest.approx(expected, abs=1e-12)


def test_auc_equals_scikit_survival(one_fold):
    part, scores, train, test = one_fold
    expected, _ = cumulative_dynamic_auc(train, test, part.risk, GRID)
    assert [value(scores, "auc", day) for day in GRID] == pytest.approx(expected, abs=1e-12)


def test_brier_equals_scikit_survival(one_fold):
    part, scores, train, test = one_fold
    _, expected = brier_score(train, test, part.survival, GRID)
    assert [value(scores, "brier", day) for day in GRID] == pytest.approx(expected, abs=1e-12)
    whole = integrated_brier_score(train, test, part.survival, GRID)
    assert value(scores, "ibs") == pytest.approx(whole, abs=1e-12)


def test_a_patient_of_weight_two_is_two_patients():
    _, _, (model,) = panel_of(2, n=90)
    part = model.folds[1]
    weight = np.random.default_rng(0).integers(0, 3, len(part.risk))
    index = np.repeat(np.arange(len(weight)), weight)
    fold = part.fold.only(index)
    copies = FoldPrediction(fold, part.risk[index], part.survival[index], np.nan)
    weighted, copied = scored(part, weight[None].astype(float)), scored(copies, np.ones((1, len(index))))
    for key in weighted.sums:
        assert weighted.sums[key].ratio() == pytest.approx(copied.sums[key].ratio(), abs=1e-12), key


def test_a_certain_and_right_forecast_has_no_error_and_full_discrimination():
    _, _, (model,) = panel_of(1, n=90)
    part = model.folds[0]
    fold = part.fold
    right = (fold.time[:, None] > np.array(GRID)).astype(float)
    scores = scored(FoldPrediction(fold, -fold.time, right, np.nan), np.ones((1, len(fold.time))))
    assert value(scores, "c_index") == value(scores, "c_index_ipcw") == 1
    for day in GRID:
        assert value(scores, "auc", day) == pytest.approx(1)
        assert value(scores, "brier", day) == 0


def test_constant_risks_score_one_half():
    _, _, (model,) = panel_of(1, n=90)
    part = model.folds[0]
    flat = FoldPrediction(part.fold, np.zeros(len(part.risk)), part.survival, np.nan)
    scores = scored(flat, np.ones((1, len(part.risk))))
    assert value(scores, "c_index") == value(scores, "c_index_ipcw") == value(scores, "auc", 365) == 0.5


def test_a_fold_without_events_has_no_concordance_and_does_not_change_the_pooled_one():
    _, weights, (model,) = panel_of(4, n=120, repeats=1)
    scores = score_predictions(model, weights, horizons=[365], grid=[365, 730], tau_quantile=0.9)
    part = model.folds[0]
    silent = FoldPrediction(
        type(part.fold)(**{**vars(part.fold), "event": np.zeros(len(part.risk), bool)}), part.risk, part.survival, 0.0
    )
    without = score_fold(
        silent,
        weights[:, part.fold.patients],
        times_days=model.times_days,
        horizons=[365],
        grid=[365, 730],
        tau_quantile=0.9,
    )
    assert np.isnan(value(without, "c_index"))
    others = pool(scores[1:])["c_index", NO_HORIZON]
    assert pool([without, *scores[1:]])["c_index", NO_HORIZON] == pytest.approx(others)


def test_an_empty_fold_adds_nothing():
    _, weights, (model,) = panel_of(4, n=120, repeats=1, draws=3)
    args = {"horizons": [365], "grid": [365, 730], "tau_quantile": 0.9}
    emptied = model.only(np.setdiff1d(np.arange(120), model.folds[1].fold.patients))
    assert [len(part.risk) for part in emptied.folds] == [40, 0, 40]
    others = type(model)("m", model.times_days, (model.folds[0], model.folds[2]))
    one, two = (pool(score_predictions(m, weights, **args)) for m in (emptied, others))
    for key in two:
        assert one[key] == pytest.approx(two[key]), key


def test_patients_of_different_folds_are_never_compared():
    """Adding a constant to the risks of one fold changes every comparison across folds and none within."""
    _, weights, (model,) = panel_of(4, n=120, repeats=1, draws=5)
    shifted = [
        FoldPrediction(part.fold, part.risk + 100 * number, part.survival, np.nan)
        for number, part in enumerate(model.folds)
    ]
    moved = type(model)(model.model, model.times_days, tuple(shifted))
    args = {"horizons": [365], "grid": [365, 730], "tau_quantile": 0.9}
    before, after = pool(score_predictions(model, weights, **args)), pool(score_predictions(moved, weights, **args))
    for key in before:
        assert after[key] == pytest.approx(before[key]), key


def test_pooled_concordance_by_hand():
    _, weights, (model,) = panel_of(8, n=120, repeats=2)
    found = pool(score_predictions(model, weights, horizons=[], grid=[], tau_quantile=0.9))["c_index", NO_HORIZON][0]
    by_repeat = []
    for repeat in (0, 1):
        counts = [concordance(p.fold.time, p.fold.event, p.risk) for p in model.folds if p.fold.repeat == repeat]
        by_repeat.append(sum(c.concordant + c.tied / 2 for c in counts) / sum(c.comparable for c in counts))
    assert found == pytest.approx(np.mean(by_repeat), abs=1e-12)


def test_ipa_compares_with_the_kaplan_meier_curve_of_the_training_part():
    _, weights, (model,) = panel_of(8, n=200, repeats=1)
    pooled = pool(score_predictions(model, weights, horizons=[730], grid=[365, 730], tau_quantile=0.9))
    expected = 1 - pooled["brier", 730][0] / pooled["brier_kaplan_meier", 730][0]
    assert pooled["ipa", 730][0] == pytest.approx(expected)
    assert pooled["ipa", 730][0] > 0.05  # the model of the simulation knows the hazard


def test_tau_is_the_quantile_of_training_event_times_and_missing_without_events():
    time, event = np.array([10.0, 20, 30, 1000]), np.array([True, True, True, False])
    assert tau_of(time, event, quantile=0.5) == 20
    assert np.isnan(tau_of(time, ~np.ones(4, bool), quantile=0.5))
