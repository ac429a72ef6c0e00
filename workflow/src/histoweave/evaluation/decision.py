"""Decision curve: whether it is worth acting on the predicted risk.

Source: Vickers et al. (2008), doi:10.1186/1472-6947-8-53 (censored data: section "Extension to survival data").

| symbol | name here | axes | meaning |
|---|---|---|---|
| p_t | threshold | () | risk from which one would act; its odds weigh a needless action against a missed event |
| P(x = 1) | share | () | patients above the threshold |
| S(t, x = 1) | survival of those | () | by Kaplan-Meier |

net benefit = (1 - S) P(x = 1) - S P(x = 1) p_t / (1 - p_t). The mean over repeats.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from histoweave.evaluation.calibration import repeats_of
from histoweave.evaluation.censoring import survival_curve
from histoweave.evaluation.panel import Panel, Predictions

TREAT_ALL, TREAT_NONE = "treat all", "treat none"


@dataclass(frozen=True)
class DecisionSettings:
    """Which thresholds.

    lowest, highest : risks; steps : thresholds from the lowest to the highest
    """

    section: ClassVar[str] = "evaluation.decision"
    lowest: float
    highest: float
    steps: int

    def thresholds(self) -> np.ndarray:
        """Return the thresholds (threshold,)."""
        return np.linspace(self.lowest, self.highest, self.steps)


def net_benefit(time: np.ndarray, event: np.ndarray, acted: np.ndarray, *, horizon: float, threshold: float) -> float:
    """Net benefit of acting on those where `acted` is true; NaN if none of them is followed to the horizon.

    time, event, acted : (patient,)
    """
    if not acted.any():
        return 0.0
    curve = survival_curve(time[acted], event[acted], confidence=0.95)
    if time[acted].max() < horizon and curve.value[-1] > 0:
        return np.nan
    dying = 1 - float(curve.at(horizon))
    return float(acted.mean() * (dying - (1 - dying) * threshold / (1 - threshold)))


def decision_rows(predictions: Predictions, horizon: float, settings: DecisionSettings) -> pd.DataFrame:
    """Net benefit of acting on the model's risk of an event by `horizon` days, at each threshold."""
    column = int(np.flatnonzero(predictions.times_days == horizon)[0])
    rows = []
    for threshold in settings.thresholds():
        values = [
            net_benefit(d.time, d.event, 1 - d.survival[:, column] >= threshold, horizon=horizon, threshold=threshold)
            for d in repeats_of(predictions)
        ]
        rows.append(_row(predictions.model, horizon, float(threshold), float(np.mean(values))))
    return pd.DataFrame(rows)


def reference_rows(panel: Panel, horizon: float, settings: DecisionSettings) -> pd.DataFrame:
    """Net benefit of acting on all patients, and on none."""
    everybody = np.ones(len(panel.time), bool)
    rows = []
    for threshold in settings.thresholds():
        value = net_benefit(panel.time, panel.event, everybody, horizon=horizon, threshold=float(threshold))
        rows.append(_row(TREAT_ALL, horizon, float(threshold), value))
        rows.append(_row(TREAT_NONE, horizon, float(threshold), 0.0))
    return pd.DataFrame(rows)


def _row(model: str, horizon: float, threshold: float, value: float) -> dict:
    row = {"model": model, "horizon_days": horizon, "threshold": threshold, "net_benefit": value}
    return row | {"reason": "" if np.isfinite(value) else "nobody above the threshold is followed to the horizon"}
