"""The overall score, means over seeds and paired gains, by hand."""

import numpy as np
import pandas as pd
import pytest

from histoweave.genegraph.seeds import gains, over_seeds, with_overall


def table(values):
    """Rows of {method: {metric: value}}."""
    rows = [(method, metric, value) for method, part in values.items() for metric, value in part.items()]
    return pd.DataFrame(rows, columns=["method", "metric", "value"]).assign(lower=np.nan, upper=np.nan)


ONE = table(
    {
        "musegnn": {"auc": 0.9, "asw": 0.6, "cgr": 0.2, "held_out_auc": 0.8},
        "pca": {"auc": 0.5, "asw": 0.8, "cgr": 0.2, "held_out_auc": 0.6},
        "joint_spectral": {"auc": 0.8, "asw": 0.4, "cgr": 0.2, "held_out_auc": 0.7},
    }
)


def values_of(found, metric):
    part = found[found["metric"] == metric]
    return dict(zip(part["method"], part["value"], strict=True))


def test_overall_is_the_mean_of_the_scaled_six():
    found = values_of(with_overall(ONE), "overall")
    # auc: 1, 0, .75; asw: .5, 1, 0; cgr is the same for all and held-out edges are none of the six
    assert found == pytest.approx({"musegnn": 0.75, "pca": 0.5, "joint_spectral": 0.375})


def test_overall_leaves_out_what_a_method_lacks():
    lacking = ONE[~((ONE["method"] == "pca") & (ONE["metric"] == "asw"))]
    assert values_of(with_overall(lacking), "overall") == pytest.approx(
        {"musegnn": 1.0, "pca": 0.0, "joint_spectral": 0.75}
    )


def test_one_method_alone_has_no_overall_score():
    alone = ONE[ONE["method"] == "musegnn"]
    assert with_overall(alone).equals(alone)


def shifted(by):
    return ONE.assign(value=ONE["value"] + np.where(ONE["method"] == "musegnn", by, 0.0))


def test_intervals_over_seeds_are_those_of_the_t_test():
    tables = [shifted(by) for by in (0.0, 0.01, 0.05)]
    found = over_seeds(tables).set_index(["method", "metric"]).loc[("musegnn", "auc")]
    values = np.array([0.9, 0.91, 0.95])
    half = 4.302653 * values.std(ddof=1) / np.sqrt(3)  # t, 2 degrees of freedom
    assert found["value"] == pytest.approx(values.mean())
    assert (found["lower"], found["upper"]) == pytest.approx((values.mean() - half, values.mean() + half))
    assert found["seeds"] == 3


def test_a_single_seed_keeps_the_intervals_of_its_edges():
    one = ONE.assign(lower=0.1, upper=0.95)
    assert over_seeds([one]).drop(columns="seeds").equals(one)


def test_gains_are_paired_by_seed():
    """Both move together by a lot, their difference hardly at all: only pairing sees it."""
    together = [ONE.assign(value=ONE["value"] + both) for both in (0.0, 0.1, -0.1)]
    together[1].loc[together[1]["method"] == "musegnn", "value"] += 0.001
    found = gains(together).set_index(["method", "metric"])
    assert found.loc[("pca", "auc"), "difference"] == pytest.approx(0.4 + 0.001 / 3)
    assert found.loc[("pca", "auc"), "lower"] > 0.39
    assert "musegnn" not in found.index.get_level_values("method")


def test_gains_of_one_seed_have_no_interval():
    found = gains([ONE])
    assert found[["lower", "upper"]].isna().all(axis=None)
    assert found.set_index(["method", "metric"]).loc[("joint_spectral", "asw"), "difference"] == pytest.approx(0.2)
