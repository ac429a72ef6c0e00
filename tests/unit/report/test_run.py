import pandas as pd
import pytest

from histoweave.report.blocks import Picture
from histoweave.report.run import Run


@pytest.fixture
def run():
    pictures = {name: Picture(name, "", "", "", "") for name in ("heatmap__highest", "heatmap__lowest", "heatmaps")}
    tables = {"full": pd.DataFrame({"a": [1]}), "empty": pd.DataFrame({"a": []}), "none": None}
    return Run(tables=tables, files={"none": "x/none.parquet"}, config={}, pictures=pictures, records={}, texts={})


def test_a_table_counts_only_with_rows(run):
    assert [run.has(name) for name in ("full", "empty", "none", "unknown")] == [True, False, False, False]


def test_asking_for_a_table_that_is_not_there_fails(run):
    assert len(run.table("full")) == 1
    with pytest.raises(KeyError, match="none"):
        run.table("none")


def test_absent_tells_missing_from_empty(run):
    assert run.absent("none").text == "Not available: x/none.parquet was not written by this run."
    assert run.absent("empty").text == "Not available: empty has no rows."


def test_pictures_are_found_by_what_stands_before_the_double_underscore(run):
    assert [picture.name for picture in run.named("heatmap")] == ["heatmap__highest", "heatmap__lowest"]
    assert run.named("heat") == []
