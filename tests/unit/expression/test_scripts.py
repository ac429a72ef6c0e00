"""The stage's scripts on small files: what comes out, and one clear line for each input that cannot be used."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from histoweave.errors import InputError


def test_single_cells_from_counts_to_pairs(stage, data, tmp_path):
    stage.qc(data, "--cell-type-column", "kind")
    counts = ad.read_h5ad(tmp_path / "counts.h5ad")
    assert set(counts.obs["cell_type"]) == {"B", "T"}
    np.testing.assert_array_equal(counts.obs["depth"], np.asarray(counts.X.sum(axis=1)).ravel())
    ledger = pd.read_parquet(tmp_path / "qc.parquet")
    assert ledger.query("kind == 'gene'").set_index("item")["reason"]["MT-CO1"] == "mitochondrial gene"
    stage.residuals()
    residuals = ad.read_h5ad(tmp_path / "residuals.h5ad")
    assert residuals.shape == (60, 20)
    assert residuals.var["rank"].tolist() == list(range(1, 21))
    np.testing.assert_allclose(residuals.X.mean(axis=0), 0, atol=1e-6)
    stage.coexpression()
    pairs = pd.read_parquet(tmp_path / "pairs.parquet")
    assert len(pairs) == 20 * 19 / 2
    defined = pairs[pairs["defined"]]
    assert defined[["correlation", "statistic", "p_value", "q_value"]].notna().all(axis=None)
    assert defined["edge"].equals(defined["p_value"] < 0.005)


def test_spots_take_their_genes_by_spatial_rank(stage, data, tmp_path):
    data.obsm["spatial"][5] = np.nan
    stage.qc(data, modality="spatial")
    assert "no coordinate" in set(pd.read_parquet(tmp_path / "qc.parquet")["reason"])
    stage.config["sparkx"]["covariates"] = ["batch"]
    stage.rank()
    stage.residuals("--spatial-genes", tmp_path / "spatial.parquet")
    table = pd.read_parquet(tmp_path / "spatial.parquet").sort_values("rank")
    fitted = ad.read_h5ad(tmp_path / "residuals.h5ad")
    assert fitted.var_names.tolist() == [gene for gene in table["gene"] if gene in set(fitted.var_names)]


def test_equal_runs_write_equal_bytes(stage, data, tmp_path):
    names = ["counts.h5ad", "residuals.h5ad", "pairs.parquet", "qc.parquet"]
    seen = []
    for _ in range(2):
        stage.qc(data)
        stage.residuals()
        stage.coexpression()
        seen.append([(tmp_path / name).read_bytes() for name in names])
    assert seen[0] == seen[1]


@pytest.mark.parametrize("engine", ["pearson", "native"])
@pytest.mark.parametrize("method", ["residual_variance", "seurat_vst"])
def test_other_ways_to_choose_genes(stage, data, tmp_path, engine, method):
    stage.config["sctransform"]["engine"], stage.config["hvg"]["method"] = engine, method
    stage.qc(data)
    stage.residuals()
    found = ad.read_h5ad(tmp_path / "residuals.h5ad")
    assert found.var["score"].is_monotonic_decreasing
    assert found.X.std() > 0.5


def test_covariates_of_the_coexpression_are_columns_of_obs(stage, data, tmp_path):
    stage.qc(data)
    stage.residuals()
    stage.config["cscore"]["covariates"] = ["batch"]
    stage.coexpression()
    freed = pd.read_parquet(tmp_path / "pairs.parquet")["statistic"]
    stage.config["cscore"]["covariates"] = []
    stage.coexpression()
    assert not np.allclose(freed, pd.read_parquet(tmp_path / "pairs.parquet")["statistic"], equal_nan=True)
    stage.config["cscore"]["covariates"] = ["kind"]
    with pytest.raises(InputError, match="expression.cscore.covariates: obs has no column 'kind'"):
        stage.coexpression()


def test_peaks_become_genes_and_the_unmapped_are_counted(stage, data, tmp_path):
    genes = pd.DataFrame({"gene": [f"G{i}" for i in range(30)], "chrom": "chr1", "strand": "+"})
    genes["start"], genes["end"] = np.arange(30) * 10_000 + 5000, np.arange(30) * 10_000 + 9000
    genes.to_csv(tmp_path / "genes.tsv", sep="\t", index=False)
    data.var_names = [f"chr1:{6000 + i * 5000}-{6500 + i * 5000}" for i in range(79)] + ["chr9:1-50"]
    stage.qc(data, "--annotation", tmp_path / "genes.tsv", modality="scatac")
    counts = ad.read_h5ad(tmp_path / "counts.h5ad")
    assert set(counts.var_names) <= set(genes["gene"])
    ledger = pd.read_parquet(tmp_path / "qc.parquet")
    left_out = ledger.query("kind == 'peak'")["item"]
    assert "chr9:1-50" in set(left_out)
    assert 20 < len(left_out) < 60


def test_the_table_of_pairs_follows_the_edge_rule(stage, data, tmp_path):
    stage.qc(data)
    stage.residuals()
    found = {}
    for rule in [("p", 0.05, 0.0), ("q", 0.05, 0.0), ("p", 0.05, 0.3)]:
        stage.config["edges"] = dict(zip(("by", "threshold", "min_correlation"), rule, strict=True))
        stage.coexpression()
        pairs = pd.read_parquet(tmp_path / "pairs.parquet")
        value = pairs["p_value" if rule[0] == "p" else "q_value"]
        assert pairs["edge"].equals((value < 0.05) & (pairs["correlation"].abs() >= rule[2]))
        found[rule] = pairs["edge"].sum()
    assert found["q", 0.05, 0.0] <= found["p", 0.05, 0.0]


def test_memory_bounds_blocks_and_not_results(stage, data, tmp_path):
    tables = []
    for memory_gb in (4, 1e-4):
        stage.config["memory_gb"] = memory_gb
        stage.config["sctransform"]["fit_cells"] = 40
        stage.qc(data)
        stage.residuals()
        stage.coexpression()
        tables.append((ad.read_h5ad(tmp_path / "residuals.h5ad"), pd.read_parquet(tmp_path / "pairs.parquet")))
    (one, pairs), (other, same) = tables
    assert one.var_names.tolist() == other.var_names.tolist()
    np.testing.assert_allclose(one.X, other.X, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pairs["statistic"], same["statistic"], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("method", ["seurat", "cell_ranger"])
def test_scanpys_flavours_choose_genes(stage, data, tmp_path, method):
    stage.config["hvg"]["method"] = method
    stage.qc(data)
    stage.residuals()
    found = ad.read_h5ad(tmp_path / "residuals.h5ad").var
    assert found["score"].is_monotonic_decreasing
    assert found["rank"].tolist() == list(range(1, 21))


@pytest.mark.parametrize("fit_genes", [60, [f"GENE{i:03}" for i in range(50)]])
def test_genes_of_the_fit_change_the_model(stage, data, tmp_path, fit_genes):
    stage.qc(data)
    theta = []
    for value in (None, fit_genes):
        stage.config["sctransform"]["fit_genes"] = value
        stage.residuals()
        theta.append(ad.read_h5ad(tmp_path / "residuals.h5ad").var["theta"])
    both = theta[0].index.intersection(theta[1].index)
    assert len(both) > 10
    assert not np.allclose(theta[0][both], theta[1][both])


@pytest.mark.parametrize(("pvalue", "axes"), [("exact", 3), ("davies", 2), ("davies", 3)])
def test_spots_in_space_and_r_s_p_values(stage, data, tmp_path, pvalue, axes):
    data.obsm["spatial"] = np.random.default_rng(0).uniform(0, 9, (60, axes))
    stage.config["sparkx"]["pvalue"] = pvalue
    stage.qc(data, modality="spatial")
    stage.rank()
    table = pd.read_parquet(tmp_path / "spatial.parquet")
    assert len([name for name in table if name.startswith("p_") and name != "p_value"]) == 11
    assert sorted(table["rank"]) == list(range(1, len(table) + 1))
    assert table["p_value"].between(0, 1).all()
