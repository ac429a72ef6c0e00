"""Survival curves from risks: Breslow's baseline hazard, fitted on the training part.

Source: Breslow 1972, discussion of Cox (doi:10.1111/j.2517-6161.1972.tb00900.x):
H0(t) = sum over event times t_k <= t of d_k / sum_{j: t_j >= t_k} exp(risk_j);  S(t | risk) = exp(-H0(t) exp(risk)).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from histoweave.errors import InputError

_MOST_LOG_RISK = 50.0


@dataclass(frozen=True)
class Baseline:
    """Cumulative baseline hazard as a step function.

    times : (step,) event times, rising; cumulative : (step,) hazard up to and with each time
    centre : mean training risk, taken off before the exponential
    slope : factor on the centred risk (1 = as the model gives it)
    """

    times: np.ndarray
    cumulative: np.ndarray
    centre: float
    slope: float = 1.0

    @classmethod
    def fitted(cls, time: np.ndarray, event: np.ndarray, risk: np.ndarray, *, slope: float = 1.0) -> "Baseline":
        """Fit on training patients; time, event, risk : (patient,). Raises InputError without events."""
        time, risk = np.asarray(time, dtype=float), np.asarray(risk, dtype=float)
        event = np.asarray(event) > 0
        if not event.any():
            msg = f"none of the {len(time)} training patients had an event: no survival curve can be fitted."
            raise InputError(msg)
        centre = float(risk.mean())
        weight = np.exp(np.clip(slope * (risk - centre), -_MOST_LOG_RISK, _MOST_LOG_RISK))
        times, deaths = np.unique(time[event], return_counts=True)
        order = np.argsort(time)
        tail = np.cumsum(weight[order][::-1])[::-1]  # sum of weights of time >= sorted time
        at_risk = tail[np.searchsorted(time[order], times, side="left")]
        return cls(times, np.cumsum(deaths / at_risk), centre, slope)

    def survival(self, risk: np.ndarray, horizons_days: Sequence[float]) -> np.ndarray:
        """(patient, horizon) probability of no event up to each horizon."""
        place = np.searchsorted(self.times, np.asarray(horizons_days, dtype=float), side="right")
        hazard = np.concatenate([[0.0], self.cumulative])[place]  # (horizon,)
        log_risk = np.clip(self.slope * (np.asarray(risk, dtype=float) - self.centre), -_MOST_LOG_RISK, _MOST_LOG_RISK)
        return np.exp(-np.exp(log_risk)[:, None] * hazard[None, :])

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and numbers for `restored`."""
        arrays = {"baseline.times": self.times, "baseline.cumulative": self.cumulative}
        return arrays, {"centre": self.centre, "slope": self.slope}

    @classmethod
    def restored(cls, tensors: dict[str, np.ndarray], meta: dict) -> "Baseline":
        """Inverse of `state`."""
        return cls(tensors["baseline.times"], tensors["baseline.cumulative"], meta["centre"], meta["slope"])
