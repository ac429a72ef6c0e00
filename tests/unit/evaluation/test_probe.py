import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.cohorts import panel_of
from histoweave.evaluation.panel import FoldPrediction
from histoweave.evaluation.probe import auc_of, probe_features, probe_risks


def probe(features, sites, seed=0):
    return probe_features(features, sites, permutations=60, generator=np.random.default_rng(seed))


def test_auc_equals_scikit_learn_with_ties():
    generator = np.random.default_rng(0)
    score, positive = generator.integers(0, 5, 200).astype(float), generator.random(200) < 0.3
    assert auc_of(score, positive) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_features_that_carry_the_site_tell_it():
    generator = np.random.default_rng(0)
    sites = np.array(list("ABCD"))[generator.integers(4, size=160)]
    features = generator.standard_normal((160, 30))
    features[:, :4] += 2 * (sites[:, None] == np.array(list("ABCD")))
    found = probe(features, sites)
    assert found.auc > 0.85
    assert found.tells
    assert found.chance_lower < 0.5 < found.chance_upper < 0.65


def test_features_of_chance_do_not():
    generator = np.random.default_rng(1)
    sites = np.array(list("ABCD"))[generator.integers(4, size=160)]
    found = probe(generator.standard_normal((160, 300)), sites)
    assert found.chance_lower < found.auc < found.chance_upper


def test_a_constant_feature_does_no_harm():
    generator = np.random.default_rng(2)
    sites = np.array(list("AB"))[np.arange(60) % 2]
    features = np.column_stack([generator.standard_normal((60, 3)), np.full(60, 7.0)])
    assert np.isfinite(probe(features, sites).auc)


@pytest.mark.parametrize("sites", [np.repeat("A", 40), np.array(["A"] * 37 + ["B"] * 3)])
def test_one_site_cannot_be_told(sites):
    found = probe(np.random.default_rng(0).standard_normal((40, 3)), sites)
    assert np.isnan(found.auc)
    assert found.reason == "one site only, or fewer than two sites with 5 patients"
    assert not found.tells


def with_site_shift(shift):
    panel, _, (model,) = panel_of(0, n=160)
    site = np.arange(160) % 2
    parts = tuple(FoldPrediction(p.fold, p.risk + shift * site[p.fold.patients], p.survival, 0.0) for p in model.folds)
    return type(model)("m", model.times_days, parts), np.array(["A", "B"])[site]


@pytest.mark.parametrize(("shift", "tells"), [(0.0, False), (3.0, True), (-3.0, True)])
def test_risks_that_differ_between_sites_tell_it(shift, tells):
    found = probe_risks(*with_site_shift(shift), permutations=60, generator=np.random.default_rng(0))
    assert found.tells is tells
    assert found.chance_lower >= 0.5


def test_a_shift_between_folds_tells_nothing():
    model, sites = with_site_shift(0.0)
    moved = tuple(FoldPrediction(p.fold, p.risk + 50 * k, p.survival, 0.0) for k, p in enumerate(model.folds))
    args = {"permutations": 20}
    one = probe_risks(model, sites, generator=np.random.default_rng(0), **args)
    two = probe_risks(type(model)("m", model.times_days, moved), sites, generator=np.random.default_rng(0), **args)
    assert one == two


def test_folds_of_one_site_each_are_not_probed():
    model, _ = with_site_shift(0.0)
    sites = np.full(160, "A")
    found = probe_risks(model, sites, permutations=20, generator=np.random.default_rng(0))
    assert found.reason == "no test part holds more than one site"
    sites[:3] = "B"
    found = probe_risks(model, sites, permutations=20, generator=np.random.default_rng(0))
    assert found.reason == "no test part holds two sites with 5 patients"
