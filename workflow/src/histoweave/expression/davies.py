"""Davies' tail of a sum of equally weighted chi-squares, as R's CompQuadForm computes it (AS 155)."""

import numpy as np
from scipy import special


def davies_tail(ratio: np.ndarray, rank: int) -> np.ndarray:
    """P(chi-square with `rank` degrees of freedom > ratio)."""
    return special.chdtrc(rank, ratio)
