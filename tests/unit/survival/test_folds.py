import numpy as np
import pandas as pd
import pytest

from histoweave.errors import InputError
from histoweave.survival.folds import FoldSettings, hold_out, split, without_each_site


def settings(**changes):
    values = {"scheme": "site_preserved", "folds": 4, "repeats": 2, "validation_share": 0.2, "least_train_events": 5}
    return FoldSettings(**{**values, "given": None, **changes})


def cohort(n=120, sites=9, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "patient": [f"P{i:03d}" for i in range(n)],
            "site": rng.choice([f"s{i}" for i in range(sites)], n, p=np.arange(1, sites + 1) / sum(range(sites + 1))),
            "event": (rng.random(n) < 0.5).astype(int),
        }
    )


@pytest.mark.parametrize("scheme", ["site_preserved", "stratified"])
def test_every_patient_has_one_role_and_is_tested_once(scheme):
    table = split(cohort(), settings=settings(scheme=scheme), seed=1, given=None)
    assert not table.duplicated(["patient", "repeat", "fold"]).any()
    tested = table[table["role"] == "test"].groupby(["repeat", "patient"]).size()
    assert (tested == 1).all()
    assert len(tested) == 240
    assert set(table["role"]) == {"train", "validation", "test"}


def test_sites_stay_together_and_folds_are_balanced():
    people = cohort()
    table = split(people, settings=settings(), seed=1, given=None).merge(people, on="patient")
    test = table[table["role"] == "test"]
    assert (test.groupby(["repeat", "site"])["fold"].nunique() == 1).all()
    for _, part in table.groupby(["repeat", "fold"]):
        outside = set(part.loc[part["role"] != "test", "site"])
        assert not outside & set(part.loc[part["role"] == "test", "site"])
    events = test[test["repeat"] == 0].groupby("fold")["event"].sum()
    largest = test[test["repeat"] == 0].groupby("site")["event"].sum().max()
    assert events.max() <= max(largest, 1.25 * events.mean())


def test_inner_part_is_stratified_by_event():
    people = cohort()
    table = split(people, settings=settings(scheme="stratified"), seed=1, given=None).merge(people, on="patient")
    shares = table.groupby(["repeat", "fold", "role"])["event"].mean().unstack()
    assert (shares["train"] - shares["validation"]).abs().max() < 0.08
    sizes = table.groupby(["repeat", "fold", "role"]).size().unstack()
    assert (sizes["validation"] / (sizes["validation"] + sizes["train"])).between(0.18, 0.22).all()


def test_repeats_differ_and_seeds_decide():
    table = split(cohort(), settings=settings(scheme="stratified"), seed=1, given=None)
    wide = table.pivot(index="patient", columns=["repeat", "fold"], values="role")
    assert not wide[0].equals(wide[1])
    pd.testing.assert_frame_equal(table, split(cohort(), settings=settings(scheme="stratified"), seed=1, given=None))


def test_given_folds_gain_an_inner_part_only_where_there_is_none():
    people = cohort(40)
    given = pd.DataFrame({"patient": people["patient"], "repeat": 0, "fold": 0, "role": ["test"] * 10 + ["train"] * 30})
    table = split(people, settings=settings(scheme="given"), seed=1, given=given)
    assert set(table.loc[table["role"] == "test", "patient"]) == set(people["patient"][:10])
    assert (table["role"] == "validation").sum() == 6
    given.loc[10:14, "role"] = "validation"
    table = split(people, settings=settings(scheme="given"), seed=1, given=given)
    assert set(table.loc[table["role"] == "validation", "patient"]) == set(people["patient"][10:15])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"role": "tset"}, "unknown roles 'tset'"),
        ({"patient": "P001"}, "patient 'P001' has two roles in fold 0"),
    ],
)
def test_given_folds_that_cannot_be(change, text):
    people = cohort(40)
    given = pd.DataFrame({"patient": people["patient"], "repeat": 0, "fold": 0, "role": ["test"] * 10 + ["train"] * 30})
    for column, value in change.items():
        given.loc[2, column] = value
    with pytest.raises(InputError, match=text):
        split(people, settings=settings(scheme="given"), seed=1, given=given)


def test_given_without_a_file():
    with pytest.raises(InputError, match="survival.folds.given names no file"):
        split(cohort(), settings=settings(scheme="given"), seed=1, given=None)


def test_too_few_sites():
    with pytest.raises(InputError, match=r"3 site\(s\) cannot make 4 site-preserved folds"):
        split(cohort(sites=3), settings=settings(), seed=1, given=None)


def test_too_few_events():
    with pytest.raises(
        InputError, match=r"repeat 0, fold 0: the training part has \d+ events in .*least_train_events = 60"
    ):
        split(cohort(), settings=settings(least_train_events=60), seed=1, given=None)


def test_each_site_is_left_out_once_and_small_ones_never():
    people = cohort()
    events = people.groupby("site")["event"].sum()
    table = without_each_site(people, settings=settings(), seed=1, least_events=5).merge(people, on="patient")
    tested = table[table["role"] == "test"].groupby("fold")["site"].agg(["unique", "size"])
    assert [list(names) for names in tested["unique"]] == [[name] for name in sorted(events.index[events >= 5])]
    assert tested["size"].tolist() == [int((people["site"] == names[0]).sum()) for names in tested["unique"]]
    assert not table.duplicated(["patient", "fold"]).any()
    assert set(table.loc[table["role"] == "validation", "fold"]) == set(tested.index)


def test_one_site_out_is_a_scheme_of_its_own_with_all_sites():
    people = cohort()
    table = split(people, settings=settings(scheme="one_site_out"), seed=1, given=None)
    assert table["fold"].nunique() == people["site"].nunique()
    assert (table[table["role"] == "test"].groupby("patient").size() == 1).all()


@pytest.mark.parametrize(("sites", "events"), [(1, 1), (4, 1000)])
def test_no_site_to_leave_out(sites, events):
    with pytest.raises(InputError, match=r"no site can be left out: \d site\(s\)"):
        without_each_site(cohort(sites=sites), settings=settings(), seed=1, least_events=events)


def test_who_is_held_out_is_tested_and_never_trained_on():
    people = cohort()
    test = (people["site"] == "s3").to_numpy()
    table = hold_out(people, test, settings=settings(), seed=1).set_index("patient")["role"]
    assert (table[people["patient"][test]] == "test").all()
    assert set(table[people["patient"][~test]]) == {"train", "validation"}
    with pytest.raises(InputError, match="fewer than survival.folds.least_train_events"):
        hold_out(people, ~test, settings=settings(least_train_events=100), seed=1)


@pytest.mark.parametrize("scheme", ["stratified", "site_preserved"])
def test_more_folds_than_patients(scheme):
    with pytest.raises(InputError, match=r"survival.folds.folds is 7, but there are 6 patients\. Lower it"):
        split(cohort(6), settings=settings(scheme=scheme, folds=7), seed=1, given=None)


@pytest.mark.parametrize("gone", ["train", "test"])
def test_given_folds_without_a_part(gone):
    people = cohort(40)
    given = pd.DataFrame({"patient": people["patient"], "repeat": 0, "fold": 1})
    given["role"] = np.where(np.arange(40) < 20, "train", "test")
    given.loc[given["role"] == gone, "patient"] = "somebody else"
    given = given.drop_duplicates("patient")
    with pytest.raises(
        InputError, match=rf"repeat 0, fold 1: no patient has the role '{gone}'\. Change survival.folds"
    ):
        split(people, settings=settings(scheme="given", least_train_events=0), seed=1, given=given)
