import numpy as np
import pytest

from histoweave.expression.smoothing import bandwidth_sj, find_root, kernel_smooth, outliers


def test_bandwidth_equals_r(golden):
    inputs, expected = golden("units/unit_bw_inputs"), golden("units/unit_bw")
    for name, row in expected.iterrows():
        assert bandwidth_sj(inputs.loc[name, "x"].to_numpy()) == pytest.approx(row["bwSJ"], rel=1e-13)


def test_bandwidth_scales_with_the_data(draw):
    x = draw.normal(size=200)
    assert bandwidth_sj(7 * x) == pytest.approx(7 * bandwidth_sj(x))


def test_smooth_equals_r(golden):
    points, expected = golden("units/unit_ksmooth_in").reset_index(), golden("units/unit_ksmooth_out").reset_index()
    found = kernel_smooth(points["x"].to_numpy(), points[["y"]].to_numpy(), expected["x"].to_numpy(), bandwidth=0.35)
    np.testing.assert_allclose(found[:, 0], expected["y"], rtol=1e-12)


def test_smooth_keeps_constants_and_knows_its_limits(draw):
    x = draw.uniform(0, 1, 50)
    found = kernel_smooth(x, np.full((50, 1), 3.5), np.array([0.5, 50.0]), bandwidth=0.2)
    assert found[0, 0] == pytest.approx(3.5)
    assert np.isnan(found[1, 0])


@pytest.mark.parametrize("threshold", [1, 10])
def test_outliers_equal_r(threshold, golden):
    table = golden("units/unit_is_outlier").reset_index()
    found = outliers(table["y"].to_numpy(), table["x"].to_numpy(), threshold=threshold)
    np.testing.assert_array_equal(found, table[f"outlier_th{threshold}"].astype(bool))


def test_root_is_found_to_the_tolerance():
    assert find_root(lambda x: x**3 - 2, 0, 4, tolerance=1e-12) == pytest.approx(2 ** (1 / 3), abs=1e-11)


def test_bandwidth_of_data_whose_middle_half_is_one_value(draw):
    x = np.concatenate([np.zeros(60), draw.normal(size=40)])  # the quartiles say nothing of the spread
    width = bandwidth_sj(x)
    assert 0 < width < x.std()
    assert bandwidth_sj(x * 3) == pytest.approx(3 * width)


def test_root_of_what_never_ends_is_the_best_so_far():
    found = find_root(lambda x: 1.0 if x > 1 else -1.0, 0.0, 4.0, tolerance=0.0)
    assert found == pytest.approx(1.0, abs=1e-12)
