"""P-values: false discovery rates and the Cauchy combination."""

import numpy as np
from scipy.special import logsumexp

_SMALL = 1e-16
_HUGE = 1e15


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q-values of `p` (test,), in its order; NaN stays NaN and is not counted as a test."""
    return _step_up(p, factor=1.0)


def benjamini_yekutieli(p: np.ndarray) -> np.ndarray:
    """Benjamini-Yekutieli q-values of `p` (test,), valid under any dependence; NaN as in `benjamini_hochberg`."""
    m = int(np.isfinite(p).sum())
    return _step_up(p, factor=float(np.sum(1.0 / np.arange(1, m + 1))))


def _step_up(p: np.ndarray, *, factor: float) -> np.ndarray:
    q = np.full(np.shape(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    if len(tested):
        down = tested[np.argsort(-np.asarray(p)[tested], kind="stable")]
        m = len(tested)
        scaled = factor * m / np.arange(m, 0, -1) * np.asarray(p)[down]
        q[down] = np.minimum(1.0, np.minimum.accumulate(scaled))
    return q


def cauchy_combination(p: np.ndarray) -> np.ndarray:
    """Combine p-values over the last axis with equal weights (ACAT, doi:10.1016/j.ajhg.2019.01.002).

    p : (..., test) in [0, 1]; NaN in a row gives NaN. A 1 gives 1 and a 0 gives 0 (0 wins),
    as in the reference software, which takes neither tangent.
    """
    p = np.asarray(p, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p < _SMALL, 1.0 / (p * np.pi), np.tan((0.5 - p) * np.pi))
        total = terms.mean(axis=-1)
        # 1/t instead of .5 - atan(t)/pi keeps all digits of small values
        combined = np.where(total > 0, np.arctan(1.0 / total) / np.pi, 0.5 - np.arctan(total) / np.pi)
        combined = np.where(total > _HUGE, 1.0 / (total * np.pi), combined)
    combined = np.where((p == 1).any(axis=-1), 1.0, combined)
    combined = np.where((p == 0).any(axis=-1), 0.0, combined)
    return np.where(np.isnan(p).any(axis=-1), np.nan, combined)


def log_cauchy_combination(log_p: np.ndarray, combined: np.ndarray) -> np.ndarray:
    """Natural log of the combination, also where it is too small for a float.

    log_p : (..., test) logs of the p-values; combined : (...) their `cauchy_combination`
    For small p the tangent is 1/(p pi), so the combination tends to the harmonic mean of p.
    """
    harmonic = np.log(log_p.shape[-1]) - logsumexp(-log_p, axis=-1)
    with np.errstate(divide="ignore"):
        return np.where(combined > _SMALL, np.log(combined), harmonic)
