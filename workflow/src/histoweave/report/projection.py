"""Two dimensions of the gene vectors, for a picture."""

import numpy as np
import pandas as pd


def principal_plane(vectors: pd.DataFrame, modules: pd.DataFrame | None) -> pd.DataFrame:
    """First two principal components of the gene vectors, with each gene's module.

    vectors : ``gene`` and one column per dimension, named ``e0``, ``e1``, ...
    modules : ``gene``, ``module``; genes of none are "none"
    Returns ``gene``, ``x``, ``y``, ``module``. The sign of an axis makes its largest loading positive.
    """
    names = [name for name in vectors if name != "gene" and name[1:].isdigit()]
    centred = vectors[names].to_numpy(dtype=np.float64)
    centred = centred - centred.mean(axis=0)  # (gene, dim)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    plane = centred @ axes.T
    module = pd.Series("none", index=vectors.index)
    if modules is not None:
        module = vectors["gene"].map(modules.set_index("gene")["module"].astype(str)).fillna("none")
    return pd.DataFrame({"gene": vectors["gene"], "x": plane[:, 0], "y": plane[:, 1], "module": module})
