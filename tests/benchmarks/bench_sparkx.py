"""SPARK-X: CPU seconds at the two sizes that R's package was timed at (6.3 and 4.2 s there).

Run by ``make bench``.
"""

import sys
import time
from pathlib import Path

import numpy as np
from scipy import sparse

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow/src"))

from histoweave.expression.blocks import InMemory, depths  # noqa: E402 - after the path is set
from histoweave.expression.sparkx import sparkx  # noqa: E402


def main():
    draw = np.random.default_rng(2)
    for spots, genes, wanted in ((5000, 5000, 0.25), (20_000, 2000, 0.4)):
        rate = draw.gamma(0.3, 0.5, genes)
        counts = InMemory(sparse.csr_matrix(draw.poisson(rate, (spots, genes)).astype(float)), cells=None)
        coords, depth = draw.uniform(0, 100, (spots, 2)), depths(counts)
        times = []
        for _ in range(3):
            start = time.process_time()
            sparkx(
                counts,
                coords,
                option="mixture",
                pvalue="exact",
                rank_deficient="drop",
                covariates=None,
                depth=depth,
            )
            times.append(time.process_time() - start)
        share = counts.counts.nnz / spots / genes
        print(f"SPARK-X {spots} x {genes}, {share:.0%} non-zero: {min(times):.3f} CPU s ({wanted} wanted)")


if __name__ == "__main__":
    main()
