"""Proportions from features: ridge regression and non-negative least squares, what stage 1 has to beat.

Sources: ridge regression, Hoerl and Kennard 1970 (doi:10.1080/00401706.1970.10488634); deconvolution by non-negative
least squares on the types' mean profiles, as in DeconRNASeq (Gong and Szustakowski 2013,
doi:10.1093/bioinformatics/btt090).
"""

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_LEAST_VARIANCE = 1e-3


def simplex(found: Tensor) -> Tensor:
    """Proportions from regressed values: negatives become 0, each row sums to 1; (sample, type)."""
    kept = found.clamp_min(0) + 1e-9
    return kept / kept.sum(dim=1, keepdim=True)


def proportion_error(found: Tensor, truth: Tensor) -> float:
    """Mean absolute error of proportions (mixture, type)."""
    return float((found - truth).abs().mean())


def _ridge(x: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Weights (feature, type) and intercept (type,) of ridge regression on features of equal variance."""
    x, y = x.double(), y.double()
    mean, sd, centre = x.mean(0), x.std(0).clamp_min(1e-9), y.mean(0)
    scaled = (x - mean) / sd
    penalty = ridge * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(scaled.T @ scaled + penalty, scaled.T @ (y - centre)) / sd[:, None]
    return weights.float(), (centre - mean @ weights).float()


def fit_ridge(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Ridge regression of proportions; its penalty is chosen on the last fifth of the mixtures."""
    cut = len(x) - max(1, len(x) // 5)
    fits = {}
    for ridge in _RIDGES:
        weights, intercept = _ridge(x[:cut], y[:cut], ridge)
        fits[ridge] = proportion_error(simplex(x[cut:] @ weights + intercept), y[cut:])
    return _ridge(x, y, min(fits, key=fits.get))


def ridge_error(x_train: Tensor, y_train: Tensor, x_held: Tensor, y_held: Tensor) -> float:
    """Held-out error of ridge regression on given features."""
    weights, intercept = fit_ridge(x_train, y_train)
    return proportion_error(simplex(x_held @ weights + intercept), y_held)


def least_squares(profiles: np.ndarray, variance: np.ndarray, mixtures: np.ndarray) -> Tensor:
    """Proportions (mixture, type) by weighted non-negative least squares on known profiles of the types.

    profiles : (type, gene) mean expression; variance : (gene,) inside the types; mixtures : (mixture, gene)
    """
    weight = 1.0 / np.sqrt(variance + _LEAST_VARIANCE)
    design = (profiles * weight).T
    found = np.stack([nnls(design, mixture * weight)[0] for mixture in mixtures])
    return simplex(torch.as_tensor(found, dtype=torch.float32))
