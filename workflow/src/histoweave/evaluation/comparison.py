"""Paired comparisons of two models on the same patients and folds.

Sources: Nadeau and Bengio (2003), doi:10.1023/A:1024068626366, section 3 (corrected resampled t-test);
Holm (1979), doi:10.2307/4615733.

| symbol | name here | axes | meaning |
|---|---|---|---|
| x_j | differences | (fold,) | score of a minus score of b in fold j |
| n_2 / n_1 | test_share | () | test patients per training patient, mean over the folds |
| J | len(differences) | () | folds times repeats |

Our rule for the words: a difference is a gain or a loss only if its bootstrap interval excludes zero, its p-value
stays below 1 - confidence after Holm's correction over all comparisons of that metric, and the corrected t-test over
the folds, where there is one, agrees. For scores of error (Brier) a negative difference is the gain.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import stats

from histoweave.errors import InputError, shorten
from histoweave.evaluation.intervals import percentile_interval, two_sided_p
from histoweave.evaluation.panel import Panel, Predictions
from histoweave.evaluation.scores import FoldScores, ScoreSettings
from histoweave.evaluation.summary import Evaluated, evaluate

log = logging.getLogger("histoweave")
LOWER_IS_BETTER = frozenset({"brier", "ibs"})


@dataclass(frozen=True)
class CompareSettings:
    """Which models are compared.

    baselines : every model is compared with each of these; pairs : further (a, b), as a minus b
    """

    section: ClassVar[str] = "evaluation.compare"
    baselines: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FoldTest:
    """Nadeau-Bengio test: p-value and interval of the mean difference; NaN with fewer than two folds."""

    p_value: float
    lower: float
    upper: float


def pairs_to_compare(models: Sequence[str], settings: CompareSettings) -> list[tuple[str, str]]:
    """List the pairs (a, b): each model with each baseline, the baselines with each other, the configured pairs.

    A baseline that was not run is left out with a warning; a configured pair of unknown models is an InputError.
    """
    unknown = sorted({name for pair in settings.pairs for name in pair} - set(models))
    if unknown:
        msg = f"evaluation.compare.pairs names models that are not in survival.models: {shorten(unknown)}. Correct it."
        raise InputError(msg)
    bases = [name for name in settings.baselines if name in models]
    if absent := sorted(set(settings.baselines) - set(models)):
        log.warning("no comparison with %s: not in survival.models", shorten(absent))
    wanted = [(model, base) for base in bases for model in models if model not in bases]
    wanted += [(a, b) for i, b in enumerate(bases) for a in bases[i + 1 :]]
    wanted += [(a, b) for a, b in settings.pairs]
    return list(dict.fromkeys((a, b) for a, b in wanted if a != b))


def corrected_t_test(differences: np.ndarray, *, test_share: float, confidence: float) -> FoldTest:
    """Test the mean of `differences` (fold,) with the variance corrected for overlapping training parts.

    Nadeau and Bengio's (1/J + n_2/n_1) sigma^2 replaces sigma^2 / J.
    """
    differences = differences[np.isfinite(differences)]
    count = len(differences)
    if count < 2:
        return FoldTest(np.nan, np.nan, np.nan)
    mean = differences.mean()
    error = np.sqrt((1 / count + test_share) * differences.var(ddof=1))  # section 3, eq. 9
    if error == 0:
        return FoldTest(1.0 if mean == 0 else 0.0, mean, mean)
    spread = stats.t.ppf(0.5 + confidence / 2, count - 1) * error
    return FoldTest(float(2 * stats.t.sf(abs(mean) / error, count - 1)), mean - spread, mean + spread)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values (comparison,); NaN stays NaN and does not count."""
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    steps = p_values[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def verdict(
    *, metric: str, difference: float, lower: float, upper: float, p_holm: float, nb_p_value: float, confidence: float
) -> str:
    """Say in words what a difference amounts to: ``a better``, ``b better``, ``within noise`` or a doubt."""
    if not np.isfinite([difference, lower, upper]).all():
        return "not computable"
    if lower <= 0 <= upper:
        return "within noise"
    gain = (difference > 0) != (metric in LOWER_IS_BETTER)
    words = "a better" if gain else "b better"
    if not p_holm < 1 - confidence:
        return f"{words}, but within noise after correction for several comparisons"
    if nb_p_value >= 1 - confidence:
        return f"{words} on these patients, but within the noise of training on other folds"
    return words


def compare(a: Evaluated, b: Evaluated, *, confidence: float) -> list[dict]:
    """Compare two models that were scored on the same patients, folds and draws; one row per metric and horizon."""
    test_share = float(np.mean([len(part.risk) / len(part.fold.train_time) for part in a.predictions.folds]))
    rows = []
    for key in sorted(set(a.draws) & set(b.draws)):
        metric, horizon = key
        draws = a.draws[key] - b.draws[key]
        lower, upper = percentile_interval(draws[1:], confidence=confidence)
        by_fold = np.array([x.sums[key].ratio()[0] - y.sums[key].ratio()[0] for x, y in _folds(a, b, key)])
        folds = corrected_t_test(by_fold, test_share=test_share, confidence=confidence)
        row = {"model_a": a.predictions.model, "model_b": b.predictions.model, "metric": metric}
        row |= {"horizon_days": horizon or np.nan, "difference": float(draws[0]), "lower": lower, "upper": upper}
        row |= {"p_value": two_sided_p(float(draws[0]), draws[1:])}
        row |= {"nb_p_value": folds.p_value, "nb_lower": folds.lower, "nb_upper": folds.upper}
        rows.append(row | {"reason": "" if np.isfinite(draws[0]) else a.reasons.get(key) or b.reasons.get(key, "")})
    return rows


def _folds(a: Evaluated, b: Evaluated, key: tuple[str, float]) -> Iterator[tuple[FoldScores, FoldScores]]:
    for x, y in zip(a.scores, b.scores, strict=True):
        if key in x.sums:
            yield x, y


def compare_all(
    panel: Panel,
    models: Mapping[str, Predictions],
    weights: np.ndarray,
    *,
    compare_settings: CompareSettings,
    score_settings: ScoreSettings,
    confidence: float,
) -> pd.DataFrame:
    """Compare all wanted pairs of `models`, each pair on the patients that both of them serve.

    weights : (draw, patient of the panel). Returns the table of comparisons, corrected by Holm and put into words.
    """
    scored: dict[tuple, Evaluated] = {}

    def on(model: Predictions, patients: np.ndarray) -> Evaluated:
        key = (model.model, patients.tobytes())
        if key not in scored:
            scored[key] = evaluate(model.only(patients), weights, settings=score_settings)
        return scored[key]

    rows = []
    for a, b in pairs_to_compare(list(models), compare_settings):
        both = np.intersect1d(models[a].patients(), models[b].patients())
        size = {"n_patients": len(both), "n_events": int(panel.event[both].sum())}
        rows += [row | size for row in compare(on(models[a], both), on(models[b], both), confidence=confidence)]
    return _with_words(pd.DataFrame(rows), confidence=confidence) if rows else pd.DataFrame()


def _with_words(rows: pd.DataFrame, *, confidence: float) -> pd.DataFrame:
    """Add Holm's p-values, within each metric and horizon, and the verdict."""
    families = rows.groupby(["metric", "horizon_days"], dropna=False)["p_value"]
    rows["p_holm"] = families.transform(lambda p: holm(p.to_numpy(float)))
    columns = ["metric", "difference", "lower", "upper", "p_holm", "nb_p_value"]
    rows["verdict"] = [verdict(**row, confidence=confidence) for row in rows[columns].to_dict("records")]
    return rows
