import numpy as np
import pandas as pd
import pytest

from histoweave.report.blocks import cell, interval_cell, interval_text, number_text, p_text, table_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (3.0, "3"),
        (1234.5, "1,234"),
        (0.71234, "0.712"),
        (12.3456, "12.3"),
        (0.00012, "1.2e-04"),
        (-0.05, "-0.050"),
        (np.nan, "n/a"),
        (np.inf, "∞"),
    ],
)
def test_number_text(value, text):
    assert number_text(value, digits=3) == text


@pytest.mark.parametrize(("value", "text"), [(np.nan, "n/a"), (0.0004, "< 0.001"), (0.05, "0.050"), (1.0, "1.000")])
def test_p_text(value, text):
    assert p_text(value) == text


def test_interval_text_never_invents_an_interval():
    assert interval_text(0.7, 0.6, 0.8) == "0.700 (0.600 to 0.800)"
    assert interval_text(0.7, np.nan, 0.8) == "0.700 (no interval)"
    assert interval_text(np.nan, 0.6, 0.8) == "n/a"


def test_cells_sort_as_numbers_and_missing_sorts_as_nothing():
    assert cell(np.float64(1234.5)).sort == "1234.5"
    assert cell(np.int64(3)).text == "3"
    assert cell(None).sort == cell(np.nan).sort == ""
    assert cell(np.bool_(True)).text == "yes"
    assert cell("x").number is False
    assert interval_cell(0.7, 0.6, 0.8).sort == "0.7"


def test_table_takes_the_columns_that_are_there_and_the_rows_numbers():
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=[7, 9])
    made = table_of(frame, {"b": "B", "missing": "M", "a": "A"}, name="t", caption="c", file="evaluation/a b.parquet")
    assert made.columns == ["B", "A"]
    assert [[c.text for c in row] for row in made.rows] == [["x", "1"], ["y", "2"]]
    assert made.rows_of == [7, 9]
    assert made.link == "../evaluation/a%20b.parquet"
