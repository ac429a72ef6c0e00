import numpy as np
import pandas as pd
import pytest
from scipy import stats

from histoweave.errors import InputError
from histoweave.expression.blocks import InMemory
from histoweave.expression.sparkx import rank_genes, sparkx

PLAIN = {
    "option": "mixture",
    "pvalue": "exact",
    "rank_deficient": "drop",
    "covariates": None,
    "depth": None,
}
KERNELS = ["projection", *(f"gaussian{k}" for k in range(1, 6)), *(f"cosine{k}" for k in range(1, 6))]


def run(counts, coords, **changes):
    return sparkx(InMemory(counts, cells=150), coords, **(PLAIN | changes))


def case(name, synth_b):
    counts, coords, covariates, names = synth_b
    if name == "3d":
        coords = np.column_stack([coords, (coords[:, 0] * coords[:, 1]) % 97])
    changes = {"single": {"option": "single"}, "covar": {"covariates": covariates}}.get(name, {})
    return counts, coords, changes, names


@pytest.mark.parametrize("name", ["mixture", "single", "covar", "3d"])
def test_statistics_equal_the_r_package(name, golden, synth_b):
    counts, coords, changes, names = case(name, synth_b)
    expected = golden(f"sparkx/sparkx_synthB_{name}")
    rows = pd.Index(names).get_indexer(expected.index)
    test = run(counts, coords, **changes)
    assert list(test.kernels) == KERNELS[: 1 if name == "single" else 11]
    statistics = expected[[c for c in expected if c.startswith("stat_")]]
    np.testing.assert_allclose(test.statistic[rows], statistics, rtol=1e-8)


@pytest.mark.parametrize("name", ["mixture", "single", "covar", "3d"])
def test_exact_p_is_the_chi_square_tail_and_near_r(name, golden, synth_b):
    counts, coords, changes, names = case(name, synth_b)
    expected = golden(f"sparkx/sparkx_synthB_{name}")
    rows = pd.Index(names).get_indexer(expected.index)
    test = run(counts, coords, **changes)
    p = test.table[[f"p_{kernel}" for kernel in test.kernels]].to_numpy()[rows]
    tail = stats.chi2.sf(test.statistic[rows] / test.scale[rows, None], df=coords.shape[1])
    np.testing.assert_allclose(p, tail, rtol=1e-12)
    np.testing.assert_allclose(p, expected[[c for c in expected if c.startswith("p_")]], atol=5e-5)


def test_genes_without_pattern_have_uniform_p(draw):
    coords = draw.uniform(0, 100, (300, 2))
    table = run(draw.poisson(2.0, (300, 400)), coords).table
    for kernel in KERNELS:
        assert stats.kstest(table[f"p_{kernel}"], "uniform").pvalue > 1e-4
    assert np.mean(table["p_value"] < 0.05) < 0.08


def test_planted_patterns_come_first(synth_b):
    counts, coords, _, names = synth_b
    table = run(counts, coords).table.assign(rank=lambda t: rank_genes(t, names))
    order = names[np.argsort(table["rank"])]
    assert sum(int(name[1:]) < 70 for name in order[:40]) >= 38


def test_result_is_the_same_for_moved_turned_and_stretched_units(synth_b):
    counts, coords, _, _ = synth_b
    base = run(counts, coords)
    other = run(counts, coords[:, ::-1] * 0.25 + 1e4)
    np.testing.assert_allclose(base.statistic, other.statistic, rtol=1e-6)


def test_result_does_not_depend_on_the_blocks(synth_b):
    counts, coords, _, _ = synth_b
    one, many = (sparkx(InMemory(counts, cells=cells), coords, **PLAIN) for cells in (None, 7))
    np.testing.assert_allclose(one.statistic, many.statistic, rtol=1e-12)


def test_an_intercept_is_not_needed_among_the_covariates(synth_b):
    counts, coords, covariates, _ = synth_b
    with_one = np.column_stack([np.ones(len(covariates)), covariates])
    np.testing.assert_allclose(
        run(counts, coords, covariates=covariates).statistic, run(counts, coords, covariates=with_one).statistic
    )


def test_constant_and_empty_genes_are_flagged_not_tested(draw):
    counts = draw.poisson(3.0, (50, 4))
    counts[:, 1], counts[:, 2] = 2, 0
    table = run(counts, draw.uniform(0, 9, (50, 2))).table
    assert table["constant"].tolist() == [False, True, True, False]
    assert table.loc[[1, 2], ["p_value", "q_value", "p_projection"]].isna().all(axis=None)
    assert rank_genes(table, np.array(list("dcba")))[[2, 1]].tolist() == [3, 4]


def test_collinear_kernels_of_a_grid_are_dropped_and_counted(draw):
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), axis=-1).reshape(-1, 2)
    test = run(draw.poisson(3.0, (25, 30)), grid)
    assert (test.ranks == 0).sum() >= 1
    assert (test.ranks == 0).sum() < 11
    dropped = [f"p_{kernel}" for kernel, rank in zip(test.kernels, test.ranks, strict=True) if rank == 0]
    assert test.table[dropped].isna().all(axis=None)
    assert test.table["p_value"].notna().all()


def test_collinear_kernels_can_be_used_with_the_rank_they_have(draw):
    grid = np.stack(np.meshgrid(np.arange(3.0), np.arange(30.0)), axis=-1).reshape(-1, 2)
    test = run(draw.poisson(3.0, (90, 200)), grid, rank_deficient="reduce")
    assert (test.ranks == 1).any()
    one = int(np.flatnonzero(test.ranks == 1)[0])
    p = test.table[f"p_{test.kernels[one]}"]
    assert stats.kstest(p, "uniform").pvalue > 1e-4


def test_spots_on_one_line_are_refused(draw):
    line = np.column_stack([np.arange(40.0), 3 * np.arange(40.0) + 1])
    with pytest.raises(InputError, match="collinear"):
        run(draw.poisson(3.0, (40, 5)), line)


def test_missing_coordinates_are_refused(draw):
    coords = draw.uniform(0, 9, (40, 2))
    coords[3, 1] = np.nan
    with pytest.raises(InputError, match=r"1 of 40 spots have no finite coordinate \(first: row 3\)"):
        run(draw.poisson(3.0, (40, 5)), coords)
    with pytest.raises(InputError, match=r"coordinates have shape \(40, 1\)"):
        run(draw.poisson(3.0, (40, 5)), coords[:, :1])


def test_dependent_covariates_are_refused(synth_b):
    counts, coords, covariates, _ = synth_b
    with pytest.raises(InputError, match="depend on each other"):
        run(counts, coords, covariates=np.column_stack([covariates, covariates.sum(axis=1)]))


def test_p_too_small_for_a_float_still_ranks(draw):
    coords = draw.uniform(0, 1, (6000, 2))
    rate = np.column_stack([np.where(coords[:, 0] > 0.5, high, 0.01) for high in (3, 9)])
    rate = np.column_stack([rate, np.full(len(coords), 5.0)])  # without it, empty spots would be left out
    table = run(draw.poisson(rate), coords).table
    assert (table["p_value"][:2] == 0).all()
    assert rank_genes(table, np.array(["a", "b", "c"])).tolist() == [2, 1, 3]


def test_covariates_with_gaps_are_refused(synth_b):
    counts, coords, covariates, _ = synth_b
    holes = np.array(covariates, dtype=float)
    holes[[2, 5], 0] = np.nan
    with pytest.raises(InputError, match=r"2 spots lack a covariate value\. Complete it in obs, or change expression"):
        run(counts, coords, covariates=holes)
