import pandas as pd
import pytest

from histoweave.report.blocks import Table, Text
from histoweave.report.mixtures import shares_of, stage_one_blocks
from histoweave.report.run import Run


def run_with(**tables):
    models = {"ours": {"method": "path_gptomic"}}
    return Run(tables, {}, {"survival": {"models": models}}, {}, {}, {})


def test_shares_are_means_over_repeats_of_the_first_model_that_has_them():
    plain = pd.DataFrame({"patient": ["P1"], "risk": [0.0]})
    found = plain.loc[[0, 0]].assign(proportion_T=[0.2, 0.4], proportion_B=[0.8, 0.6])
    shares = shares_of({"cox": plain, "ours": found})
    assert shares.loc["P1"].to_dict() == pytest.approx({"T": 0.3, "B": 0.7})
    assert shares_of({"cox": plain}) is None


def test_patients_without_expression_are_left_out():
    risk = pd.DataFrame({"patient": ["P1", "P2"], "proportion_T": [None, 0.2], "proportion_B": [None, 0.8]})
    assert shares_of({"ours": risk.astype({"proportion_T": float, "proportion_B": float})}).index.tolist() == ["P2"]


def test_errors_stand_beside_the_controls():
    rows = [(fold, "mixtures", f"error_{name}", value + fold / 100)
            for name, value in (("regulated", 0.04), ("unregulated", 0.08)) for fold in (0, 1)]  # fmt: skip
    rows.append((0, "train", "loss", 3.0))
    training = pd.DataFrame(rows, columns=["fold", "part", "quantity", "value"])
    blocks = stage_one_blocks(run_with(**{"training/ours": training}))
    assert isinstance(blocks[0], Text)
    assert isinstance(blocks[1], Table)
    shown = [[part.text for part in row] for row in blocks[1].rows]
    assert [row[1].split(",")[0] for row in shown] == ["the regulated encoder", "a linear read-out of the same encoder"
                                                       " without stage 1"]  # fmt: skip
    assert shown[0][2].startswith("0.045")
    assert shown[1][-1] == "2"


def test_a_run_without_stage_1_says_nothing():
    training = pd.DataFrame({"part": ["train"], "quantity": ["loss"], "value": [1.0]})
    assert stage_one_blocks(run_with(**{"training/ours": training})) == []
    assert stage_one_blocks(run_with()) == []
