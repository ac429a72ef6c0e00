import numpy as np
import pytest

from histoweave.expression.depth_basis import depth_basis

RANGES = {"all but equal": (1000, 1000.001), "usual": (500, 20_000), "wide": (3, 300_000)}


def depths(name, draw, n=400):
    low, high = RANGES[name]
    inner = np.exp(draw.uniform(np.log(low), np.log(high), n - 2))
    return np.concatenate([[low, high], inner])


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("power", [1, 2])
def test_weights_of_every_size_are_met_to_rounding(name, power, draw):
    depth = depths(name, draw)
    basis = depth_basis(depth)
    at = basis.at(depth)
    for a in 10.0 ** np.arange(-8, 4):
        found = at @ (1 / (1 + a * basis.nodes) ** power)
        np.testing.assert_allclose(found, 1 / (1 + a * depth) ** power, atol=2e-14)


@pytest.mark.parametrize("name", RANGES)
def test_sums_over_cells_become_sums_over_nodes(name, draw):
    depth, count = depths(name, draw), draw.poisson(3.0, 400)
    basis = depth_basis(depth)
    a = 2 / np.median(depth)
    found = (count @ basis.at(depth)) @ (1 / (1 + a * basis.nodes))
    assert found == pytest.approx(np.sum(count / (1 + a * depth)), rel=1e-12)


def test_weights_of_a_cell_add_up_to_one(draw):
    depth = depths("usual", draw)
    np.testing.assert_allclose(depth_basis(depth).at(depth).sum(axis=1), 1, rtol=1e-13)


def test_a_node_takes_all_of_its_own_weight(draw):
    basis = depth_basis(depths("usual", draw))
    np.testing.assert_allclose(basis.at(basis.nodes), np.eye(len(basis.nodes)), atol=1e-11)


def test_wider_ranges_take_more_nodes_but_never_many(draw):
    numbers = [len(depth_basis(depths(name, draw)).nodes) for name in RANGES]
    assert numbers == sorted(numbers)
    assert numbers[-1] < 90


def test_equal_depths_need_one_node():
    basis = depth_basis(np.full(7, 250.0))
    assert basis.nodes == pytest.approx([250])
    np.testing.assert_array_equal(basis.at(np.full(7, 250.0)), np.ones((7, 1)))


def test_a_depth_outside_the_range_is_taken_for_the_nearest_inside(draw):
    basis = depth_basis(depths("usual", draw))
    np.testing.assert_allclose(basis.at(np.array([1.0, 1e9])), basis.at(np.array([500.0, 20_000.0])), atol=1e-11)
