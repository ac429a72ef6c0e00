import numpy as np
import pytest

from histoweave.expression.loess import loess


def test_a_parabola_is_reproduced_by_its_vertices(draw):
    x = np.sort(draw.uniform(0, 1, 60))
    y = 2 - x + 3 * x**2
    np.testing.assert_allclose(loess(x, y, span=0.5), y, rtol=1e-10)


def test_order_of_the_points_does_not_matter(draw):
    x, y = draw.uniform(0, 1, 80), draw.normal(size=80)
    shuffled = draw.permutation(80)
    np.testing.assert_array_equal(loess(x, y, span=0.4)[shuffled], loess(x[shuffled], y[shuffled], span=0.4))


def test_noise_is_smoothed(draw):
    x = np.linspace(0, 1, 300)
    y = np.sin(3 * x) + draw.normal(0, 0.2, 300)
    fitted = loess(x, y, span=0.5)
    assert np.sqrt(np.mean((fitted - np.sin(3 * x)) ** 2)) < 0.06
    assert fitted[0] == pytest.approx(0, abs=0.2)
