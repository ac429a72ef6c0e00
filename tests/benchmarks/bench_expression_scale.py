"""The whole expression stage from a file on disk: CPU seconds and peak memory of each script, as cells grow.

Run by ``make bench`` at two small sizes; ``bench_expression_scale.py 100000 20000`` runs the large one
(5 % of the counts non-zero; at most 8 GB wanted there).
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
    """Counts written block by block: each gene is found in its own share of the cells."""
    found = np.minimum(draw.gamma(0.6, share / 0.6, genes), 0.9)
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        empty = sparse.csr_matrix((0, genes), dtype=np.float32)
        empty.indptr = empty.indptr.astype(np.int64)
        write_elem(file, "X", empty, dataset_kwargs={"chunks": (2**16,)})
        for begin in range(0, cells, 1000):
            rows = min(1000, cells - begin)
            picked = [draw.choice(rows, draw.binomial(rows, p), replace=False) for p in found]
            counts = np.concatenate(picked), np.repeat(np.arange(genes), [len(p) for p in picked])
            values = 1 + draw.poisson(draw.gamma(1.0, 1.0, len(counts[0])))
            block = sparse.csr_matrix((values.astype(np.float32), counts), shape=(rows, genes))
            sparse_dataset(file["X"]).append(block)
        write_elem(file, "obs", pd.DataFrame(index=[f"c{i}" for i in range(cells)]))
        write_elem(file, "var", pd.DataFrame(index=[f"GENE{i:05}" for i in range(genes)]))
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


def stage(cells, genes):
    config = fill_defaults(
        {"hvg": {"n_genes": 2000}, "qc": {"scrna": {"max_genes": None}}},
        load_schema(ROOT / "workflow/schemas/expression.schema.yaml"),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder / "in.h5ad", cells, genes, np.random.default_rng(5))
        print(f"{cells} cells x {genes} genes:")
        about = ["--dataset", "d", "--modality", "scrna", "--tissue", "t"]
        counts, residuals = folder / "counts.h5ad", folder / "residuals.h5ad"
        out = ["--out", counts, "--ledger", folder / "l1.parquet"]
        step("qc_counts", ("qc", "peaks"), config, "--data", folder / "in.h5ad", *about, *out)
        out = ["--out", residuals, "--ledger", folder / "l2.parquet"]
        step("compute_residuals", ("sctransform", "hvg"), config, "--counts", counts, *out)
        out = ["--out", folder / "p.parquet", "--genes", folder / "g.parquet", "--ledger", folder / "l3.parquet"]
        step("estimate_coexpression", ("cscore", "edges"), config, "--counts", counts, "--residuals", residuals, *out)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        stage(int(sys.argv[1]), int(sys.argv[2]))
    else:
        stage(1000, 5000)
        stage(4000, 5000)
