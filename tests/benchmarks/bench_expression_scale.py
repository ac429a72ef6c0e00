"""The whole expression stage from files on disk: CPU seconds and peak memory of each script, as cells grow.

Run by ``make bench`` at two small sizes. The large ones, of which the first may take 8 GB and the second 4:
``bench_expression_scale.py cells 100000 20000`` and ``bench_expression_scale.py spots 50000 18000``; 5 % of the counts
are not zero. A folder as fourth argument keeps the simulated file for another run.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata.io import sparse_dataset, write_elem
from scipy import sparse

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "workflow/rules"))

from hwrules.config import fill_defaults, load_schema  # noqa: E402 - after the path is set


def simulate(path, cells, genes, draw, *, share=0.05):
    """Counts and coordinates written block by block; depth differs between cells, frequency between genes."""
    found = np.minimum(draw.gamma(0.6, share / 0.6, genes), 0.6).astype(np.float32)
    place = draw.uniform(0, 100, (cells, 2))
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        empty = sparse.csr_matrix((0, genes), dtype=np.float32)
        empty.indptr = empty.indptr.astype(np.int64)
        write_elem(file, "X", empty, dataset_kwargs={"chunks": (2**16,)})
        for begin in range(0, cells, 500):
            rows = min(500, cells - begin)
            chance = draw.lognormal(-0.08, 0.4, (rows, 1)).astype(np.float32) * found
            picked = draw.random((rows, genes), dtype=np.float32) < chance
            per_cell = np.concatenate([[0], picked.sum(axis=1).cumsum()])
            values = draw.geometric(0.5, per_cell[-1]).astype(np.float32)
            block = sparse.csr_matrix((values, np.nonzero(picked)[1], per_cell), shape=(rows, genes))
            sparse_dataset(file["X"]).append(block)
        write_elem(file, "obs", pd.DataFrame(index=[f"c{i}" for i in range(cells)]))
        write_elem(file, "var", pd.DataFrame(index=[f"GENE{i:05}" for i in range(genes)]))
        write_elem(file, "obsm", {"spatial": place})
        write_elem(file, "uns", {})


def step(rule, sections, config, *options):
    settings = json.dumps({name: config[name] for name in (*sections, "memory_gb")})
    env = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    command = [sys.executable, "-P", ROOT / f"workflow/scripts/expression/{rule}.py", "--settings", settings, *options]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=os.environ | env | {"PYTHONPATH": str(ROOT / "workflow/src")},
            stderr=errors,
        )
        _, status, used = os.wait4(process.pid, 0)
        errors.seek(0)
        if status:
            sys.exit(errors.read())
    line = f"  {rule}: {used.ru_utime + used.ru_stime:.1f} CPU s, peak {used.ru_maxrss / 2**20:.2f} GB"
    print(line, flush=True)


def settings():
    return fill_defaults(
        {"hvg": {"n_genes": 2000}, "qc": {"scrna": {"max_genes": None}}},
        load_schema(ROOT / "workflow/schemas/expression.schema.yaml"),
    )


def qc(folder, data, modality):
    about = ["--dataset", "d", "--modality", modality, "--tissue", "t"]
    out = ["--out", folder / "counts.h5ad", "--ledger", folder / "l1.parquet"]
    step("qc_counts", ("qc", "peaks"), settings(), "--data", data, *about, *out)


def cells(folder, data):
    config, counts, residuals = settings(), folder / "counts.h5ad", folder / "residuals.h5ad"
    qc(folder, data, "scrna")
    out = ["--out", residuals, "--ledger", folder / "l2.parquet"]
    step("compute_residuals", ("sctransform", "hvg"), config, "--counts", counts, *out)
    out = ["--out", folder / "p.parquet", "--genes", folder / "g.parquet", "--ledger", folder / "l3.parquet"]
    step("estimate_coexpression", ("cscore", "edges"), config, "--counts", counts, "--residuals", residuals, *out)


def spots(folder, data):
    qc(folder, data, "spatial")
    out = ["--out", folder / "spatial.parquet"]
    step("rank_spatial_genes", ("sparkx",), settings(), "--counts", folder / "counts.h5ad", *out)


def measure(what, n_cells, n_genes, keep=None):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = Path(keep or folder) / f"in_{n_cells}_{n_genes}.h5ad"
        if not data.exists():
            simulate(data, n_cells, n_genes, np.random.default_rng(5))
        print(f"{n_cells} {what} x {n_genes} genes, memory_gb {settings()['memory_gb']}:", flush=True)
        {"cells": cells, "spots": spots}[what](folder, data)


if __name__ == "__main__":
    if len(sys.argv) >= 4:
        measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:5])
    else:
        for size in (1000, 4000):
            measure("cells", size, 5000)
        for size in (2000, 8000):
            measure("spots", size, 2000)
