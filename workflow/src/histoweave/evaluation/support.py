"""Which horizons the follow-up supports; the others are reported as missing, with the reason."""

from collections.abc import Sequence

import numpy as np

from histoweave.errors import InputError, counted
from histoweave.evaluation.panel import Predictions


def choose_horizons(times_days: np.ndarray, wanted: Sequence[float]) -> list[float]:
    """Horizons to report: `wanted`, or all of `times_days` (time,) if it is empty.

    Raises InputError if a wanted horizon has no survival column.
    """
    known = [float(day) for day in times_days]
    if absent := [day for day in wanted if float(day) not in known]:
        msg = (
            f"evaluation.metrics.horizons_days: no model predicts survival at {absent[0]:g} days. "
            f"Take one of survival.horizons_days: {', '.join(f'{day:g}' for day in known)}."
        )
        raise InputError(msg)
    return [float(day) for day in wanted] or known


def unsupported(predictions: Predictions, day: float, *, min_at_risk: int) -> str:
    """Say why nothing can be estimated at `day`; an empty text if it can.

    Every training part must follow somebody beyond `day` (the censoring weights end there), and at least
    `min_at_risk` patients of the test parts must still be followed.
    """
    short = [part.fold for part in predictions.folds if part.fold.train_time.max() <= day]
    if short:
        return (
            f"follow-up of the training part ends before day {day:g} in {counted(len(short), 'fold')} "
            f"(first: repeat {short[0].repeat}, fold {short[0].fold})"
        )
    beyond = {int(i) for part in predictions.folds for i in part.fold.patients[part.fold.time > day]}
    if len(beyond) < min_at_risk:
        return f"{len(beyond)} patients are followed beyond day {day:g}; {min_at_risk} are needed"
    return ""


def split_times(
    predictions: Predictions, times_days: Sequence[float], *, min_at_risk: int
) -> tuple[list[float], dict[float, str]]:
    """Split `times_days` into those that can be estimated and, for the others, the reason."""
    reasons = {day: unsupported(predictions, day, min_at_risk=min_at_risk) for day in map(float, times_days)}
    return [day for day, reason in reasons.items() if not reason], {d: r for d, r in reasons.items() if r}


def usable_horizons(predictions: Predictions, wanted: Sequence[float], *, min_at_risk: int) -> list[float]:
    """Horizons to report that follow-up supports."""
    times = predictions.times_days
    return split_times(predictions, choose_horizons(times, wanted), min_at_risk=min_at_risk)[0] if len(times) else []
