import numpy as np
import pandas as pd
import pytest

from evaluation.cohorts import GRID, cohort_frame, folds_frame, risk_frame
from histoweave.errors import InputError
from histoweave.evaluation.panel import align, make_panel, missing


@pytest.fixture
def tables():
    generator = np.random.default_rng(0)
    cohort, score = cohort_frame(generator, 60)
    folds = folds_frame(cohort["patient"].to_numpy(), generator)
    return cohort, folds, risk_frame(cohort, folds, score, generator)


def test_predictions_follow_the_order_of_the_panel_whatever_the_order_of_the_rows(tables):
    cohort, folds, risk = tables
    panel = make_panel(cohort.sample(frac=1, random_state=1), folds.sample(frac=1, random_state=2))
    model = align(panel, risk.sample(frac=1, random_state=3), model="m")
    assert model.times_days.tolist() == list(GRID)
    for part in model.folds:
        rows = risk[(risk["repeat"] == part.fold.repeat) & (risk["fold"] == part.fold.fold)].set_index("patient")
        names = panel.names[part.fold.patients]
        assert part.risk.tolist() == rows.loc[names, "risk"].tolist()
        assert part.survival[:, 1].tolist() == rows.loc[names, "survival_365"].tolist()
        assert part.fold.time.tolist() == cohort.set_index("patient").loc[names, "time_days"].tolist()


def test_the_training_part_of_a_fold_is_everybody_else(tables):
    cohort, folds, _ = tables
    for fold in make_panel(cohort, folds).folds:
        assert sorted([*fold.time, *fold.train_time]) == sorted(cohort["time_days"])


def test_strata_are_the_folds_of_first_test(tables):
    cohort, folds, _ = tables
    panel = make_panel(cohort, folds)
    for number, fold in enumerate(panel.folds[:3]):
        assert (panel.strata()[fold.patients] == number).all()
    never = make_panel(cohort, folds[(folds["patient"] != "P0003") | (folds["role"] != "test")])
    assert never.strata()[3] == -1


def test_a_patient_without_a_row_is_left_out_by_name_and_only_there(tables):
    cohort, folds, risk = tables
    panel = make_panel(cohort, folds)
    gone = (risk["patient"] == "P0007") & (risk["repeat"] == 0)
    model = align(panel, risk[~gone], model="m")
    assert missing(panel, model) == ["P0007"]
    assert sum(len(part.risk) for part in model.folds) == len(risk) - 1


def test_a_fold_without_rows_is_empty(tables):
    cohort, folds, risk = tables
    panel = make_panel(cohort, folds)
    model = align(panel, risk[(risk["repeat"] != 0) | (risk["fold"] != 1)], model="m")
    assert [len(part.risk) for part in model.folds][:2] == [20, 0]


def change(frame, column, value, row=3):
    frame = frame.copy()
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (lambda r: change(r, "risk", np.nan), r"risk.parquet: 1 row\(s\) have a risk or survival that is NaN"),
        (lambda r: change(r, "risk", -np.inf), r"NaN or infinite \(first: patient 'P"),
        (lambda r: change(r, "survival_365", np.nan), "NaN or infinite"),
        (lambda r: change(r, "survival_365", 1.2), "survival outside 0..1"),
        (lambda r: pd.concat([r, r.iloc[:2]]), r"2 row\(s\) stand twice in their fold"),
        (lambda r: change(r, "patient", "P9999"), r"not in the test part of their fold \(first: patient 'P9999'"),
        (lambda r: change(r, "fold", 2), "1 row"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(tables, broken, text):
    cohort, folds, risk = tables
    with pytest.raises(InputError, match=text):
        align(make_panel(cohort, folds), broken(risk), model="m")


def test_folds_that_cannot_be_used_are_refused(tables):
    cohort, folds, _ = tables
    with pytest.raises(InputError, match=r"1 patient\(s\) stand twice in a fold \(first: 'P0000' in repeat 0, fold 0"):
        make_panel(cohort, pd.concat([folds, folds.iloc[:1].assign(role="train")]))
    with pytest.raises(InputError, match="unknown role 'holdout'"):
        make_panel(cohort, folds.replace({"role": {"validation": "holdout"}}))
    with pytest.raises(InputError, match="repeat 1, fold 2 lacks a train or a test part"):
        make_panel(cohort, folds[(folds["repeat"] != 1) | (folds["fold"] != 2) | (folds["role"] != "test")])
    with pytest.raises(InputError, match=r"1 patient\(s\) of folds.parquet are not in cohort.parquet \(first: 'P0000'"):
        make_panel(cohort.iloc[1:], folds)


def test_cohorts_that_cannot_be_used_are_refused(tables):
    cohort, folds, _ = tables
    with pytest.raises(InputError, match="doubled: 'P0000'"):
        make_panel(pd.concat([cohort, cohort.iloc[:1]]), folds)
    with pytest.raises(InputError, match="'P0003' has no positive time_days"):
        make_panel(change(cohort, "time_days", 0.0), folds)
