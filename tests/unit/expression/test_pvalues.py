import numpy as np
import pytest

from histoweave.expression.pvalues import (
    benjamini_hochberg,
    benjamini_yekutieli,
    cauchy_combination,
    log_cauchy_combination,
)


def test_cauchy_combination_equals_acat(golden):
    table = golden("units/unit_acat").reset_index()
    for text, expected in zip(table["p"], table["acat"], strict=True):
        p = np.array([float(value) for value in text.split(";")])
        assert cauchy_combination(p) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_q_values_equal_r(golden):
    table = golden("units/unit_padjust").reset_index()
    p = table["p"].to_numpy()
    np.testing.assert_allclose(benjamini_yekutieli(p), table["BY"], rtol=1e-12)
    np.testing.assert_allclose(benjamini_hochberg(p), table["BH"], rtol=1e-12)


def test_untested_entries_stay_untested_and_do_not_count():
    with_gap = benjamini_hochberg(np.array([0.01, np.nan, 0.04]))
    assert np.isnan(with_gap[1])
    np.testing.assert_allclose(with_gap[[0, 2]], benjamini_hochberg(np.array([0.01, 0.04])))
    assert benjamini_hochberg(np.array([])).shape == (0,)


def test_combination_of_equal_values_is_that_value():
    p = np.full((3, 5), [[0.3], [1e-5], [1e-80]])
    np.testing.assert_allclose(cauchy_combination(p), p[:, 0], rtol=1e-10)


def test_zero_wins_over_one():
    assert cauchy_combination(np.array([0.0, 1.0, 0.5])) == 0
    assert cauchy_combination(np.array([0.2, 1.0])) == 1


def test_log_of_the_combination_goes_on_below_the_floats():
    log_p = np.array([[-5000.0, -1.0], [-2.0, -1.0]])
    combined = cauchy_combination(np.exp(log_p))
    found = log_cauchy_combination(log_p, combined)
    assert found[0] == pytest.approx(-5000 + np.log(2))
    assert found[1] == pytest.approx(np.log(combined[1]))
