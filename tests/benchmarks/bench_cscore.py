"""CS-CORE, 5,000 cells x 2,000 genes: time against the four matrix products of its definition, and peak memory.

Run by ``make bench``. CPU seconds, single-threaded, all in one run. Two of the four products are of functions of the
depth alone and are not taken over the cells, so the whole may cost less than four of them.
"""

import resource
import sys
import time
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.linalg.blas import dgemm, dsyrk

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow/src"))

from histoweave.expression.cscore import cscore  # noqa: E402 - after the path is set


def simulated(cells, genes, draw):
    depth = draw.lognormal(8, 0.4, cells)
    share = draw.gamma(0.4, 1, genes)
    latent = draw.gamma(2, 0.5, (cells, 1))
    counts = sparse.csr_matrix(draw.poisson(depth[:, None] * share / share.sum() * latent).astype(float))
    return counts, np.asarray(counts.sum(axis=1)).ravel()


def cpu(function, *args, **more):
    start = time.process_time()
    function(*args, **more)
    return time.process_time() - start


def main(cells=5000, genes=2000):
    draw = np.random.default_rng(1)
    counts, depth = simulated(cells, genes, draw)
    factor = np.asfortranarray(draw.normal(size=(genes, cells)))
    syrk = min(cpu(dsyrk, 1.0, factor, lower=1) for _ in range(2))
    gemm = cpu(dgemm, 1.0, factor, factor.T)
    ours = min(cpu(cscore, counts, depth, convergence="max") for _ in range(2))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"CS-CORE {cells} x {genes}, {counts.nnz / cells / genes:.0%} non-zero: {ours:.2f} CPU s (3.4 wanted),")
    print(f"  {ours / (4 * syrk):.2f} x four dsyrk, {ours / (4 * gemm):.2f} x four dgemm (1.5 wanted), ", end="")
    print(f"{2e-9 * cells * genes**2 / gemm:.0f} GFlop/s, peak {peak:.2f} GB (1 wanted)")


if __name__ == "__main__":
    main()
