"""Parquet tables carry their kind, and are refused where it is another."""

import numpy as np
import pandas as pd
import pytest

from histoweave.errors import InputError
from histoweave.formats.files import fingerprint
from histoweave.formats.table import TableKind

KIND = TableKind("things", 2, {"name": "str", "count": "int", "size": "float"})
FRAME = pd.DataFrame({"extra": [True, False], "size": [0.5, float("nan")], "name": ["a", "b"], "count": [1, 2]})


@pytest.fixture
def path(tmp_path):
    KIND.write(FRAME, tmp_path / "t.parquet", provenance={"step": "x"}, more=[1])
    return tmp_path / "t.parquet"


def test_round_trip_keeps_values_and_puts_known_columns_first(path):
    read = KIND.read(path)
    assert list(read) == ["name", "count", "size", "extra"]
    pd.testing.assert_frame_equal(read[list(FRAME)], FRAME, check_dtype=False)


def test_metadata_round_trip(path):
    assert KIND.metadata(path) == {"provenance": {"step": "x"}, "more": [1]}


def test_equal_tables_have_equal_bytes(path, tmp_path):
    KIND.write(FRAME, tmp_path / "again.parquet", provenance={"step": "x"}, more=[1])
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()


def test_some_columns_can_be_read(path):
    assert list(KIND.read(path, columns=["count"])) == ["count"]


def test_an_empty_table_has_the_columns(tmp_path):
    KIND.write(KIND.empty(), tmp_path / "e.parquet", provenance={})
    assert list(KIND.read(tmp_path / "e.parquet")) == list(KIND.columns)


def test_another_version_is_refused(path):
    with pytest.raises(InputError, match="'things' version 3, found 'things' version 2"):
        TableKind("things", 3, KIND.columns).read(path)


def test_a_foreign_table_is_refused(tmp_path):
    FRAME.to_parquet(tmp_path / "f.parquet")
    with pytest.raises(InputError, match="found 'none' version none"):
        KIND.read(tmp_path / "f.parquet")


def test_a_truncated_table_is_refused(path):
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="is not a readable Parquet file"):
        KIND.read(path)


def test_a_missing_column_is_refused_when_written(tmp_path):
    with pytest.raises(InputError, match=r"1 column\(s\) missing: 'size'"):
        KIND.write(FRAME.drop(columns="size"), tmp_path / "t.parquet", provenance={})
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_is_noticed(tmp_path):
    kind = TableKind("numbers", 1, {"x": "float"})
    path = tmp_path / "x.parquet"
    kind.write(pd.DataFrame({"x": np.random.default_rng(1).random(5000)}), path, provenance={})
    whole = path.read_bytes()
    for place in range(1000, len(whole) - 5000, 4001):
        content = bytearray(whole)
        content[place] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(InputError, match="is not a readable Parquet file"):
            kind.read(path)


def test_the_fingerprint_leaves_measured_columns_out(tmp_path):
    kind = TableKind("timed", 1, {"name": "str", "seconds": "float"}, measured=("seconds",))
    frame = pd.DataFrame({"name": ["a", "b"], "seconds": [1.0, 2.0]})
    changes = {"one": frame, "slower": frame.assign(seconds=9.0), "other": frame.assign(name="c")}
    for name, table in changes.items():
        kind.write(table, tmp_path / f"{name}.parquet", provenance={})
    kind.write(frame, tmp_path / "made_otherwise.parquet", provenance={"seed": 2})
    one, slower, other, otherwise = (fingerprint(tmp_path / f"{name}.parquet") for name in (*changes, "made_otherwise"))
    assert one == slower
    assert len({one, other, otherwise}) == 3
    assert kind.read(tmp_path / "slower.parquet")["seconds"].tolist() == [9.0, 9.0]
