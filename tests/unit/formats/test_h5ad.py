"""h5ad files carry their kind, and are refused where it is another."""

import anndata as ad
import h5py
import numpy as np
import pytest

from histoweave.errors import InputError
from histoweave.formats.h5ad import MatrixKind

KIND = MatrixKind("things", 1, obs=("patient",), slots=("obsm/spatial",))


def made():
    data = ad.AnnData(np.arange(6, dtype="float32").reshape(2, 3))
    data.obs["patient"] = ["P1", "P2"]
    data.obsm["spatial"] = np.zeros((2, 2))
    return data


@pytest.fixture
def path(tmp_path):
    KIND.write(made(), tmp_path / "d.h5ad", provenance={"step": "x"})
    return tmp_path / "d.h5ad"


def test_round_trip(path):
    read = KIND.read(path)
    assert np.array_equal(read.X, made().X)
    assert read.uns["provenance"] == '{"step": "x"}'


def test_equal_data_have_equal_bytes(path, tmp_path):
    KIND.write(made(), tmp_path / "again.h5ad", provenance={"step": "x"})
    assert (tmp_path / "again.h5ad").read_bytes() == path.read_bytes()


def test_backed_reading_leaves_the_matrix_on_disk(path):
    assert KIND.read(path, backed=True).isbacked


def test_another_kind_is_refused(path):
    with pytest.raises(InputError, match="expected h5ad of format 'others' version 1, found 'things' version 1"):
        MatrixKind("others", 1).read(path)


def test_parts_are_those_of_the_whole(path):
    whole = KIND.read(path)
    parts, uns = KIND.read_parts(path, ["X", "obsm/spatial", "var_names"])
    assert np.array_equal(parts["X"], whole.X)
    assert parts["X"].dtype == whole.X.dtype
    assert np.array_equal(parts["obsm/spatial"], whole.obsm["spatial"])
    assert parts["var_names"].tolist() == whole.var_names.tolist()
    assert uns == dict(whole.uns)


def test_parts_of_another_kind_or_missing_ones_are_refused(path):
    with pytest.raises(InputError, match="expected h5ad of format 'others' version 1, found 'things' version 1"):
        MatrixKind("others", 1).read_parts(path, ["X"])
    with pytest.raises(InputError, match="is not a readable h5ad file"):
        KIND.read_parts(path, ["obsm/nowhere"])


@pytest.mark.parametrize("read", [KIND.read, lambda path: KIND.read_parts(path, ["X"])])
def test_a_truncated_file_is_refused(path, read):
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match="is not a readable h5ad file"):
        read(path)


def test_missing_slots_are_named(tmp_path):
    data = made()
    del data.obsm["spatial"]
    with pytest.raises(InputError, match="missing: 'obsm/spatial'"):
        KIND.write(data, tmp_path / "d.h5ad", provenance={})


def test_a_flipped_bit_anywhere_is_noticed(path):
    whole = path.read_bytes()
    reference = KIND.read(path)
    for place in range(0, len(whole) - 41, 97):  # the last 41 bytes are the seal itself
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(bytes(content))
        with pytest.raises(InputError, match="is damaged: its checksum does not match"):
            KIND.read(path)
    path.write_bytes(whole)
    assert KIND.read(path).obs.equals(reference.obs)


def test_a_file_that_another_program_wrote_needs_no_checksum(path):
    data = KIND.read(path)
    data.write_h5ad(path)
    assert KIND.read(path).shape == data.shape


def test_a_change_on_purpose_takes_the_seal_away(path):
    with h5py.File(path, "r+") as file:
        file["obsm/spatial"][0, 0] = 5.0
    assert KIND.read(path).obsm["spatial"][0, 0] == 5.0
