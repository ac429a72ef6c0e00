"""What users give to the survival stage: follow-up, profiles and folds."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from histoweave.errors import InputError
from histoweave.formats.survival import (
    read_clinical,
    read_cohorts,
    read_given_folds,
    read_profiles,
    survival_columns,
)

KEY = "inputs.expression.path"
VALUES = pd.DataFrame([[1.0, 2.0], [3.0, 4.5]], index=["P1", "002"], columns=["TP53", "MYC"])


def tsv(folder, text, name="t.tsv"):
    path = folder / name
    path.write_text(text)
    return path


# --- profiles


def stored(folder, how):
    path = folder / f"x.{how.split('_')[0]}"
    if how.startswith("h5ad"):
        values = sparse.csr_matrix(VALUES.to_numpy()) if how == "h5ad_sparse" else VALUES.to_numpy()
        ad.AnnData(values, VALUES[[]], VALUES.T[[]]).write_h5ad(path)
    elif how == "parquet":
        VALUES.to_parquet(path)
    elif how == "parquet_column":
        VALUES.rename_axis("patient").reset_index().to_parquet(path)
    elif how == "parquet_first":
        VALUES.rename_axis("case").reset_index().to_parquet(path)
    else:
        VALUES.rename_axis("patient").to_csv(path, sep="\t")
    return path


@pytest.mark.parametrize("how", ["h5ad", "h5ad_sparse", "parquet", "parquet_column", "parquet_first", "tsv", "tsv.gz"])
def test_every_way_to_store_profiles_gives_the_same(tmp_path, how):
    found = read_profiles(stored(tmp_path, how), key=KEY)
    assert found.index.tolist() == ["P1", "002"]
    assert found.columns.tolist() == ["TP53", "MYC"]
    assert set(found.dtypes) == {np.dtype("float32")}
    np.testing.assert_array_equal(found, VALUES)


def test_blanks_around_names_are_no_part_of_them(tmp_path):
    found = read_profiles(tsv(tmp_path, "patient\t TP53\n P1 \t1\n"), key=KEY)
    assert (found.index[0], found.columns[0]) == ("P1", "TP53")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "cannot be read"),
        ("patient\tA\n", "cannot be read"),
        (
            "patient,A\nP1,2\n",
            "holds 1 patients and 0 columns of numbers. Correct inputs",
        ),
        ("patient\tA\tB\nP1\t1\thigh\n", r"1 columns are not numbers \(first: 'B'\)\. Remove them from inputs"),
        ("patient\tA\nP1\t1\n\t2\n \t3\n", r"2 rows name no patient \(first: row 2\)"),
        ("patient\tA\tB\tA\nP1\t1\t2\t3\n", "1 columns stand more than once: 'A'"),
        ("patient\tA\nP1\t1\nP2\t2\nP1 \t3\n", "1 patients stand more than once: 'P1'. Keep one of each in inputs"),
    ],
)
def test_wrong_profiles_are_refused(tmp_path, text, problem):
    with pytest.raises(InputError, match=problem):
        read_profiles(tsv(tmp_path, text), key=KEY)


@pytest.mark.parametrize("name", ["x.h5ad", "x.parquet"])
def test_files_of_another_kind_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name} cannot be read .*Give h5ad, Parquet or TSV under inputs"):
        read_profiles(tsv(tmp_path, "patient\tA\nP1\t1\n", name), key=KEY)


def test_a_parquet_that_names_no_patients_is_refused(tmp_path):
    VALUES.reset_index(drop=True).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="neither its index nor its first column names patients"):
        read_profiles(tmp_path / "x.parquet", key=KEY)


def test_doubled_genes_of_an_h5ad_are_refused(tmp_path):
    twice = pd.DataFrame(index=["TP53", "TP53"])
    with pytest.warns(UserWarning, match="not unique"):
        ad.AnnData(VALUES.to_numpy(), VALUES[[]], twice).write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(InputError, match="1 columns stand more than once: 'TP53'"):
        read_profiles(tmp_path / "x.h5ad", key=KEY)


def test_a_missing_file_names_the_key(tmp_path):
    with pytest.raises(InputError, match=r"none.tsv does not exist\. Correct inputs.expression.path"):
        read_profiles(tmp_path / "none.tsv", key=KEY)


# --- follow-up

PATIENTS = "patient\tcohort\ttime_days\tevent\tDSS_days\tDSS_event\tage\tsex\n"


def test_follow_up_is_read_with_its_covariates(tmp_path):
    path = tsv(tmp_path, PATIENTS + " P1 \tA\t10\t1\t7\t0\t50.5\t f \nP2\tB\t\t\t3\t1\t\t\n")
    found = read_clinical(path, endpoint=None, covariates={"age": "numeric", "sex": "category"})
    assert found["patient"].tolist() == ["P1", "P2"]
    assert found.loc[0, ["time_days", "event", "age", "sex"]].tolist() == [10.0, 1.0, 50.5, "f"]
    assert found.loc[1, ["site", "time_days", "event", "age", "sex"]].isna().all()


def test_another_endpoint_is_read_from_its_own_columns(tmp_path):
    found = read_clinical(tsv(tmp_path, PATIENTS + "P1\tA\t10\t1\t7\t0\t50\tf\n"), endpoint="DSS", covariates={})
    assert found[["time_days", "event"]].to_numpy().tolist() == [[7.0, 0.0]]
    assert "age" not in found


def test_patients_know_their_cohort(tmp_path):
    assert read_cohorts(tsv(tmp_path, PATIENTS + "P1 \t A\nP2\tB\n")) == {"P1": "A", "P2": "B"}


@pytest.mark.parametrize(
    ("row", "endpoint", "problem"),
    [
        ("P1\tA\t10\tyes\n", None, "line 2, column 'event': 'yes' is not a number. Correct it or leave it empty"),
        ("P1\tA\t10\t1\nP2\tA\t1,5\t0\n", None, "line 3, column 'time_days': '1,5' is not a number"),
        ("P1\tA\t10\t1\n", "PFS", r"lacks 2 column\(s\): 'PFS_days', 'PFS_event'"),
    ],
)
def test_wrong_follow_up_is_refused(tmp_path, row, endpoint, problem):
    with pytest.raises(InputError, match=problem):
        read_clinical(tsv(tmp_path, PATIENTS + row), endpoint=endpoint, covariates={})


# --- folds


def test_given_folds_are_read_with_and_without_repeats(tmp_path):
    found = read_given_folds(tsv(tmp_path, "role\tpatient\tfold\ntrain\t007 \t1\ntest\tP2\t1\n"))
    assert found.to_numpy().tolist() == [["007", 0, 1, "train"], ["P2", 0, 1, "test"]]
    found = read_given_folds(tsv(tmp_path, "patient\trepeat\tfold\trole\nP1\t2\t0\ttest\n"))
    assert found.to_numpy().tolist() == [["P1", 2, 0, "test"]]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "survival.folds.given: .* is not a readable TSV"),
        ("patient,fold,role\nP1,0,test\n", "survival.folds.given: .* lacks 3 column"),
        ("patient\tfold\trole\nP1\tfirst\ttest\n", "line 2, column 'fold': 'first' is not a whole number"),
        ("patient\tfold\trole\nP1\t0\ttest\nP2\t\ttest\n", "line 3, column 'fold': an empty cell"),
        ("patient\tfold\trole\nP1\t0\ttest\n\t0\ttest\n", "line 3: column 'patient' is empty"),
        ("patient\tfold\trole\nP1\t0\t\n", "line 2: column 'role' is empty"),
    ],
)
def test_wrong_folds_are_refused(tmp_path, text, problem):
    with pytest.raises(InputError, match=problem):
        read_given_folds(tsv(tmp_path, text))


def test_survival_columns_are_named_by_their_day():
    assert survival_columns([365.0, 1825]) == ["survival_365", "survival_1825"]
