"""The forest as arrays against scikit-survival's own."""

import numpy as np
import pytest
from sksurv.ensemble import RandomSurvivalForest

from histoweave.survival import rsf_rna
from histoweave.survival.linear import outcome


@pytest.fixture(scope="module")
def grown():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 5))
    time = np.ceil(rng.exponential(np.exp(-x[:, 0])) * 500 + 1)
    event = rng.random(150) < 0.7
    forest = RandomSurvivalForest(n_estimators=12, min_samples_leaf=6, random_state=0).fit(x, outcome(time, event))
    return forest, rng.normal(size=(40, 5))


def test_risks_and_curves_are_those_of_the_library(grown):
    forest, x = grown
    days = [50.0, 200.0, 700.0]
    risk, survival = rsf_rna.flattened(forest).predict(x, days)
    np.testing.assert_allclose(risk, forest.predict(x), rtol=1e-10)
    curves = forest.predict_survival_function(x)
    np.testing.assert_allclose(survival, [[curve(day) for day in days] for curve in curves], atol=1e-6)


def test_few_times_are_kept_and_the_risk_is_of_all(grown, monkeypatch):
    forest, x = grown
    monkeypatch.setattr(rsf_rna, "_MOST_TIMES", 10)
    few = rsf_rna.flattened(forest)
    assert len(few.times) == 10
    np.testing.assert_allclose(few.predict(x, [100])[0], forest.predict(x), rtol=1e-10)


def test_before_the_first_event_everybody_lives(grown):
    forest, x = grown
    assert (rsf_rna.flattened(forest).predict(x, [0.0])[1] == 1).all()
