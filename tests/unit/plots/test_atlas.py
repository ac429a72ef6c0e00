import numpy as np
import pandas as pd

from histoweave.plots import atlas, choices

SETTINGS = atlas.FigureSettings(modules_shown=2, reference_model="base", main_model="new")
COMPARISONS = pd.DataFrame(
    [
        ("new", "base", "c_index", 0.05, -0.01, 0.11),
        ("base", "old", "c_index", -0.02, -0.06, 0.03),
        ("new", "old", "c_index", 0.3, 0.2, 0.4),
        ("new", "base", "ibs", 0.3, 0.2, 0.4),
    ],
    columns=["model_a", "model_b", "metric", "difference", "lower", "upper"],
)


def drawn(tables, slides=None):
    found = atlas.draw_all(tables, SETTINGS, models=("base", "new"), slides=slides or {})
    return {item.name: item for item in found}


def test_a_missing_or_empty_table_gives_a_sentence():
    found = drawn({"folds": pd.DataFrame({"patient": []})})
    assert all(not item.svg for item in found.values())
    assert found["splits"].alt == "Not drawn: the table 'folds' is empty."
    assert found["gene_map"].alt == "Not drawn: the table 'modules' was not written by this run."
    assert found["heatmap__highest"].alt == "Not drawn: the table 'attention' was not written by this run."


def test_differences_are_turned_so_that_right_is_better_than_the_reference():
    text = drawn({"comparisons": COMPARISONS})["comparisons"].alt
    assert "new 0.05 (-0.01 to 0.11)" in text
    assert "old 0.02 (-0.03 to 0.06)" in text
    assert "0.30" not in text


def test_without_a_comparison_with_the_reference_the_config_key_is_named():
    item = drawn({"comparisons": COMPARISONS[2:3]})["comparisons"]
    assert item.alt == "Not drawn: no model was compared with 'base' (report.figures.reference_model)."


def test_models_stand_in_the_order_of_the_config():
    columns = ["model", "metric", "estimate", "lower", "upper"]
    rows = [("new", "c_index", 0.7, 0.6, 0.8), ("base", "c_index", 0.6, 0.5, 0.7), ("base", "auc", 0.9, 0.8, 1.0)]
    text = drawn({"metrics": pd.DataFrame(rows, columns=columns)})["discrimination"].alt
    assert text.index("base 0.60") < text.index("new 0.70")
    assert "0.90" not in text


def test_heatmap_takes_the_tiles_of_its_case():
    tiles = pd.DataFrame(
        {
            "slide": ["S1", "S2"],
            "case": ["highest", "lowest"],
            "x": [0, 64],
            "y": [0, 64],
            "model": "m",
            "score": [0.1, 0.9],
        }
    )
    slide = choices.Slide(np.zeros((20, 20, 3), np.uint8), downsample=8.0, tile_px0=64.0, mpp=0.5)
    found = drawn({"attention": tiles}, {"highest": slide})
    assert found["heatmap__highest"].alt.startswith("S1 (highest risk): thumbnail, and the same with 1 tiles")
    assert found["heatmap__lowest"].alt == "Not drawn: no slide with attention and a thumbnail for the case 'lowest'."
