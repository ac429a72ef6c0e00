import numpy as np
import pandas as pd
import pytest

from histoweave.report.participants import baseline, flow, follow_up, reasons

COHORT = pd.DataFrame(
    {
        "patient": list("abcd"),
        "time_days": [10.0, 20.0, 30.0, 40.0],
        "event": [1, 0, 1, 0],
        "has_slide": [True, True, True, False],
        "has_expression": [True, False, True, True],
        "age": [60.0, 50.0, 70.0, np.nan],
        "sex": ["f", "f", "m", "m"],
    }
)
LEDGER = pd.DataFrame(
    [
        ("survival", "patient", "cohort", "x", "no time"),
        ("survival", "patient", "cohort", "y", "no time"),
        ("survival", "patient", "abmil_wsi", "d", "no slide"),
        ("slides", "slide", "all", "s1", "no tissue"),
    ],
    columns=["stage", "kind", "context", "item", "reason"],
)


def test_flow_counts_only_patients_that_left_before_the_cohort():
    risks = {"one": pd.DataFrame({"patient": ["a", "b", "a"]}), "two": pd.DataFrame({"patient": ["c"]})}
    rows = flow(COHORT, LEDGER, risks)
    assert rows["n"].tolist() == [6, 4, 3, 3, 2, 3]
    assert rows["left_out"].tolist() == [0, 2, 0, 0, 0, 0]
    assert rows["reason"][1] == "no time (2)"


def test_flow_shows_external_cohorts_apart():
    everybody = pd.concat(
        [COHORT.assign(cohort="a", role="train"), COHORT.iloc[:2].assign(cohort="b", role="external")]
    )
    everybody["patient"] = [*"abcd", "e", "f"]
    rows = flow(COHORT, pd.concat([LEDGER, LEDGER.iloc[2:3].assign(item="e")]), {}, everybody)
    assert rows["n"].tolist() == [8, 6, 4, 3, 3, 2, 0]
    assert rows["reason"][2] == "external cohorts, validated on: b (2)"


def test_flow_without_a_ledger_or_risks():
    rows = flow(COHORT, None, {})
    assert rows["n"].tolist()[:2] == [4, 4]
    assert rows["n"].tolist()[-1] == 0


def test_rare_reasons_are_counted_together():
    rows = pd.DataFrame({"reason": ["a"] * 3 + ["b"] * 2 + ["c", "d"]})
    assert reasons(rows, most=2) == "a (3); b (2); 2 for other reasons"


def test_follow_up_by_reverse_kaplan_meier_by_hand():
    # censored at 20 and 40: the curve is 1, 2/3, 2/3, 0
    told = follow_up(COHORT)
    assert told == {"patients": 4, "events": 2, "share": 0.5, "median_days": 40.0}


def test_follow_up_agrees_with_an_independent_estimate():
    from sksurv.nonparametric import kaplan_meier_estimator

    rng = np.random.default_rng(5)
    time, event = rng.integers(1, 900, 200).astype(float), rng.random(200) < 0.4
    made = follow_up(pd.DataFrame({"time_days": time, "event": event.astype(int)}))
    times, curve = kaplan_meier_estimator(event, time, reverse=True)
    assert made["median_days"] == times[np.flatnonzero(curve <= 0.5)[0]]


def test_follow_up_is_missing_where_it_is_not_reached():
    told = follow_up(pd.DataFrame({"time_days": [1.0, 2.0], "event": [1, 1]}))
    assert np.isnan(told["median_days"])


def test_baseline_by_hand():
    rows = baseline(COHORT, {"age": "numeric", "sex": "category", "absent": "numeric"}).set_index(["variable", "level"])
    age = rows.loc[("age", "median (quartiles)")]
    assert age["all"] == "60.0 (55.0 to 65.0)"
    assert age["event"] == "65.0 (62.5 to 67.5)"
    assert age["missing"] == 1
    women = rows.loc[("sex", "f")]
    assert (women["all"], women["event"], women["no_event"]) == ("2 (50 %)", "1 (50 %)", "1 (50 %)")
    assert women["smd"] == 0
    assert len(rows) == 3


def test_mean_difference_is_in_standard_deviations():
    frame = pd.DataFrame({"event": [1, 1, 0, 0], "age": [3.0, 5.0, 1.0, 3.0]})
    assert baseline(frame, {"age": "numeric"})["smd"][0] == pytest.approx(2 / np.sqrt(2))
