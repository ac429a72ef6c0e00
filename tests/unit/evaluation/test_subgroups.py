import numpy as np
import pandas as pd
import pytest

from evaluation.cohorts import panel_of
from histoweave.evaluation.intervals import BootstrapSettings
from histoweave.evaluation.scores import NO_HORIZON, pool, score_predictions
from histoweave.evaluation.subgroups import WITHOUT_SITE, SubgroupSettings, subgroup_levels, subgroup_rows

BOOTSTRAP = BootstrapSettings(draws=50, confidence=0.95)


def table(n=120):
    number = np.arange(n)
    return pd.DataFrame(
        {
            "site": np.array(["A", "B"])[number % 2],
            "has_slide": True,
            "has_expression": number % 10 != 0,
            "age": np.where(number == 5, np.nan, 30.0 + number % 60),
            "stage": np.array(["I", "II", None])[number % 3],
            "grade": 1.0 + number % 3,
            "marker": number.astype(float),
            "name": [f"P{i}" for i in number],
        }
    )


def rows_of(levels, min_events=5):
    panel, weights, (model,) = panel_of(0, draws=50)
    settings = SubgroupSettings(min_events=min_events, age_bands=())
    return panel, model, subgroup_rows(panel, model, levels, weights, settings=settings, bootstrap=BOOTSTRAP)


def test_levels_of_each_variable():
    found = subgroup_levels(table(), ["age", "stage", "grade", "marker", "name"], age_bands=(50, 65))
    assert list(found) == ["site", "has_expression", "age", "stage", "grade", "marker"]
    assert found["age"].cat.categories.tolist() == ["below 50", "50 to below 65", "65 and above"]
    assert found["age"][[0, 20, 35]].tolist() == ["below 50", "50 to below 65", "65 and above"]
    assert pd.isna(found["age"][5])
    assert sorted(found["grade"].unique()) == ["1", "2", "3"]
    assert found["marker"].cat.categories.tolist() == ["below 59.5", "59.5 and above"]
    assert found["has_expression"].unique().tolist() == ["no", "yes"]


def test_c_index_of_a_subgroup_is_that_of_its_patients():
    levels = {"half": pd.Series(np.where(np.arange(120) < 60, "first", "second"))}
    panel, model, rows = rows_of(levels)
    assert rows["level"].tolist() == ["first", "second"]
    assert rows["n_patients"].tolist() == [60, 60]
    assert rows["n_events"].sum() == panel.event.sum()
    alone = score_predictions(model.only(np.arange(60)), np.ones((1, 120)), horizons=[], grid=[], tau_quantile=1.0)
    assert rows["estimate"][0] == pytest.approx(pool(alone)["c_index", NO_HORIZON][0])
    assert rows["lower"][0] < rows["estimate"][0] < rows["upper"][0]


def test_few_events_are_suppressed():
    panel, _, rows = rows_of({"half": pd.Series(np.where(np.arange(120) < 9, "few", "many"))}, min_events=20)
    assert np.isnan(rows["estimate"][0])
    assert rows["reason"][0] == f"suppressed: {int(panel.event[:9].sum())} events, fewer than 20"
    assert rows["reason"][1] == ""


def test_each_site_is_left_out_in_turn():
    _, model, rows = rows_of({"site": pd.Series(np.array(list("ABC"))[np.arange(120) % 3])})
    assert rows["variable"].tolist() == ["site", WITHOUT_SITE] * 3
    assert rows["n_patients"].tolist() == [40, 80] * 3
    alone = score_predictions(
        model.only(np.flatnonzero(np.arange(120) % 3 != 1)), np.ones((1, 120)), horizons=[], grid=[], tau_quantile=1.0
    )
    assert rows["estimate"][3] == pytest.approx(pool(alone)["c_index", NO_HORIZON][0])
    assert np.isnan(rows["lower"][3])
