from dataclasses import replace

import numpy as np
import pytest
from sksurv.metrics import concordance_index_censored

from histoweave.simulate.cohort import MODULES, SITES, follow_up, permute_follow_up, simulate_cohort, uncorrelated


def concordance(cohort, risk):
    patients = cohort.patients
    return concordance_index_censored(patients["event"].astype(bool), patients["time_days"], risk)[0]


def test_draws_are_exactly_uncorrelated():
    draws = uncorrelated(40, 5, rng=np.random.default_rng(0))
    np.testing.assert_allclose(draws.T @ draws / 40, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(draws.mean(axis=0), 0, atol=1e-12)


def test_sites_are_even_and_ids_sorted(cohort):
    counts = cohort.patients["site"].value_counts()
    assert set(counts.index) == set(SITES)
    assert counts.max() - counts.min() <= 1
    assert cohort.patients["patient"].is_monotonic_increasing
    assert (cohort.patients["patient"] == cohort.truth["patient"]).all()


def test_share_of_events_is_as_asked(cohort):
    assert cohort.patients["event"].mean() == pytest.approx(0.6, abs=0.01)
    assert cohort.patients["time_days"].min() >= 1


def test_predictor_is_the_sum_of_its_parts(cohort, settings):
    truth = cohort.truth
    rest = truth["linear_predictor"] - settings.trait_effect * truth["trait"]
    rest -= settings.module_effect * truth["module_activity"]
    assert np.corrcoef(rest, truth["age"])[0, 1] > 0.99
    assert rest.std() == pytest.approx(settings.age_effect, rel=0.01)


def test_echo_is_the_correlation_asked_for(cohort, settings):
    correlations = cohort.truth[list(MODULES)].corrwith(cohort.truth["trait"])
    assert correlations["module_2"] == pytest.approx(settings.trait_echo, abs=1e-9)
    assert correlations.drop("module_2").abs().max() < 1e-9


def test_planted_effects_have_the_intended_strength(cohort):
    truth = cohort.truth
    both = concordance(cohort, truth["trait"] + truth["module_activity"])
    single = [concordance(cohort, truth[part]) for part in ("trait", "module_activity")]
    assert 0.80 < concordance(cohort, truth["linear_predictor"]) < 0.88
    assert all(0.67 < value < 0.74 for value in single)
    assert both - max(single) > 0.08
    assert concordance(cohort, truth["age"]) > 0.58


def test_no_effects_leave_nothing_to_find(settings):
    null = simulate_cohort(replace(settings, trait_effect=0.0, module_effect=0.0, age_effect=0.0))
    assert abs(concordance(null, null.truth["trait"] + null.truth["module_activity"]) - 0.5) < 0.08


def test_higher_predictor_means_earlier_event():
    days, event = follow_up(np.repeat([-3.0, 3.0], 200), event_share=0.9, rng=np.random.default_rng(1))
    seen = event == 1
    assert np.median(days[200:][seen[200:]]) < np.median(days[:200][seen[:200]]) / 10


def test_permuted_follow_up_keeps_the_pairs_and_loses_the_effect(cohort):
    permuted = permute_follow_up(cohort.patients, seed=10)
    columns = ["time_days", "event"]
    assert sorted(map(tuple, permuted[columns].to_numpy())) == sorted(map(tuple, cohort.patients[columns].to_numpy()))
    assert (permuted.drop(columns=columns) == cohort.patients.drop(columns=columns)).all().all()
    value = concordance_index_censored(
        permuted["event"].astype(bool), permuted["time_days"], cohort.truth["linear_predictor"]
    )[0]
    assert abs(value - 0.5) < 0.08


def test_same_seed_same_cohort_other_seed_another(cohort, settings):
    assert simulate_cohort(settings).patients.equals(cohort.patients)
    assert not simulate_cohort(replace(settings, seed=11)).patients.equals(cohort.patients)
