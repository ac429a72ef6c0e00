import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from histoweave.errors import InputError
from histoweave.formats.expression import (
    COUNTS,
    RESIDUALS,
    CountsFile,
    covariates_of,
    leave_out,
    read_header,
    write_counts,
    write_residuals,
)
from histoweave.formats.ledger import Account


@pytest.fixture
def counts():
    return sparse.csr_matrix(np.random.default_rng(5).poisson(0.4, (70, 12)).astype(np.float32))


def write_user_file(path, counts, **more):
    data = ad.AnnData(counts, **more)
    data.obs["kind"] = pd.Categorical(["t", None] * 35)
    data.obs["batch"] = np.arange(70) % 2
    data.write_h5ad(path)
    return path


def whole(file: CountsFile) -> np.ndarray:
    return sparse.vstack([block for _, block in file]).toarray()


@pytest.mark.parametrize("store", [sparse.csr_matrix, sparse.csc_matrix, lambda x: x.toarray()])
def test_counts_are_read_in_blocks_however_they_are_stored(tmp_path, counts, store):
    path = write_user_file(tmp_path / "a.h5ad", store(counts))
    file = CountsFile(path, memory_gb=1e-5)
    assert file.cells_per_block == 16
    assert [rows.start for rows, _ in file] == [0, 16, 32, 48, 64]
    np.testing.assert_array_equal(whole(file), counts.toarray())


def test_counts_by_gene_that_do_not_fit_are_refused(tmp_path):
    data = ad.AnnData(sparse.csc_matrix(np.ones((200, 50), np.float32)))
    data.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(InputError, match=r"stored by genes \(CSC\).*expression.memory_gb"):
        CountsFile(tmp_path / "a.h5ad", memory_gb=1e-5)


def test_what_is_no_h5ad_is_refused(tmp_path):
    (tmp_path / "a.h5ad").write_text("no")
    with pytest.raises(InputError, match=r"a.h5ad is not a readable h5ad file"):
        CountsFile(tmp_path / "a.h5ad", memory_gb=1)
    with pytest.raises(InputError, match=r"b.h5ad is not a readable h5ad file"):
        CountsFile(tmp_path / "b.h5ad", memory_gb=1)


def test_missing_coordinates_and_labels_are_named(tmp_path, counts):
    file = CountsFile(write_user_file(tmp_path / "a.h5ad", counts), memory_gb=1)
    with pytest.raises(InputError, match=r"a spatial dataset needs coordinates in obsm\['spatial'\] \(found: none\)"):
        file.coordinates()
    with pytest.raises(InputError, match=r"obs has no column 'cell' \(found: 'kind', 'batch'\)"):
        file.labels("cell")
    assert file.labels("kind")[:2].tolist() == ["t", "unassigned"]


def test_covariates_are_numeric_columns(tmp_path, counts):
    obs = CountsFile(write_user_file(tmp_path / "a.h5ad", counts), memory_gb=1).obs
    assert covariates_of(obs, (), key="k") is None
    assert covariates_of(obs, ("batch",), key="k").shape == (70, 1)
    with pytest.raises(InputError, match="k: obs has no column 'site'"):
        covariates_of(obs, ("site",), key="k")
    with pytest.raises(InputError, match="k: column 'kind' is not numeric"):
        covariates_of(obs, ("kind",), key="k")


def blocks(matrix, size):
    return ((slice(i, min(i + size, 70)), matrix[i : i + size]) for i in range(0, 70, size))


def test_counts_written_in_blocks_are_read_as_one(tmp_path, counts):
    obs = pd.DataFrame({"depth": np.arange(70.0), "n_genes": 3}, index=[f"c{i}" for i in range(70)])
    var = pd.DataFrame(index=[f"g{i}" for i in range(12)])
    coords = np.arange(140.0).reshape(70, 2)
    for name in ("a", "b"):
        write_counts(
            tmp_path / f"{name}.h5ad",
            blocks(counts, 9),
            obs=obs,
            var=var,
            obsm={"spatial": coords},
            uns={"dataset": "d"},
            provenance={"step": "s"},
        )
    data = COUNTS.read(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(data.X.toarray(), counts.toarray())
    np.testing.assert_array_equal(data.obsm["spatial"], coords)
    assert (tmp_path / "a.h5ad").read_bytes() == (tmp_path / "b.h5ad").read_bytes()
    header = read_header(tmp_path / "a.h5ad", COUNTS)
    assert header.X is None
    assert header.uns["dataset"] == "d"
    np.testing.assert_array_equal(whole(CountsFile(tmp_path / "a.h5ad", memory_gb=1)), counts.toarray())


def test_residuals_written_in_blocks_are_read_as_one(tmp_path):
    values = np.random.default_rng(0).normal(size=(70, 4))
    columns = dict.fromkeys(["rank", "theta", "intercept", "slope", "residual_variance"], 1.0)
    var = pd.DataFrame(columns, index=list("abcd"))
    obs = pd.DataFrame(index=[f"c{i}" for i in range(70)])
    write_residuals(tmp_path / "r.h5ad", blocks(values, 33), obs=obs, var=var, uns={}, provenance={})
    np.testing.assert_array_equal(RESIDUALS.read(tmp_path / "r.h5ad").X, values.astype(np.float32))
    with pytest.raises(InputError, match="expected h5ad of format 'expression_counts'"):
        COUNTS.read(tmp_path / "r.h5ad")


def test_ledger_names_what_is_left_out_and_adds_up(tmp_path):
    account = Account("expression")
    leave_out(account, "cell", "d", np.array(["a", "b", "c"]), np.array(["", "late", "late"], dtype=object))
    account.write(tmp_path / "l.parquet", provenance={})
    rows = pd.read_parquet(tmp_path / "l.parquet")
    assert rows["item"].tolist() == ["b", "c"]
    assert set(rows["reason"]) == {"late"}
