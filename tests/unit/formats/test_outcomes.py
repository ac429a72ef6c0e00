import argparse

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest

from histoweave.errors import InputError
from histoweave.formats.outcomes import (
    expression_of,
    mean_tile_features,
    outcome_arguments,
    read_follow_up,
    read_outcomes,
)
from histoweave.formats.slides import FEATURES
from histoweave.formats.survival import COHORT, EXPRESSION, FOLDS, RISK


@pytest.fixture
def tables(tmp_path):
    cohort = pd.DataFrame({"patient": ["B", "A"], "site": "x", "time_days": [2.0, 1], "event": [1, 0]})
    cohort = cohort.assign(has_slide=True, has_expression=True, slides="", age=[50.0, 60])
    COHORT.write(cohort, tmp_path / "cohort.parquet", provenance={})
    folds = pd.DataFrame({"patient": ["A", "B"], "repeat": 0, "fold": 0, "role": ["test", "train"]})
    FOLDS.write(folds, tmp_path / "folds.parquet", provenance={})
    risk = pd.DataFrame({"patient": ["A"], "repeat": 0, "fold": 0, "risk": [0.1], "train_median": [0.0]})
    RISK.write(risk, tmp_path / "one/risk.parquet", provenance={})
    return tmp_path


def arguments(folder, *risks):
    parser = outcome_arguments(argparse.ArgumentParser())
    return parser.parse_args(
        ["--cohort", f"{folder}/cohort.parquet", "--folds", f"{folder}/folds.parquet", "--risks", *map(str, risks)]
    )


def test_tables_are_read_with_models_named_after_their_folder(tables):
    given = read_outcomes(arguments(tables, tables / "one/risk.parquet"))
    assert given.cohort["patient"].tolist() == ["A", "B"]
    assert given.covariates == ["age"]
    assert list(given.risks) == ["one"]
    with pytest.raises(InputError, match="two tables of one model"):
        read_outcomes(arguments(tables, tables / "one/risk.parquet", tables / "one/risk.parquet"))


@pytest.mark.parametrize(("scale", "expected"), [("counts", 2.0), ("tpm", 2.0), ("zscore", 3.0)])
def test_expression_is_on_a_log_scale(tmp_path, scale, expected):
    data = ad.AnnData(np.full((2, 3), 3.0), uns={"scale": scale})
    data.obs_names = ["B", "A"]
    EXPRESSION.write(data, tmp_path / "e.h5ad", provenance={})
    values = expression_of(tmp_path / "e.h5ad", ["A", "B", "C"])
    assert values[:2].tolist() == [[expected] * 3] * 2
    assert np.isnan(values[2]).all()


def write_features(path, rows):
    data = ad.AnnData(np.array(rows, np.float32))
    data.obsm["spatial"] = np.zeros((len(rows), 2))
    FEATURES.write(data, path, provenance={})


def test_mean_over_all_tiles_of_all_slides(tmp_path):
    write_features(tmp_path / "s1.h5ad", [[1, 0], [2, 0]])
    write_features(tmp_path / "s2.h5ad", [[6, 3]])
    values = mean_tile_features(tmp_path, [["s1", "s2"], [], ["s2"]])
    assert values[[0, 2]].tolist() == [[3, 1], [6, 3]]
    assert np.isnan(values[1]).all()


def test_files_that_hold_no_features_are_refused(tmp_path):
    with pytest.raises(InputError, match="not a readable feature file"):
        mean_tile_features(tmp_path, [["gone"]])
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["uns/format"] = "something"
    with pytest.raises(InputError, match="holds no tile features"):
        mean_tile_features(tmp_path, [["other"]])
    with pytest.raises(InputError, match="cannot name a file"):
        mean_tile_features(tmp_path, [["../s1"]])


@pytest.mark.parametrize("row", ["b\t0\t1", "b\t5\t2", "a\t5\t1", "b\t\t1"])
def test_follow_up_that_cannot_be_used_is_refused(tmp_path, row):
    path = tmp_path / "other.tsv"
    path.write_text(f"patient\ttime_days\tevent\na\t3\t0\n{row}\n")
    with pytest.raises(InputError, match="stands twice, or has no positive time_days or no event of 0 or 1"):
        read_follow_up(path)
    path.write_text("patient\ttime_days\tevent\na\t3\t0\n")
    assert read_follow_up(path)["time_days"].tolist() == [3]
