import numpy as np
import pytest

from histoweave.expression.blocks import InMemory
from histoweave.expression.hvg import dispersion, rank_by, standardised_variance


def test_statistics_and_order_equal_seurat(golden, synth_a):
    counts, _, names = synth_a
    found = standardised_variance(InMemory(counts, cells=77), span=0.3)
    expected = golden("sctransform/hvg_seurat_vst_synthA").loc[names]
    np.testing.assert_allclose(found["variance"], expected["vst.variance"], rtol=1e-12)
    np.testing.assert_allclose(found["expected_variance"], expected["vst.variance.expected"], rtol=1e-11)
    scores = expected["vst.variance.standardized"].to_numpy()
    np.testing.assert_allclose(found["standardised_variance"], scores, rtol=1e-11)
    np.testing.assert_array_equal(
        rank_by(found["standardised_variance"].to_numpy().round(12), names), rank_by(scores.round(12), names)
    )


def test_ties_go_by_name_whatever_the_order_of_the_file():
    names, score = np.array(["b", "a", "d", "c"]), np.array([1.0, 1.0, 2.0, np.nan])
    ranks = dict(zip(names, rank_by(score, names), strict=True))
    turned = dict(zip(names[::-1], rank_by(score[::-1], names[::-1]), strict=True))
    assert ranks == turned == {"d": 1, "a": 2, "b": 3, "c": 4}


@pytest.mark.parametrize("flavour", ["seurat", "cell_ranger"])
def test_scanpy_flavours_prefer_planted_genes(flavour, draw):
    counts = draw.poisson(2.0, (200, 300))
    counts[:, :5] = draw.poisson(np.where(np.arange(200) < 40, 6, 1)[:, None], (200, 5))  # mean 2 as well
    found = dispersion(InMemory(counts, cells=None), flavour=flavour)
    assert found.shape == (300,)
    assert set(np.argsort(-found)[:5]) == set(range(5))


@pytest.mark.parametrize("flavour", ["seurat", "cell_ranger"])
@pytest.mark.parametrize("cells", [None, 37])
def test_dispersions_equal_scanpy(flavour, cells, synth_a):
    import anndata as ad
    import scanpy as sc

    counts = synth_a[0][:, synth_a[0].any(axis=0)]
    data = ad.AnnData(counts.copy())
    sc.pp.normalize_total(data, target_sum=1e4)
    sc.pp.log1p(data)
    expected = sc.pp.highly_variable_genes(data, flavor=flavour, n_top_genes=50, inplace=False)["dispersions_norm"]
    found = dispersion(InMemory(counts, cells=cells), flavour=flavour)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_a_gene_without_variance_has_no_dispersion_and_comes_last(draw):
    counts = draw.poisson(3.0, (60, 40))
    counts[:, 7] = 0
    found = dispersion(InMemory(counts, cells=None), flavour="seurat")
    assert np.isnan(found[7])
    assert np.isfinite(np.delete(found, 7)).all()
    assert rank_by(found, [f"g{i:02}" for i in range(40)])[7] == 40


def test_a_constant_gene_has_no_standardised_variance(draw):
    counts = draw.poisson(3.0, (60, 40))
    counts[:, 3] = 2
    found = standardised_variance(InMemory(counts, cells=None), span=0.3)
    assert found["standardised_variance"][3] == 0
    assert found["expected_variance"][3] == 0


def test_variance_above_what_the_mean_explains_is_found(draw):
    mean = draw.uniform(0.2, 20, 200)
    counts = draw.poisson(mean, (400, 200))
    counts[:, :5] = draw.poisson(mean[:5] * draw.gamma(0.5, 2.0, (400, 1)))
    found = standardised_variance(InMemory(counts, cells=90), span=0.3)["standardised_variance"]
    assert set(np.argsort(-found)[:5]) == set(range(5))
    assert np.median(found) == pytest.approx(1, abs=0.1)
