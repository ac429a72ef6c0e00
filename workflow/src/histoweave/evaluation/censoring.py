"""Kaplan-Meier estimates of survival and of censoring.

Source: Kaplan and Meier (1958), doi:10.1080/01621459.1958.10501452; intervals on the log-log scale by Greenwood's
variance (Kalbfleisch and Prentice 2002, section 1.4). At equal times, events come before censorings.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Curve:
    """A right-continuous step function that is 1 before its first time.

    time_days : (step,) increasing; value, lower, upper : (step,)
    """

    time_days: np.ndarray
    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def at(self, time_days: np.ndarray | float) -> np.ndarray:
        """Value at each of `time_days`."""
        index = np.searchsorted(self.time_days, time_days, side="right")
        return np.concatenate([[1.0], self.value])[index]

    def median_days(self) -> float:
        """First time at which the curve is at or below one half; NaN if it stays above."""
        below = np.flatnonzero(self.value <= 0.5)
        return float(self.time_days[below[0]]) if len(below) else np.nan


def survival_curve(
    time: np.ndarray, event: np.ndarray, *, confidence: float, weight: np.ndarray | None = None
) -> Curve:
    """Kaplan-Meier estimate of survival.

    time, event : (patient,); weight : (patient,) or None for 1; confidence : level of the pointwise interval
    """
    steps, at_risk, events, _ = _counts(time, event, weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.cumprod(1 - events / at_risk)
        greenwood = np.cumsum(events / (at_risk * (at_risk - events)))
        spread = NormalDist().inv_cdf(0.5 + confidence / 2) * np.sqrt(greenwood) / np.abs(np.log(value))
        inner = (value > 0) & (value < 1)
        lower = np.where(inner, value ** np.exp(spread), value)
        upper = np.where(inner, value ** np.exp(-spread), value)
    return Curve(steps, value, lower, upper)


def censoring_curve(time: np.ndarray, event: np.ndarray) -> Curve:
    """Kaplan-Meier estimate of being uncensored, G(t): ("reverse Kaplan-Meier"), without intervals."""
    steps, at_risk, events, censored = _counts(time, event, None)
    remaining = at_risk - events
    value = np.cumprod(np.where(remaining > 0, 1 - censored / np.maximum(remaining, 1e-300), 1.0))
    return Curve(steps, value, value, value)


def _counts(
    time: np.ndarray, event: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    event = np.asarray(event, bool)
    weight = np.ones(len(time)) if weight is None else weight
    steps, index = np.unique(time, return_inverse=True)
    events = np.bincount(index, weights=weight * event, minlength=len(steps))
    censored = np.bincount(index, weights=weight * ~event, minlength=len(steps))
    at_risk = np.cumsum((events + censored)[::-1])[::-1]
    return steps, at_risk, events, censored


def at_risk_table(
    time: np.ndarray, event: np.ndarray, times_days: np.ndarray, *, weight: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Count, at each of `times_days`, those still followed, and the events and censorings up to then.

    time, event, weight : (patient,). Returns columns `time_days`, `at_risk`, `events`, `censored`.
    """
    weight = np.ones(len(time)) if weight is None else weight
    reached = time[None, :] >= times_days[:, None]  # (time, patient)
    event = np.asarray(event, bool)
    past = time[None, :] <= times_days[:, None]
    return {
        "time_days": times_days.astype(float),
        "at_risk": reached @ weight,
        "events": (past & event) @ weight,
        "censored": (past & ~event) @ weight,
    }
