"""Cox regression on a matrix: a ridge for a few columns, an elastic net for many, the penalty tuned inside training.

Source of the elastic net: Simon et al. 2011 (doi:10.18637/jss.v039.i05), as computed by scikit-survival.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from histoweave.survival.concordance import concordance
from histoweave.survival.folds import stratified


@dataclass(frozen=True)
class CoxnetSettings:
    """Elastic net.

    l1_ratio : 1 = lasso, towards 0 = ridge; penalties : number on the path; least_penalty : smallest as a share of the
    largest; inner_folds : folds inside the outer training part that choose the penalty by their mean c-index
    """

    l1_ratio: float
    penalties: int
    least_penalty: float
    inner_folds: int


def outcome(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Return the structured array that scikit-survival takes."""
    made = np.empty(len(time), dtype=[("event", bool), ("time", float)])
    made["event"], made["time"] = np.asarray(event) > 0, time
    return made


def fit_ridge(x: np.ndarray, time: np.ndarray, event: np.ndarray, *, penalty: float) -> np.ndarray:
    """Coefficients (column,) of a Cox regression with Efron ties and a ridge `penalty`."""
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    return CoxPHSurvivalAnalysis(alpha=penalty, ties="efron").fit(x, outcome(time, event)).coef_


def fit_coxnet(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, *, settings: CoxnetSettings, rng: np.random.Generator
) -> np.ndarray:
    """Coefficients (column,) at the penalty with the best mean c-index over inner folds; of equals the strongest."""
    path, penalties = _path(x, time, event, settings, None)
    folds = stratified(np.asarray(event, dtype=int), settings.inner_folds, rng)
    scores = np.zeros(len(penalties))
    for fold in range(settings.inner_folds):
        inner, held = folds != fold, folds == fold
        coefficients, used = _path(x[inner], time[inner], event[inner], settings, penalties)
        risks = x[held] @ coefficients  # (patient, penalty)
        for column, penalty in enumerate(used):
            place = int(np.argmin(np.abs(penalties - penalty)))
            scores[place] += concordance(time[held], event[held], risks[:, column])
    return path[:, int(np.argmax(scores))]


def _path(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, settings: CoxnetSettings, penalties: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (column, penalty) and the penalties, falling."""
    from sksurv.linear_model import CoxnetSurvivalAnalysis

    model = CoxnetSurvivalAnalysis(
        l1_ratio=settings.l1_ratio,
        n_alphas=settings.penalties,
        alpha_min_ratio=settings.least_penalty,
        alphas=penalties,
        max_iter=20000,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="all coefficients are zero")  # the weakest end of the path; harmless
        warnings.filterwarnings("ignore", category=UserWarning, module="sksurv")
        model.fit(np.asfortranarray(x), outcome(time, event))
    return model.coef_, model.alphas_
