import logging

import numpy as np
import pytest
from benchmarks.bench_coverage import CASES, coverage
from scipy import stats
from statsmodels.stats.multitest import multipletests

from evaluation.cohorts import panel_of
from histoweave.errors import InputError
from histoweave.evaluation.comparison import (
    CompareSettings,
    compare_all,
    corrected_t_test,
    holm,
    pairs_to_compare,
    verdict,
)
from histoweave.evaluation.scores import ScoreSettings

OVER_FOLDS = "a better on these patients, but within the noise of training on other folds"
SCORES = ScoreSettings(horizons_days=(365,), min_at_risk=5, tau_quantile=0.9)


def settings(*pairs, baselines=()):
    return CompareSettings(baselines=baselines, pairs=pairs)


def compared(panel, models, weights, *pairs):
    table = compare_all(
        panel,
        {model.model: model for model in models},
        weights,
        compare_settings=settings(*pairs),
        score_settings=SCORES,
        confidence=0.95,
    )
    return table.set_index(["model_a", "model_b", "metric"])


def test_pairs_are_every_model_with_each_baseline_the_baselines_and_the_configured_ones_once():
    found = pairs_to_compare(
        ["a", "b", "base1", "base2"], settings(("a", "b"), ("a", "base1"), baselines=("base1", "base2"))
    )
    assert found == [("a", "base1"), ("b", "base1"), ("a", "base2"), ("b", "base2"), ("base2", "base1"), ("a", "b")]


def test_a_baseline_that_was_not_run_is_told_and_an_unknown_pair_refused(caplog):
    with caplog.at_level(logging.WARNING, "histoweave"):
        assert pairs_to_compare(["a"], settings(baselines=("base",))) == []
    assert "no comparison with 'base'" in caplog.text
    with pytest.raises(InputError, match="evaluation.compare.pairs names models that are not .* 'z'"):
        pairs_to_compare(["a"], settings(("a", "z")))


def test_without_overlap_the_corrected_test_is_students():
    differences = np.random.default_rng(0).normal(0.2, 1, 12)
    found = corrected_t_test(differences, test_share=0, confidence=0.95)
    assert found.p_value == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


def test_overlap_widens_the_interval_by_nadeau_and_bengios_factor():
    differences = np.random.default_rng(0).normal(0.2, 1, 10)
    plain, wide = (corrected_t_test(differences, test_share=s, confidence=0.95) for s in (0, 0.25))
    assert (wide.upper - wide.lower) / (plain.upper - plain.lower) == pytest.approx(np.sqrt((0.1 + 0.25) / 0.1))


def test_one_fold_or_no_spread():
    assert np.isnan(corrected_t_test(np.array([0.1, np.nan]), test_share=0.2, confidence=0.95).p_value)
    assert corrected_t_test(np.zeros(5), test_share=0.2, confidence=0.95).p_value == 1


def test_holm_equals_statsmodels_and_leaves_missing_ones_out():
    p = np.array([0.01, 0.04, 0.03, 0.5, 0.005])
    expected = multipletests(p, method="holm")[1]
    assert holm(p) == pytest.approx(expected)
    gaps = np.insert(p, 2, np.nan)
    assert np.delete(holm(gaps), 2) == pytest.approx(expected)
    assert np.isnan(holm(gaps)[2])


@pytest.mark.parametrize(
    ("metric", "difference", "lower", "upper", "p_holm", "nb", "words"),
    [
        ("c_index", 0.05, 0.01, 0.09, 0.02, 0.03, "a better"),
        ("c_index", 0.05, 0.01, 0.09, 0.02, np.nan, "a better"),
        (
            "c_index",
            0.05,
            0.01,
            0.09,
            0.02,
            0.3,
            "a better on these patients, but within the noise of training on other folds",
        ),
        ("c_index", -0.05, -0.09, -0.01, 0.02, 0.03, "b better"),
        ("brier", -0.05, -0.09, -0.01, 0.02, 0.03, "a better"),
        ("ibs", 0.05, 0.01, 0.09, 0.02, 0.03, "b better"),
        ("c_index", 0.05, -0.01, 0.09, 0.001, 0.03, "within noise"),
        ("c_index", 0.05, 0.01, 0.09, 0.2, 0.03, "a better, but within noise after correction for several comparisons"),
        ("c_index", np.nan, np.nan, np.nan, np.nan, np.nan, "not computable"),
    ],
)
def test_words(metric, difference, lower, upper, p_holm, nb, words):
    limits = {"difference": difference, "lower": lower, "upper": upper}
    assert verdict(metric=metric, **limits, p_holm=p_holm, nb_p_value=nb, confidence=0.95) == words


def test_a_model_against_itself_differs_by_nothing():
    panel, weights, (model,) = panel_of(3, draws=50)
    twin = type(model)("twin", model.times_days, model.folds)
    row = compared(panel, [model, twin], weights, ("m0", "twin")).loc[("m0", "twin", "c_index")]
    assert row[["difference", "lower", "upper"]].tolist() == [0, 0, 0]
    assert (row["p_value"], row["nb_p_value"], row["verdict"]) == (1, 1, "within noise")


def test_exchanging_the_models_changes_the_sign():
    panel, weights, models = panel_of(3, models=2, draws=200)
    table = compared(panel, models, weights, ("m0", "m1"), ("m1", "m0"))
    for metric in ("c_index", "brier", "auc", "ibs"):
        one, other = table.loc[("m0", "m1", metric)], table.loc[("m1", "m0", metric)]
        assert one["difference"] == -other["difference"]
        assert one["lower"] == pytest.approx(-other["upper"])
        assert one["nb_p_value"] == pytest.approx(other["nb_p_value"])


def test_a_pair_is_compared_on_the_patients_that_both_serve():
    panel, weights, (full, part) = panel_of(3, models=2, draws=50)
    some = np.arange(0, 120, 2)
    table = compared(panel, [full, part.only(some)], weights, ("m0", "m1"))
    alone = compared(panel, [full.only(some), part.only(some)], weights, ("m0", "m1"))
    assert table["n_patients"].unique().tolist() == [60]
    assert table["difference"].tolist() == alone["difference"].tolist()


def test_a_better_model_is_found_better_and_an_equal_one_is_not():
    panel, weights, (good,) = panel_of(3, n=400, noise=0.1, draws=300)
    _, _, (bad,) = panel_of(3, n=400, noise=3.0, draws=0)
    table = compared(panel, [good, type(bad)("bad", bad.times_days, bad.folds)], weights, ("m0", "bad"))
    assert table.loc[("m0", "bad", "c_index"), "verdict"] == "a better"
    assert table.loc[("m0", "bad", "brier"), "verdict"] == "a better"


def test_intervals_of_paired_differences_hold_the_truth_as_often_as_they_say():
    share, truth = coverage(CASES[0], cohorts=200, draws=200)
    assert truth > 0.05
    assert 0.92 <= share <= 0.98
