"""Bandwidth, kernel smoothing and outliers as sctransform takes them from R's stats package.

Sheather and Jones' bandwidth: doi:10.1111/j.2517-6161.1991.tb01857.x, on 1,000 bins. R stops its root
finder early, so that its bandwidths are off by up to 0.2 %; `find_root` stops at the same point.
"""

import math
from collections.abc import Callable

import numpy as np

_BINS = 1000
_EPS = float(np.finfo(float).eps)
# R's ksmooth: quartiles of the kernel at +-0.25 bandwidth, cut off at 4 standard deviations
_SD_PER_BANDWIDTH = 0.3706506
_CUT_OFF = 4.0
_MAD_TO_SD = 1.4826


def bandwidth_sj(x: np.ndarray) -> float:
    """Sheather-Jones ("solve the equation") bandwidth of `x` (observation,), at least 2 different values."""
    x = np.asarray(x, dtype=np.float64)
    n = len(x)
    width, pairs = _pair_counts(x)
    low, high = np.quantile(x, [0.25, 0.75])
    scale = min(float(np.std(x, ddof=1)), float(high - low) / 1.349)
    if not scale > 0:
        scale = float(np.std(x, ddof=1))
    c1 = 1 / (2 * math.sqrt(math.pi) * n)
    td = -_phi6(1.23 * scale * n ** (-1 / 9), width, pairs, n)
    alpha = 1.357 * (_phi4(1.24 * scale * n ** (-1 / 7), width, pairs, n) / td) ** (1 / 7)

    def equation(h: float) -> float:
        return (c1 / _phi4(alpha * h ** (5 / 7), width, pairs, n)) ** 0.2 - h

    upper = 1.144 * scale * n ** (-0.2)
    lower, tolerance = 0.1 * upper, 0.1 * 0.1 * upper
    for attempt in range(1, 100):
        if equation(lower) * equation(upper) <= 0:
            break
        if attempt % 2:
            upper *= 1.2
        else:
            lower /= 1.2
    return find_root(equation, lower, upper, tolerance=tolerance)


def _pair_counts(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Bin width, and the number of pairs that are k bins apart (k,)."""
    width = (x.max() - x.min()) * 1.01 / _BINS
    bins = np.trunc(x / width).astype(np.int64)
    weights = np.bincount(bins - bins.min(), minlength=_BINS).astype(np.float64)
    pairs = np.correlate(weights, weights, mode="full")[len(weights) - 1 :]
    pairs[0] = np.sum(weights * (weights - 1)) / 2
    return float(width), np.rint(pairs)


def _phi4(h: float, width: float, pairs: np.ndarray, n: int) -> float:
    d = (np.arange(len(pairs)) * width / h) ** 2
    d = d[: np.searchsorted(d, 1000)]
    terms = np.exp(-d / 2) * (d * d - 6 * d + 3) * pairs[: len(d)]
    return float((2 * terms.sum() + 3 * n) / (n * (n - 1.0) * h**5 * math.sqrt(2 * math.pi)))


def _phi6(h: float, width: float, pairs: np.ndarray, n: int) -> float:
    d = (np.arange(len(pairs)) * width / h) ** 2
    d = d[: np.searchsorted(d, 1000)]
    terms = np.exp(-d / 2) * (d * d * d - 15 * d * d + 45 * d - 15) * pairs[: len(d)]
    return float((2 * terms.sum() - 15 * n) / (n * (n - 1.0) * h**7 * math.sqrt(2 * math.pi)))


def find_root(f: Callable[[float], float], low: float, high: float, *, tolerance: float) -> float:
    """Root of `f` in [low, high] by Brent's method, with the stopping rule of R's ``uniroot``.

    scipy's brentq stops elsewhere, which shows in the third digit at R's wide tolerance.
    """
    a, b, fa, fb = low, high, f(low), f(high)
    c, fc = a, fa
    for _ in range(1000):
        before = b - a
        if abs(fc) < abs(fb):
            a, b, c = b, c, b
            fa, fb, fc = fb, fc, fb
        enough = 2 * _EPS * abs(b) + tolerance / 2
        half = (c - b) / 2
        if abs(half) <= enough or fb == 0:
            return b
        step = half
        if abs(before) >= enough and abs(fa) > abs(fb):
            step = _interpolated(a, b, c, fa, fb, fc, half=half, before=before, enough=enough)
        if abs(step) < enough:
            step = math.copysign(enough, step)
        a, fa = b, fb
        b += step
        fb = f(b)
        if (fb > 0) == (fc > 0) and fb != 0 and fc != 0:
            c, fc = a, fa
    return b


def _interpolated(
    a: float, b: float, c: float, fa: float, fb: float, fc: float, *, half: float, before: float, enough: float
) -> float:
    """Linear or inverse quadratic step where it is short enough, otherwise the bisection `half`."""
    if a == c:
        ratio = fb / fa
        p, q = 2 * half * ratio, 1 - ratio
    else:
        q, t1, t2 = fa / fc, fb / fc, fb / fa
        p = t2 * (2 * half * q * (q - t1) - (b - a) * (t1 - 1))
        q = (q - 1) * (t1 - 1) * (t2 - 1)
    p, q = (p, -q) if p > 0 else (-p, q)
    good = p < 1.5 * half * q - abs(enough * q) / 2 and p < abs(before * q / 2)
    return p / q if good else half


def kernel_smooth(x: np.ndarray, y: np.ndarray, at: np.ndarray, *, bandwidth: float) -> np.ndarray:
    """Nadaraya-Watson means with a normal kernel of R's ``ksmooth``.

    x : (point,); y : (point, curve); at : (place,). Returns (place, curve), NaN where no point is near.
    """
    order = np.argsort(x, kind="stable")
    sd = _SD_PER_BANDWIDTH * bandwidth
    x, curves = x[order] / sd, np.column_stack([y[order], np.ones(len(x))])
    smooth = np.full((len(at), y.shape[1]), np.nan)
    places = np.argsort(at, kind="stable")
    for part in np.array_split(places, max(1, len(places) // 16)):
        here = at[part] / sd
        first = np.searchsorted(x, here[0] - _CUT_OFF)
        last = np.searchsorted(x, here[-1] + _CUT_OFF, side="right")
        weight = np.abs(here[:, None] - x[first:last])  # (place, point), distance in sd
        far = weight > _CUT_OFF
        weight *= weight
        weight *= -0.5
        np.exp(weight, out=weight)
        weight[far] = 0
        sums = weight @ curves[first:last]  # (place, curve and total weight)
        near = sums[:, -1] > 0
        smooth[part[near]] = sums[near, :-1] / sums[near, -1:]
    return smooth


def outliers(y: np.ndarray, x: np.ndarray, *, threshold: float) -> np.ndarray:
    """(point,) bool: points whose `y` lies far from others of similar `x`, in both of two staggered binnings."""
    width = (x.max() - x.min()) * bandwidth_sj(x) / 2
    start = x.min() - 10 * _EPS
    scores = [_robust_scores(y, x, start - shift, width) for shift in (0.0, width / 2)]
    return np.minimum(*np.abs(scores)) > threshold


def _robust_scores(y: np.ndarray, x: np.ndarray, start: float, width: float) -> np.ndarray:
    edges = start + width * np.arange(int((x.max() + width - start) / width) + 2)
    bins = np.searchsorted(edges, x, side="left")
    scores = np.zeros(len(x))
    for number in np.unique(bins):
        inside = bins == number
        centre = np.median(y[inside])
        spread = _MAD_TO_SD * np.median(np.abs(y[inside] - centre))
        scores[inside] = (y[inside] - centre) / (spread + _EPS)
    return scores
