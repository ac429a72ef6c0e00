"""Elastic-net Cox regression on bulk expression, by setting with copy numbers and mutations: the second yardstick.

Source: Simon et al. 2011 (doi:10.18637/jss.v039.i05).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from histoweave.rng import generator
from histoweave.survival.cox import CoxFitted, finished, joined, require_events, restored
from histoweave.survival.interface import EXPRESSION, Context, Patients
from histoweave.survival.linear import CoxnetSettings, fit_coxnet
from histoweave.survival.omics import OmicsScale

NAME = "coxnet_rna"
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({EXPRESSION})


@dataclass(frozen=True)
class CoxnetRnaSettings:
    """Genes by variance (0 = all), whether alterations join them, bound of standardised values in SDs, the net."""

    section: ClassVar[str] = "survival.coxnet_rna"
    genes: int
    alterations: bool
    clip: float
    net: CoxnetSettings


Settings = CoxnetRnaSettings


def fit(train: Patients, validation: Patients, *, settings: CoxnetRnaSettings, context: Context) -> CoxFitted:
    """Fit on the whole outer training part, the penalty tuned by folds inside it."""
    patients = joined(train, validation)
    require_events(patients, method=NAME)
    patients.require(NEEDS_TRAIN, method=NAME)
    chosen = {"n_genes": settings.genes, "clip": settings.clip, "alterations": settings.alterations}
    design = OmicsScale.fitted(patients, **chosen, method=NAME)
    rng = generator(context.seed, *context.names, "inner folds")
    coefficients = fit_coxnet(design(patients), patients.time_days, patients.event, settings=settings.net, rng=rng)
    return finished(NAME, NEEDS_PREDICT, design.columns, design, coefficients, patients, design.state())


def restore(tensors: dict[str, np.ndarray], meta: dict) -> CoxFitted:
    """Inverse of ``state``."""
    return restored(NAME, NEEDS_PREDICT, OmicsScale.restored(tensors, meta["design"]), tensors, meta)
