"""Concordance of risks with follow-up in O(n log n).

Sources: Harrell et al. (1996), doi:10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4;
Uno et al. (2011), doi:10.1002/sim.4154. Pairs are counted with a wavelet matrix
(Claude, Navarro, Ordonez 2015, doi:10.1016/j.is.2014.06.002).

| symbol | name here | axes | meaning |
|---|---|---|---|
| Y_i | time | (patient,) | last day of follow-up |
| delta_i | event | (patient,) | whether the event was seen then |
| eta_i | risk | (patient,) | predicted risk, higher = worse |
| 1 / G(Y_i)^2 | weight | (patient,) | weight of the pairs in which patient i has the event; 1 for Harrell's c |

A pair (i, j) is comparable if i has the event and j is known to live longer: ``Y_j > Y_i``, or ``Y_j = Y_i`` and j
is censored. Risks that differ by at most `TIED` count one half, as in scikit-survival, to which the result is equal.
"""

from dataclasses import dataclass

import numpy as np

from histoweave.errors import InputError

TIED = 1e-8


@dataclass(frozen=True)
class Concordance:
    """Weighted sums over the comparable pairs; `index` is NaN when there is none."""

    concordant: float
    tied: float
    comparable: float

    @property
    def index(self) -> float:
        """The concordance index, 0.5 for risks without information."""
        return (self.concordant + 0.5 * self.tied) / self.comparable if self.comparable > 0 else np.nan


def concordance(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, *, weight: np.ndarray | None = None
) -> Concordance:
    """Count concordant, tied and comparable pairs.

    time, event, risk : (patient,); weight : (patient,) weight of each patient's event, or None for 1
    Raises InputError if a risk or time is not finite.
    """
    time, event, risk = np.asarray(time, float), np.asarray(event, bool), np.asarray(risk, float)
    if not (np.isfinite(risk).all() and np.isfinite(time).all()):
        msg = "concordance needs finite times and risks. Look for NaN or infinite values in risk.parquet."
        raise InputError(msg)
    order, first_later = comparable_after(time, event)
    cases = np.flatnonzero(event[order])
    risk = risk[order]
    by_risk = np.argsort(risk, kind="stable")
    ranked = risk[by_risk]
    ranks = np.empty(len(risk), dtype=np.int64)
    ranks[by_risk] = np.arange(len(risk))
    starts = first_later[cases]
    below, not_above = _count_smaller(
        ranks,
        np.concatenate([starts, starts]),
        np.concatenate(
            [
                np.searchsorted(ranked, risk[cases] - TIED, side="left"),
                np.searchsorted(ranked, risk[cases] + TIED, side="right"),
            ]
        ),
    ).reshape(2, -1)
    weights = np.ones(len(cases)) if weight is None else np.asarray(weight, float)[order][cases]
    return Concordance(
        concordant=float(weights @ below),
        tied=float(weights @ (not_above - below)),
        comparable=float(weights @ (len(time) - starts)),
    )


def comparable_after(time: np.ndarray, event: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order patients so that those comparable with an event are a tail of the order.

    Returns `order` (patient,), sorted by time with events before censored at equal times, and `first_later`
    (patient,): in that order, the position from which all patients are known to outlive an event at this position.
    """
    censored_last = np.argsort(~event, kind="stable")
    order = censored_last[np.argsort(time[censored_last], kind="stable")]
    time, event = time[order], event[order]
    begins = np.flatnonzero(np.concatenate([[True], time[1:] != time[:-1]])[: len(time)])
    sizes = np.diff(np.concatenate([begins, [len(time)]]))
    events = np.add.reduceat(event.astype(np.int64), begins) if len(time) else sizes
    return order, np.repeat(begins + events, sizes)


def _count_smaller(values: np.ndarray, starts: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Count, for each query, the positions from `starts` on whose value is below `limits`.

    values : (n,) a permutation of 0..n-1; starts, limits : (query,) in 0..n
    """
    n, queries = len(values), len(starts)
    values, limits = values.astype(np.int32), limits.astype(np.int32)
    bounds = np.concatenate([starts, np.full(queries, n)]).astype(np.int32)  # left ends, then right ends
    count = np.zeros(queries, dtype=np.int32)
    ones_before = np.zeros(n + 1, dtype=np.int32)
    for bit in range(n.bit_length() - 1, -1, -1):
        ones = (values >> bit) & 1
        np.cumsum(ones, out=ones_before[1:])
        among_ones = ones_before.take(bounds)
        among_zeros = bounds - among_ones
        up = (limits >> bit) & 1  # the limit is above all values whose bit is 0
        count += (among_zeros[queries:] - among_zeros[:queries]) * up
        among_ones += n - ones_before[-1]
        bounds = among_zeros + (among_ones - among_zeros) * np.concatenate([up, up])
        one = ones.astype(bool)
        values = np.concatenate([values[~one], values[one]])
    return count
