import numpy as np
import pandas as pd
import pytest

from histoweave.report.ablations import ablation_blocks, pooled_reconstruction, reconstruction_blocks, variants
from histoweave.report.run import Run

MODELS = {
    "ghanet": {"method": "ghanet", "set": {}},
    "without": {"method": "ghanet", "set": {"reconstruction_weight": 0, "gate": {"rule": "bh"}}},
    "other": {"method": "mcat", "set": {"hidden": 8}},
}


def run_with(**tables):
    return Run(tables, {}, {"survival": {"models": MODELS}}, {}, {}, {})


def test_versions_are_found_by_their_settings():
    assert variants(MODELS) == [("without", "ghanet", "reconstruction_weight 0, gate.rule bh")]


@pytest.mark.parametrize("turned", [False, True])
def test_difference_is_version_minus_whole_whichever_way_it_was_compared(turned):
    metrics = pd.DataFrame(
        [("ghanet", 0.7, 0.6, 0.8), ("without", 0.6, 0.5, 0.7)], columns=["model", "estimate", "lower", "upper"]
    ).assign(metric="c_index")
    row = {"model_a": "without", "model_b": "ghanet", "difference": -0.1, "lower": -0.2, "upper": 0.05}
    if turned:
        row = {"model_a": "ghanet", "model_b": "without", "difference": 0.1, "lower": -0.05, "upper": 0.2}
    compared = pd.DataFrame([row | {"metric": "c_index"}])
    table = ablation_blocks(run_with(metrics=metrics, comparisons=compared))[1]
    shown = [one.text for one in table.rows[0]]
    assert shown[:2] == ["without", "reconstruction_weight 0, gate.rule bh"]
    assert shown[5] == "-0.100 (-0.200 to 0.050)"
    assert "not compared" in ablation_blocks(run_with(metrics=metrics))[1].rows[0][5].text


def folds(*values, patients=40):
    rows = [(0, fold, "m", "g", 10, patients, r, r / 2) for fold, r in enumerate(values)]
    return pd.DataFrame(rows, columns=["repeat", "fold", "model", "group", "genes", "patients", "r_group", "r_gene"])


def test_folds_are_pooled_by_fishers_z():
    row = pooled_reconstruction(folds(0.5, 0.5)).iloc[0]
    half = 1.96 / np.sqrt(2 * 37)
    np.testing.assert_allclose(
        row[["estimate", "lower", "upper"]].to_numpy(float),
        [0.5, np.tanh(np.arctanh(0.5) - half), np.tanh(np.arctanh(0.5) + half)],
        rtol=1e-4,
    )
    assert row["patients"] == 80


def test_other_repeats_and_small_folds_do_not_count():
    rows = pd.concat([folds(0.5, 0.5), folds(-0.9, patients=3), folds(0.1).assign(repeat=1)])
    assert pooled_reconstruction(rows)["estimate"].tolist() == pytest.approx([0.5])


def test_table_stands_where_expression_is_predicted():
    assert reconstruction_blocks(run_with()) == []
    table = reconstruction_blocks(run_with(reconstruction=pooled_reconstruction(folds(0.5, 0.5))))[-1]
    assert [one.text for one in table.rows[0]][:4] == ["m", "g", "10", "80"]
