"""R's package beside the native code, on one dataset. Skipped where R or rpy2 is missing (`make env-r`)."""

import importlib.util
import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from histoweave.errors import InputError
from histoweave.expression import sctransform_r
from histoweave.expression.blocks import InMemory
from histoweave.expression.residual_moments import residual_moments


def r_is_ready() -> bool:
    if importlib.util.find_spec("rpy2") is None:
        return False
    code = "from rpy2 import robjects; robjects.r(\"stopifnot(requireNamespace('sctransform', quietly = TRUE))\")"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


needs_r = pytest.mark.skipif(not r_is_ready(), reason="R with sctransform, or rpy2, is missing: make env-r")


@needs_r
@pytest.mark.parametrize(("version", "tolerance"), [(1, 1e-8), (2, 1e-5)])
def test_both_engines_give_the_same_residuals(version, tolerance, synth_a, whole_fit):
    counts, _, _ = synth_a
    blocks, depth = InMemory(counts, cells=64), counts.sum(axis=1)
    theirs = sctransform_r.fit(blocks, depth, version=version, min_cells=5, n_cells=None, n_genes=None)
    ours = whole_fit(blocks, depth, version=version)
    np.testing.assert_array_equal(ours.genes, theirs.genes)
    assert ours.floor == theirs.floor
    np.testing.assert_allclose(ours.table["theta"], theirs.table["theta"], rtol=1e-6)
    variances = [residual_moments(blocks, depth, model, clip=17.3, floor=model.floor)[1] for model in (ours, theirs)]
    np.testing.assert_allclose(*variances, rtol=tolerance)


def test_without_rpy2_the_message_says_what_to_do(synth_a, monkeypatch):
    monkeypatch.setitem(sys.modules, "rpy2", None)
    with pytest.raises(InputError, match=r"engine 'r' needs R and rpy2.*make env-r.*engine to native"):
        sctransform_r.fit(
            InMemory(synth_a[0], cells=None),
            synth_a[0].sum(axis=1),
            version=2,
            min_cells=5,
            n_cells=None,
            n_genes=None,
        )


@needs_r
def test_what_r_says_is_passed_on(synth_a):
    counts = np.ones((30, 8))  # nothing varies
    with pytest.raises(InputError, match=r"R's sctransform stopped: .*set expression.sctransform.engine to native"):
        sctransform_r.fit(
            InMemory(counts, cells=None), counts.sum(axis=1), version=1, min_cells=5, n_cells=None, n_genes=None
        )


@needs_r
def test_numbers_of_cells_and_genes_reach_r(synth_a):
    blocks, depth = InMemory(synth_a[0], cells=None), synth_a[0].sum(axis=1)
    few, again, full = (
        sctransform_r.fit(blocks, depth, version=2, min_cells=5, n_cells=n_cells, n_genes=n_genes).table["theta"]
        for n_cells, n_genes in [(150, 60), (150, 60), (None, None)]
    )
    np.testing.assert_array_equal(few, again)
    assert not np.allclose(few, full)


@needs_r
@pytest.mark.parametrize("version", [1, 2])
def test_both_engines_write_the_same_artefact(version, stage, synth_a, tmp_path):
    counts, _, names = synth_a
    cells = [f"c{i}" for i in range(len(counts))]
    data = ad.AnnData(sparse.csr_matrix(counts.astype(np.float32)), obs=pd.DataFrame(index=cells))
    data.var_names = names
    stage.qc(data)
    stage.config["hvg"]["n_genes"] = 50
    stage.config["sctransform"]["version"] = version
    written = []
    for engine in ("native", "r"):
        stage.config["sctransform"]["engine"] = engine
        stage.residuals()
        written.append(ad.read_h5ad(tmp_path / "residuals.h5ad"))
    ours, theirs = written
    assert ours.var_names.tolist() == theirs.var_names.tolist()
    assert ours.var.columns.tolist() == theirs.var.columns.tolist()
    assert set(ours.uns) == set(theirs.uns)
    np.testing.assert_allclose(ours.X, theirs.X, atol=1e-4)
