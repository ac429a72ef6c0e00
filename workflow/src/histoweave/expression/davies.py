"""Tail of a chi-square by Davies' numerical inversion, with the errors of R's CompQuadForm (AS 155).

Source: Davies 1980, doi:10.2307/2346911. R's SPARK-X calls it for d equal weights, where the exact tail is
known; this module exists to repeat R's numbers (``pvalue: davies``), which are off by up to 4e-5.

| symbol   | name here   | axes     | meaning                                                    |
|----------|-------------|----------|------------------------------------------------------------|
| c        | c           | (test,)  | statistic divided by the weight, so that all weights are 1 |
| d        | rank        | scalar   | degrees of freedom                                         |
| sigma^2  | v           | (test,)  | variance of the normal term added to damp the integrand    |
| U        | limit       | (test,)  | where the integral is cut                                  |
| Delta    | interval    | (test,)  | step of the integration                                    |

Deviation: one weight is enough here, and all tests advance together, each with its own state.
"""

import numpy as np
from scipy import special

_ACCURACY = 1e-4
_MOST_TERMS = 1e4
_LOG2_8 = 0.0866
_TESTS_AT_ONCE = 4096


def davies_tail(ratio: np.ndarray, rank: int) -> np.ndarray:
    """P(chi-square with `rank` degrees of freedom > ratio) as R computes it; ratio : (test,), >= 0.

    Where the inversion gives nothing positive, R falls back on Liu's moments, which are exact for equal weights.
    """
    ratio = np.asarray(ratio, dtype=np.float64)
    parts = [_invert(ratio[i : i + _TESTS_AT_ONCE], rank) for i in range(0, len(ratio), _TESTS_AT_ONCE)]
    p = np.concatenate(parts) if parts else np.zeros(0)
    return np.where(p > 0, p, special.chdtrc(rank, ratio))


def _invert(c: np.ndarray, d: int) -> np.ndarray:
    sd = np.sqrt(2.0 * d)
    v, integral, terms_left = np.zeros_like(c), np.zeros_like(c), np.full_like(c, _MOST_TERMS)
    limit = _find_limit(np.full_like(c, 16 / sd), np.full_like(c, _ACCURACY / 2), v, d)
    t = 0.25 * _ACCURACY / _smoothing_error(c, d)
    smoother = (c != 0) & (_truncation_error(limit, t, v, d) < 0.2 * _ACCURACY)
    v = np.where(smoother, v + t, v)
    limit = np.where(smoother, _find_limit(limit, np.full_like(c, 0.25 * _ACCURACY), v, d), limit)
    accuracy = np.full_like(c, _ACCURACY / 2)
    upper, lower = np.full_like(c, 4.5 / sd), np.full_like(c, -4.5 / sd)
    answer = np.full_like(c, np.nan)
    interval, terms = np.ones_like(c), np.zeros_like(c)
    active = np.arange(len(c))
    while len(active):
        state = [array[active] for array in (c, v, limit, accuracy)]
        upper[active], above = _cut_off(upper[active], state[3], state[1], d)
        lower[active], below = _cut_off(lower[active], state[3], state[1], d)
        d1, d2 = above - state[0], state[0] - below
        answer[active[d1 < 0]], answer[active[(d1 >= 0) & (d2 < 0)]] = 0.0, 1.0
        inside = (d1 >= 0) & (d2 >= 0)
        active, state = active[inside], [array[inside] for array in state]
        interval[active] = 2 * np.pi / np.maximum(d1, d2)[inside]
        terms[active] = state[2] / interval[active]
        more, changes = _auxiliary(*state, terms[active], d)
        active = active[more]
        if len(active):
            t, part, used = changes
            integral[active] += part
            terms_left[active] -= used
            v[active] += t
            accuracy[active] *= 0.67
            limit[active] = _find_limit(limit[active], 0.25 * accuracy[active], v[active], d)
            accuracy[active] *= 0.75
    rest = np.flatnonzero(np.isnan(answer))
    integral[rest] += _integrate(c[rest], v[rest], interval[rest], np.floor(terms[rest] + 0.5), None, d)
    answer[rest] = np.where(terms[rest] > terms_left[rest], np.nan, 0.5 + integral[rest])
    return answer


def _auxiliary(
    c: np.ndarray, v: np.ndarray, limit: np.ndarray, accuracy: np.ndarray, terms: np.ndarray, d: int
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Tests (positions) that are damped further, and for them the added variance, the integral's part and its terms."""
    fewest = 3 / np.sqrt(accuracy)
    number = np.floor(fewest + 0.5)
    step = limit / number
    reach = 2 * np.pi / step
    more = np.flatnonzero((terms > 1.5 * fewest) & (reach > np.abs(c)))
    c, v, step, number, reach = (array[more] for array in (c, v, step, number, reach))
    errors = _smoothing_error(c - reach, d) + _smoothing_error(c + reach, d)
    t = 0.33 * accuracy[more] / (1.1 * errors)
    return more, (t, _integrate(c, v, step, number, t, d), fewest[more])


def _exp(x: np.ndarray) -> np.ndarray:
    return np.where(x < -50, 0.0, np.exp(np.maximum(x, -50)))


def _tail_bound(u: np.ndarray, v: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Bound on the tail probability at `u`, and the cut-off that it belongs to."""
    x = 2 * u
    exponent = u * u * v + d * (x * x / (1 - x) + np.log1p(-x) + x)
    return _exp(-exponent / 2), u * v + d / (1 - x)


def _cut_off(u2: np.ndarray, accuracy: np.ndarray, v: np.ndarray, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut-off beyond which less than `accuracy` lies, searched from `u2`; returns (last u2, cut-off)."""
    b = np.where(u2 > 0, 2.0, 0.0)
    u1, c1 = np.zeros_like(u2), np.full_like(u2, float(d))
    bound, c2 = _tail_bound(u2 / (1 + u2 * b), v, d)
    while (far := bound > accuracy).any():
        u1, c1 = np.where(far, u2, u1), np.where(far, c2, c1)
        u2 = np.where(far, 2 * u2, u2)
        bound, c2 = _tail_bound(u2 / (1 + u2 * b), v, d)
    while (wide := (c1 - d) / (c2 - d) < 0.9).any():
        middle = (u1 + u2) / 2
        bound, cut = _tail_bound(middle / (1 + middle * b), v, d)
        low, high = wide & (bound > accuracy), wide & (bound <= accuracy)
        u1, c1 = np.where(low, middle, u1), np.where(low, cut, c1)
        u2, c2 = np.where(high, middle, u2), np.where(high, cut, c2)
    return u2, c2


def _truncation_error(u: np.ndarray, t: np.ndarray | float, v: np.ndarray, d: int) -> np.ndarray:
    """Bound on what the integral loses beyond `u`."""
    s = (v + t) * u * u
    p1 = 2 * s
    x = (2 * u) ** 2
    large = x > 1
    p2 = np.where(large, d * np.log(np.maximum(x, 1e-300)), 0) + p1 + np.where(large, 0, d * np.log1p(x))
    p3 = p1 + d * np.log1p(x)
    first, second = _exp(-p2 / 4) / np.pi, _exp(-p3 / 4) / np.pi
    e = np.minimum(np.where(large, 2 * first / d, 1.0), np.where(p3 > 1, 2.5 * second, 1.0))
    half = s / 2
    f = np.where(half > second, second / np.maximum(half, 1e-300), 1.0)
    return np.minimum(e, f)


def _find_limit(limit: np.ndarray, accuracy: np.ndarray, v: np.ndarray, d: int) -> np.ndarray:
    """Where to cut the integral so that the truncation error is at most `accuracy`, to within a factor 1.1."""
    u = limit / 4
    grow = _truncation_error(u, 0.0, v, d) > accuracy
    result = np.where(grow, limit, u)
    while (short := grow & (_truncation_error(result, 0.0, v, d) > accuracy)).any():
        result = np.where(short, result * 4, result)
    while (long := ~grow & (_truncation_error(result / 4, 0.0, v, d) <= accuracy)).any():
        result = np.where(long, result / 4, result)
    for factor in (2.0, 1.4, 1.2, 1.1):
        result = np.where(_truncation_error(result / factor, 0.0, v, d) <= accuracy, result / factor, result)
    return result


def _smoothing_error(x: np.ndarray, d: int) -> np.ndarray:
    """Coefficient of t in the error that a damping of variance t causes at `x`."""
    a = np.abs(x)
    if_none = 1 / (np.pi * np.maximum(a, 1e-300) ** 2)  # no weight has the sign of a negative x
    exponent, stopped = np.zeros_like(a), np.zeros(a.shape, dtype=bool)
    for left in range(d - 1, -1, -1):
        a1 = a - 1
        stop = ~stopped & (a1 <= 1 / _LOG2_8)
        bounded = np.minimum(a, 1 / _LOG2_8)
        exponent = np.where(stop, bounded - a1 + left, exponent)
        a = np.where(stopped, a, np.where(stop, bounded, a1))
        stopped |= stop
    return np.where(x > 0, 2 ** (exponent / 4) / (np.pi * a * a), if_none)


def _integrate(
    c: np.ndarray, v: np.ndarray, step: np.ndarray, number: np.ndarray, t: np.ndarray | None, d: int
) -> np.ndarray:
    """Trapezoidal sum (test,) of the inversion integral at (k + 1/2) `step`, k = `number` .. 0."""
    if not len(c):
        return np.zeros(0)
    total = np.zeros_like(c)
    for first in range(0, int(number.max()) + 1, 64):
        k = np.arange(first, first + 64)
        u = (k + 0.5) * step[:, None]  # (test, term)
        log_size = -v[:, None] * u * u / 2 - d / 4 * np.log1p(4 * u * u)
        size = step[:, None] / (np.pi * u) * np.exp(log_size)
        if t is not None:
            size *= 1 - _exp(-t[:, None] * u * u / 2)
        wave = np.sin(d * np.arctan(2 * u) / 2 - u * c[:, None])
        total += np.where(k <= number[:, None], size * wave, 0.0).sum(axis=1)
    return total
