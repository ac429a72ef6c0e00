"""Files of the gene-graph stage: what is written is read, what is damaged is told."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from histoweave.errors import InputError
from histoweave.formats.genegraph import (
    EMBEDDING,
    StoredRun,
    read_graph,
    read_weights,
    vectors_of,
    with_vectors,
    write_embedding,
    write_graph,
    write_weights,
)

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.float32(3) * np.ones(())}


def test_graph_comes_back(tmp_path):
    adjacency = sparse.csr_array(np.array([[0, -0.5, 0], [-0.5, 0, 0.2], [0, 0.2, 0]], dtype=np.float32))
    parts = {
        "name": "set.1", "modality": "scrna", "tissue": "blood", "species": "human",
        "genes": np.array(["A", "B", "C"]), "features": np.eye(3, 4, dtype=np.float32), "adjacency": adjacency,
    }  # fmt: skip
    write_graph(tmp_path / "g.h5ad", **parts, provenance={})
    found = read_graph(tmp_path / "g.h5ad")
    assert {k: found[k] for k in ("name", "modality", "tissue", "species")} == {
        k: parts[k] for k in ("name", "modality", "tissue", "species")
    }
    np.testing.assert_array_equal(found["genes"], parts["genes"])
    np.testing.assert_array_equal(found["features"], parts["features"])
    np.testing.assert_array_equal(found["adjacency"].toarray(), adjacency.toarray())


def test_embedding_loads_as_gene_vectors(tmp_path):
    rows = pd.DataFrame({"gene": ["A", "A"], "dataset": ["x", "y"], "tissue": ["t", "t"], "modality": ["m", "m"]})
    write_embedding(tmp_path / "e.h5ad", np.eye(2, dtype=np.float32), rows, provenance={})
    found = EMBEDDING.read(tmp_path / "e.h5ad")
    assert found.obs_names.tolist() == ["x:A", "y:A"]
    assert found.obs["gene"].tolist() == ["A", "A"]


def test_vectors_keep_their_order_beyond_ten_columns():
    vectors = np.arange(24, dtype=np.float32).reshape(2, 12)
    frame = with_vectors(pd.DataFrame({"gene": ["A", "B"], "error": [0, 0]}), vectors)
    np.testing.assert_array_equal(vectors_of(frame[sorted(frame.columns)]), vectors)


def test_weights_come_back_with_their_shapes(tmp_path):
    write_weights(tmp_path / "m.safetensors", TENSORS, {"dim": 3})
    tensors, meta = read_weights(tmp_path / "m.safetensors")
    assert {name: value.shape for name, value in tensors.items()} == {"a": (2, 3), "step": ()}
    assert meta == {"dim": 3}


def test_damaged_weights_are_told(tmp_path):
    write_weights(tmp_path / "m.safetensors", TENSORS, {})
    (tmp_path / "m.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be read .* Remove both and run again"):
        read_weights(tmp_path / "m.safetensors")


def test_a_checkpoint_is_used_by_its_own_run_only(tmp_path):
    path = tmp_path / "c.safetensors"
    run = StoredRun(path, {"seed": 1})
    assert run.read() is None
    run.write(TENSORS, {"epoch": 4})
    tensors, meta = run.read()
    assert meta["epoch"] == 4
    assert tensors["step"].shape == ()
    assert StoredRun(path, {"seed": 2}).read() is None
    run.remove()
    assert not path.exists()


def test_a_damaged_checkpoint_is_told(tmp_path):
    (tmp_path / "c.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(InputError, match="is damaged .* Remove it and run again"):
        StoredRun(tmp_path / "c.safetensors", {}).read()
