"""Inputs that cannot be used end with one clear line and leave nothing; what a method can do without goes on."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from histoweave.errors import InputError


def scaled(data):
    data.X = data.X * 0.5


def negative(data):
    data.X.data[3] = -1


def repeated(data):
    data.var_names = ["GENE000", *data.var_names[:-1]]


def repeated_cells(data):
    data.obs_names = ["c0", *data.obs_names[:-1]]


def empty(data):
    data.X = data.X * 0


def mixed(data):
    data.var_names = [*data.var_names[:40], *(f"ENSG{i:011}" for i in range(40))]


def missing(data):
    data.X.data[7] = np.nan


def infinite(data):
    data.X.data[7] = np.inf


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (scaled, "counts are not whole numbers"),
        (negative, "1 counts are negative"),
        (repeated, "1 gene names stand more than once: 'GENE000'"),
        (repeated_cells, "1 cell names stand more than once: 'c0'"),
        (empty, "all 60 x 80 counts are zero"),
        (mixed, "gene names are of mixed kinds"),
        (missing, "1 values are missing or infinite"),
        (infinite, "1 values are missing or infinite"),
    ],
)
@pytest.mark.parametrize("modality", ["scrna", "spatial"])
def test_counts_that_cannot_be_used(stage, data, tmp_path, spoil, text, modality):
    spoil(data)
    with pytest.raises(InputError, match=f"in.h5ad: .*{text}"):
        stage.qc(data, modality=modality)
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5ad"]


def test_two_cells_are_too_few(stage, data):
    with pytest.raises(InputError, match="of 2 cells .* at least 20 cells"):
        stage.qc(data[:2].copy())


def test_a_spatial_dataset_without_coordinates(stage, data):
    del data.obsm["spatial"]
    with pytest.raises(InputError, match=r"needs coordinates in obsm\['spatial'\]"):
        stage.qc(data, modality="spatial")


@pytest.mark.parametrize("slope", [1.0, 0.0])
def test_collinear_spots(stage, data, tmp_path, slope):
    data.obsm["spatial"] = np.column_stack([np.arange(60.0), slope * np.arange(60.0)])
    stage.qc(data, modality="spatial")
    with pytest.raises(InputError, match="coordinates are collinear"):
        stage.rank()
    assert not (tmp_path / "spatial.parquet").exists()


def test_spots_on_one_line_may_be_tested_along_it(stage, data, tmp_path):
    data.obsm["spatial"] = np.column_stack([np.arange(60.0), np.zeros(60)])
    stage.qc(data, modality="spatial")
    stage.config["sparkx"]["rank_deficient"] = "reduce"
    stage.rank()
    assert pd.read_parquet(tmp_path / "spatial.parquet")["p_value"].notna().any()


@pytest.mark.parametrize("axes", [1, 4])
def test_coordinates_of_another_number_of_axes(stage, data, axes):
    data.obsm["spatial"] = np.random.default_rng(0).uniform(size=(60, axes))
    stage.qc(data, modality="spatial")
    with pytest.raises(InputError, match=rf"coordinates have shape \(60, {axes}\)"):
        stage.rank()


def test_spots_without_a_coordinate_go_to_the_ledger(stage, data, tmp_path):
    data.obsm["spatial"][[5, 9]] = [[np.nan, 1.0], [np.inf, 2.0]]
    stage.qc(data, modality="spatial")
    stage.rank()
    ledger = pd.read_parquet(tmp_path / "qc.parquet").query("kind == 'cell'")
    assert dict(zip(ledger["item"], ledger["reason"], strict=True)) == {"c5": "no coordinate", "c9": "no coordinate"}
    assert ad.read_h5ad(tmp_path / "counts.h5ad").n_obs == 58


def test_cells_without_counts_go_to_the_ledger(stage, data, tmp_path):
    dense = data.X.toarray()
    dense[[3, 11]] = 0
    data.X = sparse.csr_matrix(dense)
    stage.qc(data)
    ledger = pd.read_parquet(tmp_path / "qc.parquet").query("kind == 'cell'").set_index("item")
    assert ledger["reason"].to_dict() == {"c3": "fewer than 1 counts", "c11": "fewer than 1 counts"}
    stage.residuals()
    stage.coexpression()
    assert ad.read_h5ad(tmp_path / "residuals.h5ad").n_obs == 58


def test_genes_that_are_not_found_go_to_the_ledger(stage, data, tmp_path):
    dense = data.X.toarray()
    dense[:, 7] = 0
    dense[2:, 8] = 0
    data.X = sparse.csr_matrix(dense)
    stage.qc(data)
    ledger = pd.read_parquet(tmp_path / "qc.parquet").query("kind == 'gene'").set_index("item")
    assert {"GENE007", "GENE008", "MT-CO1"} == set(ledger.index)
    assert ledger["reason"]["GENE007"] == "found in fewer than 3 cells"


def test_genes_without_a_correlation_are_named(stage, data, tmp_path):
    dense = data.X.toarray()
    dense[:, 4] = 1 + np.arange(60) % 2  # varies less than a Poisson count
    data.X = sparse.csr_matrix(dense)
    stage.qc(data)
    stage.config["hvg"]["n_genes"] = 79
    stage.residuals()
    stage.coexpression()
    ledger = pd.read_parquet(tmp_path / "pairs_ledger.parquet").set_index("item")
    assert ledger["reason"]["GENE004"] == "no correlation: variance not positive"
    genes = pd.read_parquet(tmp_path / "genes.parquet").set_index("gene")
    assert set(genes.index[genes["flag"] != ""]) == set(ledger.index)
    pairs = pd.read_parquet(tmp_path / "pairs.parquet")
    flagged = pairs["gene_a"].isin(ledger.index) | pairs["gene_b"].isin(ledger.index)
    assert (pairs["defined"] == ~flagged).all()
    assert pairs.loc[pairs["defined"], ["correlation", "statistic", "p_value", "q_value"]].notna().all(axis=None)
    assert (pairs.loc[~pairs["defined"], "correlation"] == 0).all()


def test_peaks_need_a_table_of_genes(stage, data):
    data.var_names = [f"chr1:{1000 * i}-{1000 * i + 500}" for i in range(80)]
    with pytest.raises(InputError, match=r"is given by peaks.*expression.peaks.annotation"):
        stage.qc(data, modality="scatac")


def test_peaks_of_another_build_or_naming(stage, data, tmp_path):
    data.var_names = [f"chr1:{1000 * i}-{1000 * i + 500}" for i in range(80)]
    genes = pd.DataFrame({"gene": ["A"], "chrom": ["1"], "start": [1], "end": [90_000], "strand": ["+"]})
    genes.to_csv(tmp_path / "genes.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="none of 80 peaks lies in a gene.*Are chromosomes named alike"):
        stage.qc(data, "--annotation", tmp_path / "genes.tsv", modality="scatac")


def test_a_table_of_genes_that_cannot_be_read(stage, data, tmp_path):
    data.var_names = [f"chr1:{1000 * i}-{1000 * i + 500}" for i in range(80)]
    (tmp_path / "no.tsv").write_bytes(b"\xff\xfe\x9c")
    with pytest.raises(InputError, match=r"no.tsv is not a readable table.*Correct expression.peaks.annotation"):
        stage.qc(data, "--annotation", tmp_path / "no.tsv", modality="scatac")


@pytest.mark.parametrize(("section", "key"), [("cscore", "co-expression"), ("sparkx", "spatial genes")])
def test_covariates_that_are_not_there_or_not_numeric(stage, data, section, key):
    stage.qc(data, modality="spatial")
    if section == "cscore":
        stage.residuals()
    run = stage.coexpression if section == "cscore" else stage.rank
    for column, text in [("age", "obs has no column 'age'"), ("depth", None)]:
        stage.config[section]["covariates"] = [column]
        if text:
            with pytest.raises(InputError, match=f"expression.{section}.covariates: {text}"):
                run()
        else:
            run()


def test_a_fit_that_needs_more_memory_than_allowed(stage, data):
    stage.qc(data)
    stage.config["memory_gb"] = 1e-5
    stage.config["sctransform"]["fit_cells"] = None
    with pytest.raises(InputError, match=r"held at once take .* GB, more than expression.memory_gb=1e-05.*fit_cells"):
        stage.residuals()


def test_data_too_uniform_for_a_model(stage, data):
    data.X = sparse.csr_matrix(np.ones((60, 80), np.float32))
    stage.qc(data)
    with pytest.raises(InputError, match=r"varied enough.*engine to pearson"):
        stage.residuals()


def test_genes_of_the_fit_that_are_not_there(stage, data):
    stage.qc(data)
    stage.config["sctransform"]["fit_genes"] = ["NOBODY"]
    with pytest.raises(InputError, match="none of the 1 genes of expression.sctransform.fit_genes is in the data"):
        stage.residuals()
