import numpy as np
import pandas as pd
import pytest

from histoweave.plots import choices
from histoweave.plots.choices import CannotDrawError
from histoweave.plots.style import alternative_text


def test_need_takes_rows_or_says_which_are_missing():
    tables = {"metrics": pd.DataFrame({"model": ["a", "b"], "metric": ["c", "c"]})}
    assert len(choices.need(tables, "metrics", model=["a", "b"])) == 2
    assert choices.need(tables, "metrics", model="b")["model"].tolist() == ["b"]
    with pytest.raises(CannotDrawError, match="'metrics' has no row of model z, metric c"):
        choices.need(tables, "metrics", model="z", metric="c")


def test_at_most_three_horizons_from_the_first_to_the_last():
    rows = pd.DataFrame({"horizon_days": [100.0, 200.0, 300.0, 400.0, 500.0, 500.0]})
    assert choices.few_horizons(rows)["horizon_days"].tolist() == [100, 300, 500, 500]
    assert len(choices.few_horizons(rows[:3])) == 3


def test_hazard_ratios_stand_alone_and_adjusted():
    rows = [("m", "", 2.0, 1.5, 2.5), ("m", "age", 1.8, 1.4, 2.2)]
    table = pd.DataFrame(rows, columns=["model", "adjusted_for", "hazard_ratio", "lower", "upper"])
    text = alternative_text(choices.hazards({"hazard_ratios": table}))
    assert "m, alone 2.00 (1.50 to 2.50); m, adjusted 1.80" in text


def test_subgroups_are_those_of_the_model():
    rows = [("a", "sex", "f", "c_index", 0.6, 0.5, 0.7), ("b", "sex", "f", "c_index", 0.9, 0.8, 1.0)]
    table = pd.DataFrame(rows, columns=["model", "variable", "level", "metric", "estimate", "lower", "upper"])
    text = alternative_text(choices.subgroups({"subgroups": table}, "a"))
    assert "sex: f 0.60" in text
    assert "0.90" not in text


def test_models_without_epochs_have_no_curve():
    columns = ["repeat", "fold", "epoch", "part", "quantity", "value"]
    cox = pd.DataFrame([(0, 0, 0, "train", "penalty", 0.1)], columns=columns)
    with pytest.raises(CannotDrawError, match="trained in epochs"):
        choices.learning({"training/cox": cox, "training/none": None}, ("cox", "none"))
    net = pd.DataFrame([(0, 0, epoch, "train", "loss", 1.0) for epoch in range(3)], columns=columns)
    net = pd.concat([net, net.assign(part="mixtures", value=9.0)])  # stage 1, whose loss is of another kind
    figure = choices.learning({"training/cox": cox, "training/net": net}, ("cox", "net"))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["net"]
    assert {tuple(line.get_ydata()) for line in figure.axes[0].lines} == {(1.0, 1.0, 1.0)}


def test_balance_is_drawn_for_models_that_watch_two_branches():
    columns = ["repeat", "fold", "epoch", "part", "quantity", "value"]
    names = ("c_index", "c_index_gene", "c_index_slide", "loss")
    both = pd.DataFrame([(0, 0, e, "validation", name, 0.6) for name in names for e in (1, 2)], columns=columns)
    one = both[both["quantity"].isin(["c_index", "loss"])]
    figure = choices.balanced(
        {"training/both": both, "training/one": one, "training/cox": None}, ("one", "both", "cox")
    )
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["both"]
    with pytest.raises(CannotDrawError, match="two modalities"):
        choices.balanced({"training/one": one}, ("one",))


def test_calibration_without_an_estimate_is_not_drawn():
    table = pd.DataFrame({"model": ["a"], "horizon_days": [1.0], "predicted": [np.nan], "observed": [np.nan]})
    with pytest.raises(CannotDrawError, match="calibration could be estimated"):
        choices.calibrated({"calibration": table})


def test_logrank_stands_in_the_corner():
    curve = {"model": "m", "group": "low", "time_days": [1.0, 2.0], "survival": 0.9, "lower": 0.8, "upper": 1.0}
    at_risk = {"model": "m", "group": "low", "time_days": [0.0], "at_risk": [5.0]}
    tables = {"kaplan_meier": pd.DataFrame(curve), "at_risk": pd.DataFrame(at_risk)}
    for p_value, note in ((0.0002, "log-rank p < 0.001"), (0.04, "log-rank p = 0.040")):
        tables["logrank"] = pd.DataFrame({"model": ["m"], "p_value": [p_value]})
        assert note in alternative_text(choices.risk_groups(tables, "m"))
    tables["logrank"] = pd.DataFrame({"model": ["m"], "p_value": [np.nan]})
    assert "log-rank" not in alternative_text(choices.risk_groups(tables, "m"))


def test_decisions_without_an_estimate_are_not_drawn():
    rows = [("m", 365.0, 0.1 * k, 0.02 * k, "") for k in range(1, 4)]
    columns = ["model", "horizon_days", "threshold", "net_benefit", "reason"]
    table = pd.DataFrame(rows, columns=columns)
    assert choices.decisions({"decision": table}).axes
    with pytest.raises(CannotDrawError, match="no net benefit could be estimated"):
        choices.decisions({"decision": table.assign(net_benefit=np.nan)})


def test_calibration_is_drawn_at_its_horizons():
    rows = [("m", day, k, k / 5, k / 4, 0.1, 0.9) for day in (100.0, 200.0) for k in (1, 2)]
    columns = ["model", "horizon_days", "group", "predicted", "observed", "lower", "upper"]
    assert choices.calibrated({"calibration": pd.DataFrame(rows, columns=columns)}).axes


def test_added_value_is_the_change_over_the_covariates():
    table = pd.DataFrame({"model": ["m"], "covariates": ["age"], "change": [0.04], "lower": [0.01], "upper": [0.07]})
    assert "m 0.04 (0.01 to 0.07)" in alternative_text(choices.added({"added_value": table}))


def test_reconstruction_stands_by_model_and_group():
    rows = [("m", "kinases", 0.3, 0.1, 0.5), ("n", "kinases", 0.2, 0.0, 0.4)]
    table = pd.DataFrame(rows, columns=["model", "group", "estimate", "lower", "upper"])
    text = alternative_text(choices.reconstructed({"reconstruction": table}))
    assert "m: kinases 0.30 (0.10 to 0.50)" in text
    assert "n: kinases 0.20 (0.00 to 0.40)" in text
