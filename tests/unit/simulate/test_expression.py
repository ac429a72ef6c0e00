import numpy as np
import pytest

from histoweave.simulate import expression
from histoweave.simulate.cohort import MODULES
from histoweave.simulate.genes import BLOOD_TYPES, TUMOUR_TYPES


def log_shares(counts):
    return np.log1p(counts / counts.sum(axis=1, keepdims=True) * 3000)


def module_correlation(data, genes, name):
    """Mean correlation within a module, and of its genes with those of other modules."""
    table = genes.table.set_index("gene").loc[data.genes]
    values = log_shares(data.counts)
    correlation = np.corrcoef(values.T)
    inside = np.flatnonzero(table["module"] == name)
    outside = np.flatnonzero(~table["module"].isin([name, ""]))
    within = correlation[np.ix_(inside, inside)][np.triu_indices(len(inside), 1)]
    return within.mean(), np.abs(correlation[np.ix_(inside, outside)].mean())


@pytest.fixture(scope="module")
def blood(genes, settings):
    return expression.simulate_cells(genes, "blood_1", cells=settings.cells, seed=settings.seed)


@pytest.fixture(scope="module")
def spots(genes, settings):
    return expression.simulate_spots(genes, "tumour_st", spots=settings.spots, seed=settings.seed)


def test_bulk_recovers_module_activity(genes, cohort, settings):
    activity = cohort.truth[list(MODULES)].to_numpy()
    counts, shares = expression.simulate_bulk(genes, activity, cohort.patients["site"].to_numpy(), seed=settings.seed)
    values = log_shares(counts)
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    for column, name in enumerate(MODULES):
        mean = values[:, genes.table["module"] == name].mean(axis=1)
        assert np.corrcoef(mean, activity[:, column])[0, 1] > 0.9
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_bulk_is_a_mixture_of_cell_types(genes, cohort, settings):
    n = len(cohort.patients)
    counts, shares = expression.simulate_bulk(
        genes, np.zeros((n, len(MODULES))), cohort.patients["site"].to_numpy(), seed=settings.seed
    )
    values = log_shares(counts)
    for column, kind in enumerate(TUMOUR_TYPES):
        mean = values[:, genes.table["marker_of"] == kind].mean(axis=1)
        assert np.corrcoef(mean, shares[:, column])[0, 1] > 0.85


def test_cells_show_modules_but_not_the_silent_one(blood, genes):
    for name in ("module_1", "module_3"):
        within, between = module_correlation(blood, genes, name)
        assert within > 0.3
        assert between < 0.05
    assert module_correlation(blood, genes, "module_8")[0] < 0.15


def test_cells_have_named_types_raw_counts_and_some_debris(blood, settings):
    assert set(blood.obs["cell_type"]) == set(BLOOD_TYPES)
    assert blood.counts.dtype == np.int32
    assert blood.counts.shape == (settings.cells, 2000 - expression.MISSING_GENES)
    mitochondrial = np.char.startswith(blood.genes.astype(str), "MT-")
    share = blood.counts[:, mitochondrial].sum(axis=1) / blood.counts.sum(axis=1)
    assert 1 <= (share > 0.25).sum() <= 0.06 * settings.cells


def test_datasets_of_one_tissue_differ_in_genes_and_cells(blood, genes, settings):
    other = expression.simulate_cells(genes, "blood_2", cells=settings.cells, seed=settings.seed)
    assert set(other.genes) != set(blood.genes)
    assert set(blood.obs["cell"]).isdisjoint(other.obs["cell"])


def test_spots_have_domains_with_their_own_module(spots, genes):
    values = log_shares(spots.counts)
    for number, domain in enumerate(expression.DOMAINS):
        inside = (spots.obs["domain"] == domain).to_numpy()
        assert inside.sum() > 10
        level = values[:, genes.table["module"] == MODULES[number]].mean(axis=1)
        assert level[inside].mean() > level[~inside].mean() + 0.3


def test_grid_is_hexagonal():
    grid = expression.hexagonal(100)
    apart = np.linalg.norm(grid[:, None] - grid[None], axis=2) + 1e9 * np.eye(100)
    np.testing.assert_allclose(apart.min(axis=1), expression.SPOT_UM)
    assert ((apart < expression.SPOT_UM * 1.01).sum(axis=1) == 6).sum() > 50
