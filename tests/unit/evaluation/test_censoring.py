import numpy as np
import pytest
from lifelines import KaplanMeierFitter
from sksurv.nonparametric import CensoringDistributionEstimator, kaplan_meier_estimator
from sksurv.util import Surv

from histoweave.evaluation.censoring import at_risk_table, censoring_curve, survival_curve

TIME = np.array([6.0, 6, 6, 6, 7, 9, 10, 10, 11, 13])
EVENT = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1], bool)


def many(seed=0, n=300):
    generator = np.random.default_rng(seed)
    return np.ceil(generator.exponential(100, n) / 5) * 5, generator.random(n) < 0.5


def test_curve_by_hand():
    curve = survival_curve(TIME, EVENT, confidence=0.95)
    assert curve.at([0, 5.9, 6, 8, 10, 12.9]) == pytest.approx([1, 1, 0.7, 0.7 * 5 / 6, 0.7 * 5 / 6 * 3 / 4, 0.4375])
    assert curve.at(13) == 0
    assert curve.median_days() == 10


def test_no_event_stays_at_one_and_has_no_median():
    curve = survival_curve(TIME, np.zeros(10, bool), confidence=0.95)
    assert (curve.value == 1).all()
    assert np.isnan(curve.median_days())


def test_a_patient_of_weight_two_is_two_patients():
    weight = np.arange(1.0, 11)
    double = np.repeat(np.arange(10), np.arange(1, 11))
    weighted = survival_curve(TIME, EVENT, confidence=0.9, weight=weight)
    repeated = survival_curve(TIME[double], EVENT[double], confidence=0.9)
    assert weighted.value == pytest.approx(repeated.value)
    assert weighted.lower[:-1] == pytest.approx(repeated.lower[:-1])


def test_survival_and_its_interval_equal_scikit_survival():
    time, event = many()
    steps, value, (lower, upper) = kaplan_meier_estimator(event, time, conf_type="log-log")
    found = survival_curve(time, event, confidence=0.95)
    inner = found.value > 0
    assert found.time_days.tolist() == steps.tolist()
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.lower[inner] == pytest.approx(lower[inner], abs=1e-10)
    assert found.upper[inner] == pytest.approx(upper[inner], abs=1e-10)


def test_survival_equals_lifelines():
    time, event = many(1)
    reference = KaplanMeierFitter().fit(time, event).survival_function_at_times([50, 100, 200]).to_numpy()
    assert survival_curve(time, event, confidence=0.95).at([50, 100, 200]) == pytest.approx(reference, abs=1e-10)


def test_censoring_equals_scikit_survival_with_ties_of_events_and_censorings():
    time, event = many(2)
    reference = CensoringDistributionEstimator().fit(Surv.from_arrays(event, time))
    days = np.arange(0, time.max(), 7.0)
    assert censoring_curve(time, event).at(days) == pytest.approx(reference.predict_proba(days), abs=1e-12)


def test_censoring_is_certain_not_to_happen_when_all_have_the_event():
    assert (censoring_curve(TIME, np.ones(10, bool)).value == 1).all()


def test_numbers_at_risk_by_hand():
    table = at_risk_table(TIME, EVENT, np.array([0.0, 6, 10, 20]))
    assert table["at_risk"].tolist() == [10, 10, 4, 0]
    assert table["events"].tolist() == [0, 3, 5, 6]
    assert table["censored"].tolist() == [0, 1, 3, 4]
