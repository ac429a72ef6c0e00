import numpy as np
import pandas as pd
import pytest

from histoweave.expression.blocks import InMemory
from histoweave.expression.residual_moments import residual_moments
from histoweave.expression.sctransform import Model, residual_blocks


def model_of(theta, intercept, slope, *, floor=0.0):
    table = pd.DataFrame({"theta": theta, "intercept": intercept, "slope": slope})
    return Model(2, np.arange(len(table)), table, table.iloc[:0], floor)


def by_cell(counts, depth, model, *, clip, floor):
    parts = residual_blocks(
        InMemory(counts, cells=None), depth, model, genes=np.arange(len(model.genes)), clip=clip, floor=floor
    )
    z = np.vstack([z for _, z in parts])
    return z.mean(axis=0), z.var(axis=0, ddof=1)


def assert_same(counts, depth, model, *, clip, floor):
    found = residual_moments(InMemory(counts, cells=41), depth, model, clip=clip, floor=floor)
    for ours, slow in zip(found, by_cell(counts, depth, model, clip=clip, floor=floor), strict=True):
        np.testing.assert_allclose(ours, slow, rtol=1e-10, atol=1e-12)


@pytest.fixture
def cells(draw):
    """Counts (cell, gene) of which two thirds are zero, and their depth."""
    depth = np.round(draw.lognormal(7.5, 0.8, 260)) + 5
    level = np.exp(draw.normal(-8, 2.0, 50))
    return draw.negative_binomial(1.0, 1.0 / (1.0 + depth[:, None] * level)), depth


def random_model(draw, slope, **more):
    return model_of(draw.choice([0.05, 1.0, 30.0, np.inf], 50), draw.normal(-8, 2.0, 50), slope, **more)


@pytest.mark.parametrize("floor", [0.0, 0.04, 1.0, 4.84, 1e4])
def test_proportional_to_depth_with_a_floor(floor, cells, draw):
    model = random_model(draw, np.full(50, np.log(10)))
    assert_same(*cells, model, clip=16.0, floor=floor)


@pytest.mark.parametrize("slope", [0.0, 1.1, 2.3, 4.4])
def test_any_usual_slope(slope, cells, draw):
    assert_same(*cells, random_model(draw, np.full(50, slope)), clip=16.0, floor=0.0)


@pytest.mark.parametrize("slope", [-2.0, -0.01, 5.0, 25.0])
def test_genes_that_hang_on_depth_otherwise(slope, cells, draw):
    model = random_model(draw, np.where(np.arange(50) % 2, slope, 2.3))
    assert_same(*cells, model, clip=16.0, floor=0.0)


def test_zeros_that_are_cut_themselves(cells, draw):
    model = random_model(draw, np.full(50, np.log(10)))
    assert (by_cell(*cells, model, clip=0.5, floor=0.0)[0] != by_cell(*cells, model, clip=16.0, floor=0.0)[0]).any()
    assert_same(*cells, model, clip=0.5, floor=0.0)


@pytest.mark.parametrize("version", [1, 2])
def test_of_a_fitted_model(version, synth_a, whole_fit):
    counts = synth_a[0]
    depth = counts.sum(axis=1)
    model = whole_fit(InMemory(counts, cells=None), depth, version=version)
    assert_same(
        counts[:, model.genes],
        depth,
        model_of(*model.table[["theta", "intercept", "slope"]].to_numpy().T),
        clip=np.sqrt(300),
        floor=model.floor,
    )


def test_genes_are_taken_by_their_position_and_in_their_order(cells, draw):
    model = random_model(draw, np.full(50, np.log(10)))
    rows = np.array([30, 4, 17])
    whole = residual_moments(InMemory(cells[0], cells=None), cells[1], model, clip=9.0, floor=0.1)
    part = residual_moments(InMemory(cells[0], cells=None), cells[1], model.of_genes(rows), clip=9.0, floor=0.1)
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_allclose(a[rows], b, rtol=1e-12)


def test_cells_of_equal_depth(draw):
    counts, depth = draw.poisson(0.4, (90, 50)), np.full(90, 700.0)
    assert_same(counts, depth, random_model(draw, np.full(50, np.log(10))), clip=9.0, floor=0.04)
