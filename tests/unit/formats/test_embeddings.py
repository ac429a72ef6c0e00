import numpy as np
import pytest

from histoweave.errors import InputError
from histoweave.formats.embeddings import EmbeddingStore


def test_what_one_run_adds_the_next_one_finds(tmp_path):
    store = EmbeddingStore(tmp_path / "kept")
    store.update({"a": np.arange(3.0), "b": np.ones(3)})
    store["c"] = np.zeros(3)
    again = EmbeddingStore(tmp_path / "kept")
    assert set(again) == {"a", "b", "c"}
    np.testing.assert_array_equal(again["a"], np.arange(3.0))


def test_two_jobs_do_not_overwrite_each_other(tmp_path):
    one, other = EmbeddingStore(tmp_path), EmbeddingStore(tmp_path)
    one.update({"a": np.zeros(2)})
    other.update({"b": np.ones(2)})
    assert len(EmbeddingStore(tmp_path)) == 2


def test_nothing_new_writes_nothing(tmp_path):
    EmbeddingStore(tmp_path / "kept").update({})
    assert not (tmp_path / "kept").exists()


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(InputError, match="broken.safetensors is damaged"):
        EmbeddingStore(tmp_path)
