"""Whether features or risks tell the site a patient comes from.

Sources: Howard et al. (2021), doi:10.1038/s41467-021-24698-1 (survival differs by site, and models recognise sites);
ridge regression on indicators as the classifier (Hastie et al. 2009, section 4.2).

| symbol | name here | axes | meaning |
|---|---|---|---|
| X | features | (patient, feature) | mean features of a patient |
| Y | indicators | (patient, site) | 1 at the patient's site |

AUC is one site against the others, averaged over sites by their patients. The range that chance gives is found by
permuting the sites. A recognisable site is no proof of a leak, but with folds that share sites it may be one.
"""

from dataclasses import dataclass

import numpy as np

from histoweave.evaluation.panel import Predictions

_FEWEST = 5
_PARTS = 5


@dataclass(frozen=True)
class ProbeResult:
    """AUC of the probe, the 95 % range of it by chance, and why there is none."""

    auc: float
    chance_lower: float
    chance_upper: float
    reason: str

    @property
    def tells(self) -> bool:
        """Whether the AUC is above what chance gives."""
        return bool(self.auc > self.chance_upper)


def _nothing(reason: str) -> ProbeResult:
    return ProbeResult(np.nan, np.nan, np.nan, reason)


def auc_of(score: np.ndarray, positive: np.ndarray) -> float:
    """AUC of `score` (patient,) for `positive` (patient,), ties one half."""
    n_positive = int(positive.sum())
    above = _ranks(score)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * (len(score) - n_positive)))


def _ranks(score: np.ndarray) -> np.ndarray:
    """Ranks from 1 (patient,), ties at their mean."""
    order = np.sort(score)
    return (np.searchsorted(order, score, side="left") + np.searchsorted(order, score, side="right") + 1) / 2


def probe_features(
    features: np.ndarray, sites: np.ndarray, *, permutations: int, generator: np.random.Generator
) -> ProbeResult:
    """Cross-validated AUC with which the site is read from `features` (patient, feature); sites : (patient,)."""
    names, counts = np.unique(sites, return_counts=True)
    used = np.isin(sites, names[counts >= _FEWEST])
    features, sites = features[used], sites[used]
    names = np.unique(sites)
    if len(names) < 2:
        return _nothing(f"one site only, or fewer than two sites with {_FEWEST} patients")
    part = np.empty(len(sites), int)
    for name in names:
        here = np.flatnonzero(sites == name)
        part[generator.permutation(here)] = np.arange(len(here)) % _PARTS
    smoothers = [_smoother(features[part != k], features[part == k]) for k in range(_PARTS)]
    seen = _probe_auc(smoothers, part, sites, names)
    chance = [_probe_auc(smoothers, part, generator.permutation(sites), names) for _ in range(permutations)]
    return ProbeResult(seen, *map(float, np.quantile(chance, [0.025, 0.975])), "")


def _smoother(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Matrix (test patient, training patient) that turns training indicators into ridge predictions."""
    scale = train.std(axis=0)
    scale[scale == 0] = 1.0
    train, test = (train - train.mean(axis=0)) / scale, (test - train.mean(axis=0)) / scale
    kernel = train @ train.T / train.shape[1]
    return test @ train.T / train.shape[1] @ np.linalg.inv(kernel + 0.1 * np.eye(len(train)))


def _probe_auc(smoothers: list[np.ndarray], part: np.ndarray, sites: np.ndarray, names: np.ndarray) -> float:
    indicators = (sites[:, None] == names).astype(float)
    total = weight = 0.0
    for number, smoother in enumerate(smoothers):
        inside = part == number
        truth = indicators[inside]
        scores = smoother @ (indicators[~inside] - indicators[~inside].mean(axis=0))
        for site in range(len(names)):
            positive = truth[:, site] > 0
            if 0 < positive.sum() < len(positive):
                total += positive.sum() * auc_of(scores[:, site], positive)
                weight += positive.sum()
    return total / weight


def probe_risks(
    predictions: Predictions, sites: np.ndarray, *, permutations: int, generator: np.random.Generator
) -> ProbeResult:
    """How far risks of one site stand apart from those of other sites in the same fold.

    sites : (patient of the panel,). The AUC of each site is counted from one half upwards (high or low risks both
    tell), so chance is above one half.
    """
    known, codes = np.unique(sites, return_inverse=True)
    folds = [(_ranks(part.risk), codes[part.fold.patients]) for part in predictions.folds]
    folds = [(ranks, inside) for ranks, inside in folds if len(np.unique(inside)) > 1]
    if not folds:
        return _nothing("no test part holds more than one site")
    seen = _apart(folds, len(known))
    if not np.isfinite(seen):
        return _nothing(f"no test part holds two sites with {_FEWEST} patients")
    chance = [
        _apart([(ranks, generator.permutation(inside)) for ranks, inside in folds], len(known))
        for _ in range(permutations)
    ]
    return ProbeResult(seen, *map(float, np.quantile(chance, [0.025, 0.975])), "")


def _apart(folds: list[tuple[np.ndarray, np.ndarray]], n_sites: int) -> float:
    """Mean AUC, from one half upwards, of each site's ranks (patient,) against the others of the fold."""
    total = weight = 0.0
    for ranks, inside in folds:
        count = np.bincount(inside, minlength=n_sites)
        rank_sum = np.bincount(inside, weights=ranks, minlength=n_sites)
        used = (count >= _FEWEST) & (len(ranks) - count >= _FEWEST)
        count, rank_sum = count[used], rank_sum[used]
        auc = (rank_sum - count * (count + 1) / 2) / (count * (len(ranks) - count))
        total += float((count * np.maximum(auc, 1 - auc)).sum())
        weight += count.sum()
    return total / weight if weight else np.nan
