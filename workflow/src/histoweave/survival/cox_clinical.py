"""Cox regression on the clinical covariates: the yardstick that every other model stands beside.

Source: Cox 1972 (doi:10.1111/j.2517-6161.1972.tb00899.x), Efron ties, a small ridge against separation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from histoweave.survival.covariates import CovariateScale
from histoweave.survival.cox import CoxFitted, finished, joined, require_events, restored
from histoweave.survival.interface import CLINICAL, Context, Patients
from histoweave.survival.linear import fit_ridge

NAME = "cox_clinical"
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({CLINICAL})


@dataclass(frozen=True)
class CoxClinicalSettings:
    """Ridge penalty on standardised covariates."""

    section: ClassVar[str] = "survival.cox_clinical"
    penalty: float


Settings = CoxClinicalSettings


def fit(train: Patients, validation: Patients, *, settings: CoxClinicalSettings, context: Context) -> CoxFitted:
    """Fit on the whole outer training part; there is nothing to tune."""
    patients = joined(train, validation)
    require_events(patients, method=NAME)
    patients.require(NEEDS_TRAIN, method=NAME)
    scale = CovariateScale.fitted(patients.clinical)
    design = _design(scale)
    coefficients = fit_ridge(design(patients), patients.time_days, patients.event, penalty=settings.penalty)
    return finished(NAME, NEEDS_PREDICT, scale.columns, design, coefficients, patients, ({}, scale.state()))


def restore(tensors: dict[str, np.ndarray], meta: dict) -> CoxFitted:
    """Inverse of ``state``."""
    return restored(NAME, NEEDS_PREDICT, _design(CovariateScale.restored(meta["design"])), tensors, meta)


def _design(scale: CovariateScale) -> Callable[[Patients], np.ndarray]:
    return lambda patients: scale(patients.clinical)
