"""Sums over cells of smooth functions of the sequencing depth, without visiting the cells again.

In models of counts the weight of an entry depends on the gene only through a parameter and on the cell only
through its depth: 1/(1 + a_j s_i) is a sigmoid of ln a_j + ln s_i. A smooth function of ln s is given to
rounding by its values at few Chebyshev nodes (Trefethen, Approximation Theory and Practice, ch. 8):

    f(s_i) = sum_k L_ik f(node_k),  so that  sum_i c_i f_j(s_i) = sum_k (sum_i c_i L_ik) f_j(node_k).

The bracket is taken once; what an iteration or a pair of genes needs then costs as many terms as there are nodes.

| symbol | name here | axes         | meaning                                                        |
|--------|-----------|--------------|----------------------------------------------------------------|
| s_i    | depth     | (cell,)      | total counts of the cell, > 0                                  |
| s*_k   | nodes     | (node,)      | depths at which functions are evaluated                        |
| L_ik   | `at`      | (cell, node) | Lagrange's polynomial of node k in ln depth, at the cell       |
| h      | half      | scalar       | half the range of ln depth                                     |
"""

from dataclasses import dataclass

import numpy as np

# -ln of the wanted error, 3e-17: below rounding
_DIGITS = 38.0
_SPARE_NODES = 4


@dataclass(frozen=True)
class DepthBasis:
    """nodes : (node,) depths, decreasing; middle, half : centre and half width of the range of ln depth."""

    nodes: np.ndarray
    middle: float
    half: float

    def at(self, depth: np.ndarray) -> np.ndarray:
        """Weights (cell, node) that give a function at `depth` (cell,) from its values at the nodes."""
        m = len(self.nodes)
        if m == 1:
            return np.ones((len(depth), 1))
        x = np.clip((np.log(depth) - self.middle) / self.half, -1, 1)
        order = np.arange(m)
        polynomials = np.cos(np.arccos(x)[:, None] * order)  # (cell, order)
        at_nodes = np.cos(_angles(m)[:, None] * order)  # (node, order)
        at_nodes[:, 0] /= 2
        return polynomials @ (at_nodes.T * (2 / m))


def depth_basis(depth: np.ndarray, *, steepness: float = 1.0) -> DepthBasis:
    """Nodes for functions of ln `depth` (cell,) whose nearest singularity lies pi / `steepness` beside the real line.

    With 1 that is 1/(1 + a s) for any a > 0, its powers, and s itself; with c the same of a s^c. The error falls by
    the factor rho per node, where rho = pi/h + sqrt((pi/h)^2 + 1) is the size of the largest ellipse without a
    singularity.
    """
    low, high = float(np.log(depth.min())), float(np.log(depth.max()))
    middle, half = (low + high) / 2, (high - low) / 2
    if half < 1e-12:
        return DepthBasis(np.array([np.exp(middle)]), middle, half)
    m = int(np.ceil(_DIGITS / np.arcsinh(np.pi / (half * steepness)))) + _SPARE_NODES
    return DepthBasis(np.exp(middle + half * np.cos(_angles(m))), middle, half)


def _angles(m: int) -> np.ndarray:
    return (np.arange(m) + 0.5) * (np.pi / m)
