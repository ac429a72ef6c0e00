import gzip

import numpy as np
import pandas as pd
import pytest

from histoweave.errors import InputError
from histoweave.formats.text import numbers, read_columns, read_gmt, read_matrix


def written(folder, text, name="t.tsv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- gene sets


def test_gmt_is_read(tmp_path):
    path = written(tmp_path, "A\tdescription\tg2\tg1\t\n\n# a remark\nB\t\tg3\tg3\n")
    assert read_gmt(path, key="k") == {"A": ["g1", "g2"], "B": ["g3"]}


@pytest.mark.parametrize("text", ["A\td\tg1\tg2", "A\td\tg1\tg2\r\n", "A\td\t g1 \tg2 \n"])
def test_line_ends_and_blanks_are_no_part_of_a_gene(tmp_path, text):
    assert read_gmt(written(tmp_path, text), key="k") == {"A": ["g1", "g2"]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A\td\tg1\nA\td\tg2\n", "line 2: gene set 'A' stands there twice"),
        ("A B C\n", "line 1: name, description"),
        ("A\td\tg1\n\nB\td\t\n", "line 3: name, description and genes are needed"),
    ],
)
def test_wrong_gmt_lines_are_named(tmp_path, text, problem):
    with pytest.raises(InputError, match=problem):
        read_gmt(written(tmp_path, text), key="k")


def test_a_gmt_that_cannot_be_read_names_the_key(tmp_path):
    with pytest.raises(InputError, match=r"genegraph.gene_sets.gmt: .*none.gmt cannot be read"):
        read_gmt(tmp_path / "none.gmt", key="genegraph.gene_sets.gmt")
    with pytest.raises(InputError, match=r"a.key: .*t.tsv cannot be read .*utf-8"):
        read_gmt(written(tmp_path, "A\td\tgén\n".encode("latin1")), key="a.key")
    with pytest.raises(InputError, match=r"a.key: .* holds no gene set"):
        read_gmt(written(tmp_path, "# nothing but a remark\n"), key="a.key")


# --- tables of text


def test_tables_without_a_column_name_the_key(tmp_path):
    with pytest.raises(InputError, match=r"a.key: .* lacks 1 column\(s\): 'gene' .*Is it tab-separated\?"):
        read_columns(written(tmp_path, "gene,label\nA,x\n"), ["gene"], key="a.key")
    with pytest.raises(InputError, match=r"lacks 2 column\(s\): 'b', 'c' \(found: 'a'\)"):
        read_columns(written(tmp_path, "a\n1\n"), ["a", "b", "c"], key="a.key")


@pytest.mark.parametrize("content", [b"", "patient\nP\xe9\n".encode("latin1"), b'a\tb\n"open\tquote\n'])
def test_tables_that_are_none_name_the_key(tmp_path, content):
    with pytest.raises(InputError, match=r"a.key: .* is not a readable TSV"):
        read_columns(written(tmp_path, content), ["gene"], key="a.key")
    with pytest.raises(InputError, match=r"a.key: .*absent.tsv is not a readable TSV"):
        read_columns(tmp_path / "absent.tsv", ["gene"], key="a.key")


def test_text_stays_text(tmp_path):
    table = read_columns(written(tmp_path, "gene\tvalue\n007\t1e3\nnan\tNA\nNULL\t\n"), ["gene"], key="k")
    assert table["gene"].tolist() == ["007", "nan", "NULL"]
    assert table["value"].isna().tolist() == [False, True, True]


def test_what_counts_as_missing_can_be_what_pandas_takes_for_it(tmp_path):
    table = read_columns(written(tmp_path, "gene\tvalue\nA\tnan\nB\tN/A\nC\tno\n"), ["gene"], key="k", missing=None)
    assert table["value"].isna().tolist() == [True, True, False]


def test_numbers_are_read_and_gaps_kept():
    column = pd.Series(["1", None, "-2.5e1"], name="days")
    np.testing.assert_array_equal(numbers(column, path="t.tsv"), [1.0, np.nan, -25.0])
    assert numbers(pd.Series(["3", "04"], name="fold"), path="t.tsv", whole=True).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("cells", "whole", "problem"),
    [
        (["1", "two"], False, r"t.tsv, line 3, column 'days': 'two' is not a number"),
        (["1", None], True, r"t.tsv, line 3, column 'days': an empty cell is not a whole number"),
        (["1.5", "2"], True, r"t.tsv, line 2, column 'days': '1.5' is not a whole number"),
        (["inf", "2"], True, r"t.tsv, line 2, column 'days': 'inf' is not a whole number"),
    ],
)
def test_cells_that_are_no_numbers_are_named_with_their_line(cells, whole, problem):
    with pytest.raises(InputError, match=problem):
        numbers(pd.Series(cells, name="days"), path="t.tsv", whole=whole)


# --- matrices


@pytest.mark.parametrize(("first", "name"), [("patient\t", "patient"), ("\t", None), ("", None)])
def test_names_of_a_matrix_are_kept_as_they_stand(tmp_path, first, name):
    head = f"{first}A\tA\t1.50\n"
    frame = read_matrix(written(tmp_path, head + "007\t1\t2\t3\n1e2\t4\t5.5\t\n"))
    assert frame.index.tolist() == ["007", "1e2"]
    assert frame.index.name == name
    assert frame.columns.tolist() == ["A", "A", "1.50"]
    np.testing.assert_array_equal(frame, [[1, 2, 3], [4, 5.5, np.nan]])


def test_packed_matrices_are_read(tmp_path):
    path = written(tmp_path, gzip.compress(b"patient\tA\nP1\t1\n"), name="t.tsv.gz")
    assert read_matrix(path).loc["P1", "A"] == 1


@pytest.mark.parametrize("text", ["", "patient\tA\n", "patient\tA\tB\tC\nP1\t1\n", "patient\tA\nP1\t1\nP2\t1\t2\n"])
def test_matrices_without_rows_or_with_ragged_ones_are_refused(tmp_path, text):
    with pytest.raises(ValueError, match=r"."):
        read_matrix(written(tmp_path, text))
