"""Time in bins: edges at quantiles of the training part's event times, and curves from the hazards of the bins."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from histoweave.errors import InputError


@dataclass(frozen=True)
class TimeBins:
    """Bins of follow-up.

    edges : (bin + 1,) days; the first is 0, the last the end of the training part's follow-up
    """

    edges: np.ndarray

    @classmethod
    def fitted(cls, time: np.ndarray, event: np.ndarray, *, bins: int) -> "TimeBins":
        """Edges at equal shares of the event times of training patients; equal edges are merged."""
        time = np.asarray(time, dtype=float)
        events = time[np.asarray(event) > 0]
        if len(events) < bins:
            msg = f"{len(events)} training events cannot make {bins} time bins. Use fewer bins, or other folds."
            raise InputError(msg)
        inner = np.unique(np.quantile(events, np.linspace(0, 1, bins + 1)[1:-1]))
        return cls(np.concatenate([[0.0], inner, [max(time.max(), inner[-1] + 1.0)]]))

    @property
    def count(self) -> int:
        """Number of bins."""
        return len(self.edges) - 1

    def assign(self, time: np.ndarray) -> np.ndarray:
        """(patient,) bin of each time; what is after the end counts as the last bin."""
        return np.clip(np.searchsorted(self.edges, time, side="right") - 1, 0, self.count - 1)

    def survival(self, hazards: np.ndarray, horizons_days: Sequence[float]) -> np.ndarray:
        """(patient, horizon) from hazards (patient, bin); constant rate inside a bin, none after the end."""
        log_alive = np.log1p(-np.clip(hazards, 0.0, 1.0 - 1e-7))
        knots = np.concatenate([np.zeros((len(hazards), 1)), np.cumsum(log_alive, axis=1)], axis=1)
        return np.exp(np.stack([np.interp(horizons_days, self.edges, row) for row in knots]))
