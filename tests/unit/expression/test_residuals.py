import numpy as np
import pandas as pd
import pytest

from histoweave.errors import InputError
from histoweave.expression import pearson, sctransform
from histoweave.expression.blocks import InMemory
from histoweave.expression.hvg import HvgSettings
from histoweave.expression.residuals import centred_blocks, choose, fit_model, score_genes
from histoweave.expression.sctransform import SctransformSettings

BASE = {
    "engine": "native",
    "version": 2,
    "fit_cells": None,
    "fit_genes": None,
    "min_cells": 5,
    "clip_divisor": 30,
    "centre": True,
    "variance_floor": "by_modality",
}


def settings(**changes):
    return SctransformSettings(**(BASE | changes))


@pytest.fixture
def counts(synth_a):
    return InMemory(synth_a[0], cells=70), synth_a[0].sum(axis=1), synth_a[2]


def fitted(counts, seed=0, **changes):
    return fit_model(*counts, settings=settings(**changes), generator=np.random.default_rng(seed))


def residuals(counts, model, genes, *, spatial=False, **changes):
    parts = centred_blocks(*counts[:2], model, genes=genes, settings=settings(**changes), spatial=spatial)
    return np.vstack([z for _, z in parts])


def test_residuals_are_centred_within_the_clip(counts):
    z = residuals(counts, fitted(counts), np.arange(50))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    assert np.ptp(z, axis=0).max() <= 2 * np.sqrt(300 / 30) + 1e-9
    raw = residuals(counts, fitted(counts), np.arange(50), centre=False)
    np.testing.assert_allclose(raw - raw.mean(axis=0), z, atol=1e-12)


def test_floor_of_the_chosen_genes_is_for_spatial_data(counts):
    model = fitted(counts)
    deep = np.argsort(-model.table["mean"].to_numpy())[:20]
    everywhere, spatial = (residuals(counts, model, deep, spatial=flag) for flag in (False, True))
    chosen = residuals(counts, model, deep, variance_floor="chosen")
    np.testing.assert_array_equal(spatial, chosen)
    assert not np.allclose(everywhere, chosen)
    np.testing.assert_array_equal(residuals(counts, model, deep, spatial=True, variance_floor="all"), everywhere)


def test_sampled_cells_follow_the_seed(counts):
    same = [fitted(counts, seed=3, fit_cells=150).table["theta"] for _ in range(2)]
    pd.testing.assert_series_equal(*same)
    assert not same[0].equals(fitted(counts, seed=4, fit_cells=150).table["theta"])


def test_genes_of_the_fit_can_be_named(counts):
    names = tuple(counts[2][:60])
    model = fitted(counts, fit_genes=names)
    assert set(counts[2][model.step1["gene"]]) <= set(names)
    with pytest.raises(InputError, match="none of the 1 genes of expression.sctransform.fit_genes"):
        fitted(counts, fit_genes=("nobody",))
    with pytest.raises(InputError, match="engine 'r' cannot take a list"):
        fitted(counts, fit_genes=names, engine="r")


@pytest.mark.parametrize("method", ["residual_variance", "seurat_vst"])
def test_choice_follows_the_score(counts, method):
    model = fitted(counts)
    table = score_genes(*counts[:2], model, counts[2], hvg=HvgSettings(method, 30))
    chosen = choose(table, n_genes=30)
    assert table["rank"].iloc[chosen].tolist() == list(range(1, 31))
    assert table["score"].iloc[chosen].min() >= table["score"].drop(table.index[chosen]).max()


def test_genes_without_a_rank_are_never_chosen():
    table = pd.DataFrame({"rank": [2.0, np.nan, 1.0]}, index=list("abc"))
    assert choose(table, n_genes=3).tolist() == [2, 0]


def test_pearson_model_has_the_expected_means(counts):
    blocks, depth, _ = counts
    model = pearson.fit(sctransform.gene_stats(blocks), depth, min_cells=5)
    mu = np.exp(model.table["intercept"].to_numpy() + np.outer(np.log10(depth), model.table["slope"]))
    counted = np.vstack([block.toarray() for _, block in blocks])[:, model.genes]
    np.testing.assert_allclose(mu, np.outer(depth, counted.sum(axis=0) / depth.sum()), rtol=1e-9)


def test_pearson_residuals_equal_scanpy(counts):
    import anndata as ad
    import scanpy as sc

    data = ad.AnnData(counts[0].counts.copy())
    model = pearson.fit(sctransform.gene_stats(counts[0]), counts[1], min_cells=1)
    expected = sc.experimental.pp.normalize_pearson_residuals(data[:, model.genes].copy(), theta=100, inplace=False)[
        "X"
    ]
    parts = sctransform.residual_blocks(
        *counts[:2], model, genes=np.arange(len(model.genes)), clip=np.sqrt(300), floor=0.0
    )
    np.testing.assert_allclose(np.vstack([z for _, z in parts]), expected, rtol=1e-6, atol=1e-8)
