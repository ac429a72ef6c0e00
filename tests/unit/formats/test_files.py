"""Files are written whole or not at all; names are safe; content has a name."""

import errno
import os

import pytest

from histoweave.errors import InputError, shorten
from histoweave.formats.files import fingerprint, replacing, safe_name


def test_replacing_renames_at_the_end(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent
        assert temporary.suffix == ".txt"
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_replacing_leaves_the_old_file_when_the_block_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half")
            msg = "stop"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_the_same_error_whichever_library_met_it(tmp_path):
    def write(text):
        with replacing(tmp_path / "a.safetensors"):
            raise RuntimeError(text)

    with pytest.raises(OSError, match="a.safetensors") as met:
        write("Error while serializing: I/O error: No space left on device (os error 28)")
    assert met.value.errno == errno.ENOSPC
    with pytest.raises(RuntimeError, match="another fault"):
        write("another fault")
    assert list(tmp_path.iterdir()) == []


def test_written_files_follow_the_umask(tmp_path):
    mask = os.umask(0o027)
    try:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["S1", "TCGA-AA-0001.2_x", "9"])
def test_safe_names_pass(name):
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a..b", ".hidden", "a b", "a\n", "-x", "x" * 129, "$(x)"])
def test_unsafe_names_are_refused(name):
    with pytest.raises(InputError, match="cannot name a file"):
        safe_name(name)


def test_fingerprint_names_content(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"same")
    b.write_bytes(b"same")
    assert fingerprint(a) == fingerprint(b)
    b.write_bytes(b"samE")
    assert fingerprint(a) != fingerprint(b)


def test_fingerprint_of_a_large_file_reads_both_ends(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    empty = fingerprint(path)
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    assert fingerprint(path) != empty


def test_shorten_counts_what_it_leaves_out():
    assert shorten(["a", "b"]) == "'a', 'b'"
    assert shorten(list("abcde")) == "'a', 'b', 'c' (+2 more)"
