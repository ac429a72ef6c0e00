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
