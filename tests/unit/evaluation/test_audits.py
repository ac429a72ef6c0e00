import numpy as np
import pandas as pd
import pytest

from evaluation.cohorts import cohort_frame, folds_frame, panel_of
from histoweave.evaluation.audits import cohort_rows, fold_rows, probe_row, repeat_rows, served_rows
from histoweave.evaluation.panel import Panel, make_panel
from histoweave.evaluation.probe import ProbeResult


def by_check(rows):
    return {row["check"]: row for row in rows}


def panel_with(time, event):
    return Panel(np.array([f"P{i}" for i in range(len(time))]), np.array(time, float), np.array(event, bool), ())


@pytest.fixture
def study():
    generator = np.random.default_rng(0)
    cohort, _ = cohort_frame(generator, 90)
    folds = folds_frame(cohort["patient"].to_numpy(), generator)
    return cohort, folds, cohort.set_index("patient")["site"]


def test_event_rate_and_follow_up_by_hand():
    rows = by_check(cohort_rows(panel_with([10, 20, 30, 40], [1, 0, 1, 0]), confidence=0.95))
    assert rows["event rate"]["value"] == 0.5
    assert rows["event rate"]["verdict"] == "ok"
    assert rows["follow-up"]["value"] == 40  # reverse: 2/3 stay at 20, 0 at 40


def test_an_unusual_event_rate_asks_for_a_look():
    row = by_check(cohort_rows(panel_with(range(1, 101), [1] * 99 + [0]), confidence=0.95))["event rate"]
    assert row["verdict"] == "look"
    assert row["sentence"].endswith("Check that event = 1 means that the event was seen.")


def test_sites_on_both_sides_are_counted(study):
    cohort, folds, sites = study
    panel = make_panel(cohort, folds)
    row = by_check(fold_rows(panel, folds, sites))["sites"]
    assert (row["value"], row["verdict"]) == (6, "look")
    kept = {"A": 0, "B": 1, "C": 2, "D": 2}
    preserved = folds.assign(role=np.where(folds["patient"].map(sites).map(kept) == folds["fold"], "test", "train"))
    row = by_check(fold_rows(make_panel(cohort, preserved), preserved, sites))["sites"]
    assert (row["value"], row["verdict"]) == (0, "ok")


def test_one_site_only_is_said(study):
    cohort, folds, sites = study
    row = by_check(fold_rows(make_panel(cohort, folds), folds, sites.map(lambda _: "A")))["sites"]
    assert np.isnan(row["value"])
    assert row["sentence"] == "One site only: performance elsewhere cannot be judged."


def test_silent_folds_and_few_training_events_are_said(study):
    cohort, folds, sites = study
    tested = folds[(folds["repeat"] == 0) & (folds["fold"] == 1) & (folds["role"] == "test")]["patient"]
    quiet = cohort.assign(event=np.where(cohort["patient"].isin(tested), 0, cohort["event"]))
    rows = by_check(fold_rows(make_panel(quiet, folds), folds, sites))
    assert (rows["silent folds"]["value"], rows["silent folds"]["verdict"]) == (1, "look")
    few = cohort.assign(event=(np.arange(90) % 5 == 0).astype(int))
    row = by_check(fold_rows(make_panel(few, folds), folds, sites))["training events"]
    assert row["verdict"] == "look"
    assert row["value"] == row["lower"] <= row["upper"] < 30


def test_a_patient_who_is_never_tested_is_said(study):
    cohort, folds, sites = study
    less = folds[(folds["patient"] != "P0001") | (folds["role"] != "test")]
    row = by_check(fold_rows(make_panel(cohort, less), less, sites))["tested"]
    assert row["value"] == 89
    assert row["sentence"] == "1 of 90 patients are in no test part."


def test_missing_predictions_need_an_explanation():
    panel, _, (model,) = panel_of(0)
    some = model.only(np.arange(2, 120))
    slides = np.ones(120, bool)
    row = served_rows(panel, [some], {"has_slide": slides})[0]
    assert (row["value"], row["verdict"]) == (118, "look")
    assert "2 have not, 2 of them although all their data are there" in row["sentence"]
    slides[:2] = False
    assert served_rows(panel, [some], {"has_slide": slides})[0]["verdict"] == "ok"


def test_spread_over_repeats():
    _, _, models = panel_of(0, repeats=3, models=2)
    rows = repeat_rows(models)
    assert rows[0]["lower"] < rows[0]["upper"]
    assert 0 < rows[0]["value"] < rows[0]["upper"] - rows[0]["lower"]
    _, _, models = panel_of(0, repeats=1)
    assert repeat_rows(models)[0]["sentence"] == "One repeat: what the seed changes cannot be seen."


def test_a_probe_in_words():
    assert probe_row("x", ProbeResult(0.8, 0.4, 0.6, ""))["verdict"] == "look"
    row = probe_row("x", ProbeResult(0.55, 0.4, 0.6, ""))
    assert row["sentence"] == "AUC 0.55 for the site, no more than chance gives (0.40 to 0.60)."
    assert (
        probe_row("x", ProbeResult(np.nan, np.nan, np.nan, "one site only"))["sentence"] == "Not probed: one site only."
    )


def test_rows_make_a_table(study):
    cohort, folds, sites = study
    panel = make_panel(cohort, folds)
    table = pd.DataFrame(cohort_rows(panel, confidence=0.9) + fold_rows(panel, folds, sites))
    assert list(table) == ["check", "subject", "value", "lower", "upper", "verdict", "sentence"]
    assert set(table["verdict"]) <= {"ok", "look", "fact"}
