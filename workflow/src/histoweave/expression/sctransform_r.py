"""sctransform by R's own package, through rpy2: for those who need R's numbers to the last digit.

Needs R with the package sctransform (version 2 also glmGamPoi) and rpy2: ``make env-r``. The model has the
same form as the native one, so residuals are computed alike. R takes all its genes and cells for the fit
unless numbers are given; which ones it draws then follows R's random numbers, not ours.
"""

import numpy as np
import pandas as pd
from scipy import sparse

from histoweave.errors import InputError
from histoweave.expression.blocks import Blocks, Subset, check_depth, gather
from histoweave.expression.sctransform import Model, gene_stats, variance_floor

_R_SEED = 1448145  # Seurat's


def fit(
    counts: Blocks, depth: np.ndarray, *, version: int, min_cells: int, n_cells: int | None, n_genes: int | None
) -> Model:
    """Fit R's model to all of `counts` (cell, gene), which is loaded whole; depth : (cell,) total counts.

    Raises InputError if R, rpy2 or the package is missing, or if R stops.
    """
    check_depth(depth)
    stats = gene_stats(counts)
    genes = np.flatnonzero(stats.cells >= min_cells)
    parameters = _call_r(gather(counts), version=version, min_cells=min_cells, n_cells=n_cells, n_genes=n_genes)
    parameters = parameters.loc[genes]
    table = pd.DataFrame(
        {
            "theta": parameters["theta"].to_numpy(),
            "intercept": parameters["intercept"].to_numpy(),
            "slope": parameters["slope"].to_numpy(),
            "mean": stats.mean[genes],
            "variance": stats.variance[genes],
            "log_mean": stats.log_mean[genes],
            "poisson": np.isinf(parameters["theta"].to_numpy()),
        }
    )
    floor = variance_floor(Subset(counts, cells=None, genes=genes)) if version == 2 else 0.0
    return Model(version, genes, table, table.iloc[:0], floor)


def _call_r(
    counts: sparse.csr_matrix, *, version: int, min_cells: int, n_cells: int | None, n_genes: int | None
) -> pd.DataFrame:
    """theta, intercept, slope by gene position."""
    try:
        from rpy2 import rinterface, robjects
        from rpy2.rinterface_lib.embedded import RRuntimeError
    except (ImportError, OSError, ValueError) as error:  # rpy2 raises ValueError when it finds no R
        msg = f"engine 'r' needs R and rpy2 ({str(error).splitlines()[0]}). Run `make env-r`, or set "
        raise InputError(msg + "expression.sctransform.engine to native.") from error
    matrix = counts.T.tocsc()
    r = robjects.r
    try:
        function = r(_R_CODE)
        result = function(
            rinterface.IntSexpVector.from_memoryview(memoryview((matrix.indices + 1).astype(np.int32))),
            rinterface.IntSexpVector.from_memoryview(memoryview(matrix.indptr.astype(np.int32))),
            rinterface.FloatSexpVector.from_memoryview(memoryview(matrix.data)),
            robjects.IntVector(list(matrix.shape)),
            "v2" if version == 2 else "v1",
            min_cells,
            n_cells if n_cells is not None else counts.shape[0],
            n_genes if n_genes is not None else robjects.NULL,
            _R_SEED,
        )
    except RRuntimeError as error:
        msg = f"R's sctransform stopped: {' '.join(str(error).split())}. Run `make env-r` if a package is missing, "
        raise InputError(msg + "or set expression.sctransform.engine to native.") from error
    values = np.array(result).reshape(4, -1)  # gene, theta, intercept, slope
    return pd.DataFrame(values[1:].T, index=values[0].astype(int) - 1, columns=["theta", "intercept", "slope"])


_R_CODE = """
function(i, p, x, dim, flavour, min_cells, n_cells, n_genes, seed) {
  umi <- Matrix::sparseMatrix(i = i, p = p, x = x, dims = dim,
    dimnames = list(paste0("g", seq_len(dim[1])), paste0("c", seq_len(dim[2]))))
  set.seed(seed)
  fit <- sctransform::vst(umi, vst.flavor = if (flavour == "v2") "v2" else NULL, min_cells = min_cells,
    n_cells = n_cells, n_genes = n_genes, return_gene_attr = FALSE, residual_type = "none", verbosity = 0)
  pars <- fit$model_pars_fit
  c(as.numeric(sub("g", "", rownames(pars))), pars[, "theta"], pars[, "(Intercept)"], pars[, "log_umi"])
}
"""
