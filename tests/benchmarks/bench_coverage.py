"""How often 95 % intervals of a paired difference of c-indices hold the true difference, over simulated cohorts.

Run by ``make bench``. The truth is the difference in 400,000 simulated patients. Models are fixed scores, so that the
interval answers for the sampling of patients; what training on other patients would change is the corrected t-test's
matter. "repeats": each repeat draws part of the scores' noise anew, as retrained models would.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "workflow/src"), str(ROOT / "tests/unit")]

from evaluation.cohorts import survival_times  # noqa: E402 - after the path is set

from histoweave.evaluation.concordance import concordance  # noqa: E402
from histoweave.evaluation.intervals import patient_weights, percentile_interval  # noqa: E402
from histoweave.evaluation.panel import Fold, FoldPrediction, Predictions  # noqa: E402
from histoweave.evaluation.scores import NO_HORIZON, pool, score_predictions  # noqa: E402


@dataclass(frozen=True)
class Case:
    """One kind of cohort: patients, last day of censoring, noise of both models, share of it that a repeat redraws."""

    name: str
    n: int
    censoring_days: float
    noise: tuple[float, float]
    repeats: int = 1
    fresh: float = 0.0


CASES = [
    Case("150 patients, half censored", 150, 4000, (0.5, 1.5)),
    Case("300 patients, heavy censoring", 300, 1000, (0.5, 1.5)),
    Case("300 patients, equal models", 300, 4000, (1.0, 1.0)),
    Case("200 patients, 3 repeats", 200, 4000, (0.5, 1.5), repeats=3, fresh=0.3),
]


def scores_of(generator, score, case):
    """Scores of both models in each repeat: [model][repeat] (patient,)."""
    kept = [generator.standard_normal(len(score)) for _ in case.noise]
    again = lambda: generator.standard_normal(len(score))  # noqa: E731 - a draw per call
    mix = (np.sqrt(1 - case.fresh), np.sqrt(case.fresh))
    return [
        [score + size * (mix[0] * own + mix[1] * again()) for _ in range(case.repeats)]
        for size, own in zip(case.noise, kept, strict=True)
    ]


def true_difference(case, *, n=400_000):
    generator = np.random.default_rng(99)
    score = generator.standard_normal(n)
    days, event = survival_times(generator, score, censoring_days=case.censoring_days)
    a, b = (concordance(days, event, risks[0]).index for risks in scores_of(generator, score, case))
    return a - b


def interval(case, seed, *, draws):
    generator = np.random.default_rng(seed)
    score = generator.standard_normal(case.n)
    days, event = survival_times(generator, score, censoring_days=case.censoring_days)
    parts = [generator.permutation(np.arange(case.n) % 5) for _ in range(case.repeats)]
    weights = patient_weights(parts[0], draws=draws, generator=generator)
    differences = []
    for risks in scores_of(generator, score, case):
        folds = [
            FoldPrediction(
                Fold(r, k, (here := np.flatnonzero(part == k)), days[here], event[here], days, event),
                risks[r][here], np.zeros((len(here), 0)), 0.0,
            )
            for r, part in enumerate(parts) for k in range(5)
        ]  # fmt: skip
        model = Predictions("m", np.zeros(0), tuple(folds))
        differences.append(pool(score_predictions(model, weights, horizons=[], grid=[], tau_quantile=1.0)))
    a, b = (found["c_index", NO_HORIZON] for found in differences)
    return percentile_interval((a - b)[1:], confidence=0.95)


def coverage(case, *, cohorts=200, draws=1000, first_seed=0):
    """Share of cohorts whose interval holds the truth, and the truth."""
    truth = true_difference(case)
    held = [low <= truth <= high for low, high in (interval(case, first_seed + s, draws=draws) for s in range(cohorts))]
    return float(np.mean(held)), truth


if __name__ == "__main__":
    for case in CASES:
        start = time.process_time()
        share, truth = coverage(case)
        seconds = time.process_time() - start
        print(f"{case.name}: {100 * share:.1f} % (92 to 98 wanted), true difference {truth:.4f}, {seconds:.0f} CPU s")
