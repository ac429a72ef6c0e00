"""Elastic-net Cox regression on bulk expression: the second yardstick.

Source: Simon et al. 2011 (doi:10.18637/jss.v039.i05).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from histoweave.rng import generator
from histoweave.survival.cox import CoxFitted, finished, joined, require_events, restored
from histoweave.survival.interface import EXPRESSION, Context, Patients
from histoweave.survival.linear import CoxnetSettings, fit_coxnet
from histoweave.survival.profiles import ProfileScale

NAME = "coxnet_rna"
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({EXPRESSION})


@dataclass(frozen=True)
class CoxnetRnaSettings:
    """Genes by variance (0 = all), bound of standardised values in SDs, and the elastic net."""

    section: ClassVar[str] = "survival.coxnet_rna"
    genes: int
    clip: float
    net: CoxnetSettings


Settings = CoxnetRnaSettings


def fit(train: Patients, validation: Patients, *, settings: CoxnetRnaSettings, context: Context) -> CoxFitted:
    """Fit on the whole outer training part, the penalty tuned by folds inside it."""
    patients = joined(train, validation)
    require_events(patients, method=NAME)
    patients.require(NEEDS_TRAIN, method=NAME)
    scale = ProfileScale.fitted(
        patients.expression, patients.genes, patients.expression_scale, n_genes=settings.genes, clip=settings.clip
    )
    design = _design(scale)
    rng = generator(context.seed, *context.names, "inner folds")
    coefficients = fit_coxnet(design(patients), patients.time_days, patients.event, settings=settings.net, rng=rng)
    return finished(NAME, NEEDS_PREDICT, scale.genes, design, coefficients, patients, scale.state("genes"))


def restore(tensors: dict[str, np.ndarray], meta: dict) -> CoxFitted:
    """Inverse of ``state``."""
    return restored(
        NAME, NEEDS_PREDICT, _design(ProfileScale.restored(tensors, meta["design"], "genes")), tensors, meta
    )


def _design(scale: ProfileScale) -> Callable[[Patients], np.ndarray]:
    return lambda patients: scale(patients.expression, patients.genes, patients.expression_scale)
