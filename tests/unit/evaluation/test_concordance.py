import numpy as np
import pytest
from sksurv.metrics import concordance_index_censored

from histoweave.errors import InputError
from histoweave.evaluation.concordance import comparable_after, concordance


def brute_force(time, event, risk):
    won = tied = pairs = 0
    for i in np.flatnonzero(event):
        for j in range(len(time)):
            if time[j] > time[i] or (time[j] == time[i] and not event[j]):
                pairs += 1
                won += risk[i] > risk[j] + 1e-8
                tied += abs(risk[i] - risk[j]) <= 1e-8
    return won, tied, pairs


def draw(seed, n, *, grain_time, grain_risk, events):
    generator = np.random.default_rng(seed)
    risk = (
        np.round(generator.standard_normal(n) / grain_risk) * grain_risk if grain_risk else generator.standard_normal(n)
    )
    time = np.ceil(generator.exponential(np.exp(-risk)) * 50 / grain_time) * grain_time
    return time, generator.random(n) < events, risk


def test_perfect_reversed_and_constant_risks():
    time, event = np.array([1.0, 2, 3, 4]), np.array([True, True, True, False])
    assert concordance(time, event, -time).index == 1
    assert concordance(time, event, time).index == 0
    assert concordance(time, event, np.ones(4)).index == 0.5


def test_an_event_is_comparable_with_a_censoring_at_the_same_time_but_not_with_an_event():
    same = np.array([5.0, 5.0])
    assert concordance(same, np.array([True, False]), np.array([2.0, 1])).index == 1
    assert np.isnan(concordance(same, np.array([True, True]), np.array([2.0, 1])).index)


def test_no_event_gives_no_number():
    assert np.isnan(concordance(np.array([1.0, 2]), np.zeros(2, bool), np.array([1.0, 2])).index)


def test_nobody_gives_no_number():
    nobody = np.zeros(0)
    assert np.isnan(concordance(nobody, nobody.astype(bool), nobody).index)


def test_any_increasing_change_of_the_risks_leaves_it_unchanged():
    time, event, risk = draw(3, 60, grain_time=1, grain_risk=0, events=0.5)
    assert concordance(time, event, 10 * risk - 4).index == concordance(time, event, risk).index


@pytest.mark.parametrize("seed", range(12))
def test_counts_equal_those_of_all_pairs(seed):
    time, event, risk = draw(seed, 3 + 7 * seed, grain_time=20, grain_risk=0.5, events=0.6)
    found = concordance(time, event, risk)
    assert (found.concordant, found.tied, found.comparable) == brute_force(time, event, risk)


@pytest.mark.parametrize(
    ("grain_time", "grain_risk", "events"), [(1, 0, 0.9), (30, 0.2, 0.5), (100, 1.0, 0.3), (1, 0.01, 0.02)]
)
def test_equal_to_scikit_survival(grain_time, grain_risk, events):
    time, event, risk = draw(7, 700, grain_time=grain_time, grain_risk=grain_risk, events=events)
    expected, won, _, tied, _ = concordance_index_censored(event, time, risk)
    found = concordance(time, event, risk)
    assert found.index == pytest.approx(expected, abs=1e-12)
    assert (found.concordant, found.tied) == (won, tied)


def test_risks_closer_than_the_tolerance_are_ties_as_in_scikit_survival():
    generator = np.random.default_rng(0)
    time, event = np.arange(1.0, 201), generator.random(200) < 0.7
    risk = generator.integers(0, 6, 200) * 6e-9
    assert concordance(time, event, risk).index == pytest.approx(
        concordance_index_censored(event, time, risk)[0], abs=1e-12
    )


def test_the_tail_of_the_order_holds_the_comparable_patients():
    time, event = np.array([3.0, 1, 3, 3, 2]), np.array([False, True, True, True, False])
    order, first_later = comparable_after(time, event)
    assert order.tolist() == [1, 4, 2, 3, 0]
    assert first_later[[0, 2, 3]].tolist() == [1, 4, 4]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_risks_that_are_no_numbers_are_refused(bad):
    with pytest.raises(InputError, match="finite times and risks"):
        concordance(np.array([1.0, 2]), np.array([True, False]), np.array([bad, 0]))
