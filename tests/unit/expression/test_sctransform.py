import numpy as np
import pytest

from histoweave.errors import InputError
from histoweave.expression.blocks import InMemory
from histoweave.expression.residual_moments import residual_moments
from histoweave.expression.sctransform import draw_evenly, fit, residual_blocks, variance_floor

ALL = {"min_cells": 5, "fit_cells": None, "fit_genes": None}


def fitted(synth_a, version, **changes):
    counts, _, _ = synth_a
    generator = np.random.default_rng(0)
    return fit(InMemory(counts, cells=64), counts.sum(axis=1), version=version, generator=generator, **(ALL | changes))


@pytest.mark.parametrize(("version", "theta", "rest"), [(1, 1e-6, 1e-8), (2, 1e-2, 1e-8)])
def test_step_1_equals_r(version, theta, rest, golden, synth_a):
    model = fitted(synth_a, version)
    expected = golden(f"sctransform/sct_synthA_v{version}_step1")
    assert synth_a[2][model.step1["gene"]].tolist() == expected.index.tolist()
    np.testing.assert_array_equal(model.step1["outlier"], expected["outlier"].astype(bool))
    np.testing.assert_allclose(model.step1["theta"], expected["theta"], rtol=theta)
    np.testing.assert_allclose(model.step1["intercept"], expected["intercept"], rtol=rest)
    np.testing.assert_allclose(model.step1["slope"], expected["log_umi"], rtol=rest)
    finite = np.isfinite(expected["theta"])
    assert np.median(np.abs(model.step1["theta"] / expected["theta"].to_numpy() - 1)[finite.to_numpy()]) < 1e-8


@pytest.mark.parametrize(("version", "tolerance"), [(1, 1e-8), (2, 1e-5)])
def test_model_and_residual_variance_equal_r(version, tolerance, golden, synth_a):
    counts, _, names = synth_a
    model = fitted(synth_a, version)
    expected = golden(f"sctransform/sct_synthA_v{version}_genes")
    assert names[model.genes].tolist() == expected.index.tolist()
    for ours, theirs in [("theta", "fit_theta"), ("intercept", "fit_intercept"), ("slope", "fit_log_umi")]:
        np.testing.assert_allclose(model.table[ours], expected[theirs], rtol=1e-6)
    blocks, depth = InMemory(counts, cells=64), counts.sum(axis=1)
    mean, variance = residual_moments(blocks, depth, model, clip=np.sqrt(len(depth)), floor=model.floor)
    np.testing.assert_allclose(variance, expected["residual_variance"], rtol=tolerance)
    np.testing.assert_allclose(mean, expected["residual_mean"], atol=1e-6)
    top = set(np.argsort(-variance, kind="stable")[:50])
    assert top == set(np.argsort(-expected["residual_variance"].to_numpy(), kind="stable")[:50])


@pytest.mark.parametrize(("version", "tolerance"), [(1, 1e-9), (2, 1e-5)])
def test_residuals_equal_r(version, tolerance, golden, synth_a):
    counts, _, names = synth_a
    model = fitted(synth_a, version)
    expected = golden(f"sctransform/sct_synthA_v{version}_residuals").to_numpy()
    depth, clip = counts.sum(axis=1), np.sqrt(len(counts))
    parts = residual_blocks(
        InMemory(counts, cells=64), depth, model, genes=np.arange(len(model.genes)), clip=clip, floor=model.floor
    )
    found = np.vstack([z for _, z in parts])
    expected = expected if expected.shape == found.shape else expected.T
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_deeper_cells_have_no_larger_residuals(draw):
    depth = draw.integers(300, 6000, 500)
    counts = draw.poisson(depth[:, None] * draw.gamma(2.0, 0.001, (1, 120)) * draw.gamma(3.0, 1 / 3, (500, 120)))
    total = counts.sum(axis=1).astype(float)
    blocks = InMemory(counts, cells=None)
    model = fit(blocks, total, version=2, generator=draw, **ALL)
    (_, z), *_ = residual_blocks(blocks, total, model, genes=np.arange(len(model.genes)), clip=22.0, floor=0.0)
    correlation = [abs(np.corrcoef(z[:, g], total)[0, 1]) for g in range(z.shape[1])]
    assert np.mean(correlation) < 0.1
    assert np.median(z.var(axis=0)) == pytest.approx(1, abs=0.15)


def test_a_list_and_a_number_of_genes_limit_step_1(synth_a):
    chosen = np.arange(0, 60)
    assert set(fitted(synth_a, 2, fit_genes=chosen).step1["gene"]) <= set(chosen)
    assert len(fitted(synth_a, 2, fit_genes=90).step1) == 90


def test_cells_of_step_1_can_be_given(synth_a):
    some = fitted(synth_a, 2, fit_cells=np.arange(0, 300, 2))
    assert len(some.table) == len(fitted(synth_a, 2).table)
    assert not np.allclose(some.table["theta"], fitted(synth_a, 2).table["theta"])


def test_drawn_genes_spread_over_the_range(draw):
    x = np.concatenate([draw.normal(0, 0.1, 950), draw.uniform(2, 3, 50)])
    chosen = draw_evenly(x, 100, draw)
    assert len(np.unique(chosen)) == 100
    assert np.sum(x[chosen] > 1.5) > 20


def test_floor_is_the_median_of_the_non_zero_counts(draw):
    counts = draw.poisson(1.5, (40, 30)) * 3
    expected = (np.median(counts[counts > 0]) / 5) ** 2
    assert variance_floor(InMemory(counts, cells=9)) == pytest.approx(expected)


def test_too_uniform_data_is_refused():
    counts = np.ones((30, 8))
    with pytest.raises(InputError, match=r"0 genes are varied enough.*engine to pearson"):
        fit(InMemory(counts, cells=None), counts.sum(axis=1), version=2, generator=np.random.default_rng(0), **ALL)


def test_a_cell_without_counts_is_refused(synth_a):
    counts = synth_a[0].copy()
    counts[4] = 0
    with pytest.raises(InputError, match=r"1 of 300 cells have no counts \(first: row 4\)"):
        fit(InMemory(counts, cells=None), counts.sum(axis=1), version=2, generator=np.random.default_rng(0), **ALL)
