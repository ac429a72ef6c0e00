"""Analytic Pearson residuals (doi:10.1186/s13059-021-02451-7): one overdispersion for all genes, no fit.

| symbol  | name here | axes          | meaning                                            |
|---------|-----------|---------------|----------------------------------------------------|
| mu_ij   | (inlined) | (cell, gene)  | depth of the cell x share of the gene in all counts |
| theta   | theta     | scalar        | 100, the paper's choice for technical variation     |

A plain model for data that is too small or too uniform for sctransform's regularisation.
It is written as an sctransform model with slope ln 10, so that both give residuals in one way.
"""

import numpy as np
import pandas as pd

from histoweave.expression.sctransform import GeneStats, Model

_THETA = 100.0


def fit(stats: GeneStats, depth: np.ndarray, *, min_cells: int) -> Model:
    """Model of the genes found in at least `min_cells` cells; depth : (cell,) total counts."""
    genes = np.flatnonzero(stats.cells >= max(min_cells, 1))
    mean = stats.mean[genes]
    table = pd.DataFrame(
        {
            "theta": np.full(len(genes), _THETA),
            "intercept": np.log(mean) - np.log(depth.mean()),
            "slope": np.full(len(genes), np.log(10.0)),
            "mean": mean,
            "variance": stats.variance[genes],
            "log_mean": stats.log_mean[genes],
            "poisson": np.zeros(len(genes), dtype=bool),
        }
    )
    return Model(0, genes, table, table.iloc[:0], 0.0)
