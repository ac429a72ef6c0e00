"""Finished folds are kept whole, come back equal, and a damaged one is made again."""

import numpy as np
import pandas as pd
import pytest

from histoweave.formats.fold_results import FoldStore, KeptFold


def kept(fold=2):
    risk = pd.DataFrame({"patient": ["A", "B"], "risk": [0.25, np.nan], "fold": fold})
    training = pd.DataFrame({"epoch": [1, 2], "quantity": "loss", "value": [0.7, 0.6]})
    nothing = pd.DataFrame({"group": pd.Series(dtype=str), "r": pd.Series(dtype=float)})
    tensors = {"layer/weight": np.arange(6, dtype=np.float32).reshape(2, 3).T, "steps": np.array(4)}
    left_out = [("train", 40, ["C", "D"], "no slide"), ("test", 9, [], "")]
    return KeptFold(1, fold, risk, training, nothing, tensors, {"needs": ["slide"]}, np.array([0.1, 0.9]), left_out)


@pytest.fixture
def store(tmp_path):
    made = FoldStore(tmp_path / "folds")
    made.put(kept())
    return made


def test_a_fold_comes_back_equal(store):
    found, wanted = store.get(1, 2), kept()
    for name in ("risk", "training", "reconstruction"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(wanted, name), check_dtype=False)
    assert found.tensors.keys() == wanted.tensors.keys()
    for name, value in wanted.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], value)
        assert found.tensors[name].dtype == value.dtype
    np.testing.assert_array_equal(found.train_risk, wanted.train_risk)
    assert (found.repeat, found.fold, found.meta) == (1, 2, {"needs": ["slide"]})
    assert found.left_out == wanted.left_out


def test_what_was_not_put_in_is_not_there(store):
    assert store.get(1, 3) is None
    assert store.get(2, 2) is None


def test_a_fold_put_in_again_replaces_the_first(store):
    other = kept()
    other.risk["risk"] = [5.0, 6.0]
    store.put(other)
    assert store.get(1, 2).risk["risk"].tolist() == [5.0, 6.0]
    assert len(list(store.folder.iterdir())) == 1


@pytest.mark.parametrize("keep", [0, 4, 200, -1])
def test_a_cut_fold_is_as_if_it_were_not_there(store, keep):
    (path,) = store.folder.iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    assert store.get(1, 2) is None


def test_a_safetensors_file_of_something_else_is_not_taken(store):
    from safetensors.numpy import save_file

    (path,) = store.folder.iterdir()
    save_file({"train_risk": np.zeros(2)}, path)
    assert store.get(1, 2) is None
    save_file({"train_risk": np.zeros(2)}, path, metadata={"rest": '{"meta": {}, "left_out": []}'})
    assert store.get(1, 2) is None


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    store = FoldStore(tmp_path / "folds")
    broken = kept()
    broken.meta["object"] = object()
    with pytest.raises(TypeError):
        store.put(broken)
    assert not (tmp_path / "folds").exists() or not list((tmp_path / "folds").iterdir())


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = FoldStore(None)
    store.put(kept())
    assert store.get(1, 2) is None
    assert list(tmp_path.iterdir()) == []
