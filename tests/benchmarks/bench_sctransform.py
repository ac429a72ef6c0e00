"""sctransform, 3,000 cells x 5,000 genes: native against R's package on the same matrix, CPU seconds in one run.

Run by ``make bench``. Both fit on 2,000 genes (R's default) and, in version 2, on 2,000 cells. R's first call
loads packages, so a small call goes before. Without R the native times stand alone.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import io, sparse

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow/src"))

from histoweave.expression import sctransform  # noqa: E402 - after the path is set
from histoweave.expression.blocks import InMemory  # noqa: E402
from histoweave.expression.residual_moments import residual_moments  # noqa: E402

WANTED = {1: 5, 2: 4}
R_CODE = """
suppressMessages(library(Matrix))
m <- as(readMM(commandArgs(TRUE)[1]), "CsparseMatrix")
dimnames(m) <- list(paste0("g", seq_len(nrow(m))), paste0("c", seq_len(ncol(m))))
for (flavour in list(NULL, "v2")) {
  small <- m[order(-rowSums(m))[1:300], 1:300]
  invisible(sctransform::vst(small[, colSums(small) > 0], vst.flavor = flavour, verbosity = 0))
  set.seed(1)
  used <- system.time(sctransform::vst(m, vst.flavor = flavour, verbosity = 0))
  cat(used[["user.self"]] + used[["sys.self"]], "")
}
"""


def simulated(cells, genes, draw):
    depth = draw.lognormal(8, 0.35, cells)
    share = draw.lognormal(0, 1.6, genes)
    noise = draw.gamma(4, 0.25, (cells, genes))
    return sparse.csr_matrix(draw.poisson(depth[:, None] * share / share.sum() * noise).astype(float))


def native(counts, version, draw):
    depth = np.asarray(counts.sum(axis=1)).ravel()
    start = time.process_time()
    blocks = InMemory(counts, cells=1000)
    cells = None if version == 1 else np.sort(draw.choice(len(depth), 2000, replace=False))
    model = sctransform.fit(
        blocks, depth, version=version, min_cells=5, fit_cells=cells, fit_genes=2000, generator=draw
    )
    residual_moments(blocks, depth, model, clip=np.sqrt(len(depth)), floor=model.floor)
    return time.process_time() - start


def in_r(counts):
    if not shutil.which("Rscript"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts.mtx"
        io.mmwrite(path, counts.T, field="integer")
        done = subprocess.run(["Rscript", "-e", R_CODE, str(path)], capture_output=True, text=True, check=False)
    return [float(word) for word in done.stdout.split()] if done.returncode == 0 else None


def main():
    draw = np.random.default_rng(3)
    counts = simulated(3000, 5000, draw)
    ours = {version: native(counts, version, draw) for version in (1, 2)}
    theirs = in_r(counts)
    for version, seconds in ours.items():
        line = f"sctransform v{version} 3000 x 5000: native {seconds:.2f} CPU s"
        if theirs:
            other = theirs[version - 1]
            line += f", R {other:.2f}, ratio {other / seconds:.1f} ({WANTED[version]} wanted)"
        print(line)


if __name__ == "__main__":
    main()
