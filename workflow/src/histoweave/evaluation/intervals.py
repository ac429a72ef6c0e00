"""Bootstrap over patients: draws as weights, intervals and p-values from them.

Source: Efron and Tibshirani (1993), doi:10.1201/9780429246593, section 13.3 (percentile intervals).

A draw is a weight per patient (how often it was drawn), so that one matrix product evaluates all draws of a
statistic that is a sum over patients or pairs. A patient carries one weight in all repeats: repeats are the same
patients again, and drawing them separately would feign more patients than there are.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class BootstrapSettings:
    """How intervals are made.

    draws : number of bootstrap draws; confidence : level of all intervals, such as 0.95
    """

    section: ClassVar[str] = "evaluation.bootstrap"
    draws: int
    confidence: float


def patient_weights(strata: np.ndarray, *, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Draw patients with replacement within each stratum.

    strata : (patient,) number of the stratum. Returns (1 + draw, patient); row 0 is all ones, the patients as they are.
    """
    weights = np.ones((draws + 1, len(strata)))
    for stratum in np.unique(strata):
        here = np.flatnonzero(strata == stratum)
        weights[1:, here] = generator.multinomial(len(here), np.full(len(here), 1 / len(here)), size=draws)
    return weights


def percentile_interval(draws: np.ndarray, *, confidence: float) -> tuple[float, float]:
    """Percentile interval of `draws` (draw,); NaN if fewer than nine in ten draws are finite."""
    finite = draws[np.isfinite(draws)]
    if len(finite) < max(1, 0.9 * len(draws)):
        return np.nan, np.nan
    lower, upper = np.quantile(finite, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(lower), float(upper)


def two_sided_p(difference: float, draws: np.ndarray) -> float:
    """Probability of a difference as far from zero as `difference` if there were none; draws : (draw,) of it.

    The normal approximation with the standard error of the draws: counting draws beyond zero cannot give less than
    2 / (draws + 1), which a correction for several comparisons would turn into nothing.
    """
    finite = draws[np.isfinite(draws)]
    if not np.isfinite(difference) or len(finite) < max(2, 0.9 * len(draws)):
        return np.nan
    error = finite.std(ddof=1)
    return float(2 * NormalDist().cdf(-abs(difference) / error)) if error > 0 else float(difference == 0)


def normal_quantile(confidence: float) -> float:
    """Half width, in standard errors, of a normal interval at this level: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)
