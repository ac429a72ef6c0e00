import numpy as np
import pytest

from histoweave.survival.reconstruction import correlations, group_correlations


def test_correlations_are_numpys_and_nan_where_nothing_varies():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 30, 3))
    one[:, 2] = 1.0
    found = correlations(one, other)
    np.testing.assert_allclose(found[:2], [np.corrcoef(one[:, i], other[:, i])[0, 1] for i in range(2)])
    assert np.isnan(found[2])
    assert np.isnan(correlations(one[:2], other[:2])).all()


def test_groups_by_hand():
    truth = np.array([[1.0, 0.0, 5.0], [2.0, 0.0, 4.0], [3.0, 3.0, 1.0], [np.nan] * 3])
    predicted = np.array([[1.0, 0.0, 1.0], [2.0, 0.0, 2.0], [3.0, 3.0, 5.0], [9.0, 9.0, 9.0]])
    rows = group_correlations(predicted, truth, groups=["a", "b"], sizes=[2, 1]).set_index("group")
    assert rows.loc["a", ["genes", "patients"]].tolist() == [2, 3]
    assert rows.loc["a", "r_group"] == pytest.approx(1)
    assert rows.loc["a", "r_gene"] == pytest.approx(1)
    assert rows.loc["b", "r_group"] == pytest.approx(np.corrcoef([5, 4, 1], [1, 2, 5])[0, 1])


def test_nobody_with_expression():
    rows = group_correlations(np.zeros((2, 2)), np.full((2, 2), np.nan), groups=["a"], sizes=[2])
    assert rows["patients"].tolist() == [0]
    assert np.isnan(rows.loc[0, ["r_group", "r_gene"]].to_numpy(float)).all()
