"""The stage's scripts on small files: what comes out, and one clear line for each input that cannot be used."""

import importlib.util
import json
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from histoweave.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "workflow/rules"))

from hwrules.config import fill_defaults, load_schema  # noqa: E402 - after the path is set


@pytest.fixture(scope="session")
def config():
    return fill_defaults({}, load_schema(ROOT / "workflow/schemas/expression.schema.yaml"))


def main_of(rule):
    spec = importlib.util.spec_from_file_location(rule, ROOT / f"workflow/scripts/expression/{rule}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def data():
    draw = np.random.default_rng(4)
    level = draw.gamma(1.5, 1.0, (1, 80)) * draw.gamma(4.0, 0.25, (60, 80))
    made = ad.AnnData(sparse.csr_matrix(draw.poisson(level).astype(np.float32)))
    made.var_names = [f"GENE{i:03}" for i in range(79)] + ["MT-CO1"]
    made.obs_names = [f"c{i}" for i in range(60)]
    made.obs["kind"] = np.where(np.arange(60) % 2, "T", "B")
    made.obs["batch"] = np.arange(60) % 3
    made.obsm["spatial"] = draw.uniform(0, 100, (60, 2))
    return made


class Stage:
    """Runs the scripts of one dataset in a folder."""

    def __init__(self, folder, config):
        self.folder, self.config = folder, json.loads(json.dumps(config))

    def run(self, rule, sections, *options):
        settings = {name: self.config[name] for name in (*sections, "memory_gb")}
        main_of(rule)(["--settings", json.dumps(settings), *map(str, options)])

    def qc(self, data, *options, modality="scrna"):
        data.write_h5ad(self.folder / "in.h5ad")
        out = ["--out", self.folder / "counts.h5ad", "--ledger", self.folder / "qc.parquet"]
        about = ["--dataset", "d", "--modality", modality, "--tissue", "blood"]
        self.run("qc_counts", ("qc", "peaks"), "--data", self.folder / "in.h5ad", *about, *out, *options)

    def rank(self):
        options = ["--counts", self.folder / "counts.h5ad", "--out", self.folder / "spatial.parquet"]
        self.run("rank_spatial_genes", ("sparkx",), *options)

    def residuals(self, *options):
        out = ["--out", self.folder / "residuals.h5ad", "--ledger", self.folder / "residuals.parquet"]
        files = ["--counts", self.folder / "counts.h5ad", *out]
        self.run("compute_residuals", ("sctransform", "hvg"), *files, *options)

    def coexpression(self):
        out = ["--out", self.folder / "pairs.parquet", "--genes", self.folder / "genes.parquet"]
        files = ["--counts", self.folder / "counts.h5ad", "--residuals", self.folder / "residuals.h5ad"]
        ledger = ["--ledger", self.folder / "pairs_ledger.parquet"]
        self.run("estimate_coexpression", ("cscore", "edges"), *files, *out, *ledger)


@pytest.fixture
def stage(tmp_path, config):
    made = Stage(tmp_path, config)
    made.config["hvg"]["n_genes"] = 20
    return made


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


def scaled(data):
    data.X = data.X * 0.5


def negative(data):
    data.X.data[3] = -1


def repeated(data):
    data.var_names = ["GENE000", *data.var_names[:-1]]


def empty(data):
    data.X = data.X * 0


def mixed(data):
    data.var_names = [*data.var_names[:40], *(f"ENSG{i:011}" for i in range(40))]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (scaled, "counts are not whole numbers"),
        (negative, "1 counts are negative"),
        (repeated, "1 gene names stand more than once: 'GENE000'"),
        (empty, "all 60 x 80 counts are zero"),
        (mixed, "gene names are of mixed kinds"),
    ],
)
def test_counts_that_cannot_be_used(stage, data, spoil, text):
    spoil(data)
    with pytest.raises(InputError, match=f"in.h5ad: .*{text}"):
        stage.qc(data)


def test_two_cells_are_too_few(stage, data):
    with pytest.raises(InputError, match="of 2 cells .* at least 20 cells"):
        stage.qc(data[:2].copy())


def test_a_spatial_dataset_without_coordinates(stage, data):
    del data.obsm["spatial"]
    with pytest.raises(InputError, match=r"needs coordinates in obsm\['spatial'\]"):
        stage.qc(data, modality="spatial")


def test_collinear_spots(stage, data):
    data.obsm["spatial"] = np.column_stack([np.arange(60.0), np.arange(60.0)])
    stage.qc(data, modality="spatial")
    with pytest.raises(InputError, match="coordinates are collinear"):
        stage.rank()
