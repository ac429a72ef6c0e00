"""Elastic-net Cox regression on the mean of the tile features: what a slide says without any attention.

Source: Simon et al. 2011 (doi:10.18637/jss.v039.i05); mean pooling as the control of bag models.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from histoweave.rng import generator
from histoweave.survival.cox import CoxFitted, finished, joined, require_events, restored, slide_means
from histoweave.survival.interface import SLIDE, Context, Patients
from histoweave.survival.linear import CoxnetSettings, fit_coxnet
from histoweave.survival.profiles import ProfileScale

NAME = "coxnet_slide"
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({SLIDE})


@dataclass(frozen=True)
class CoxnetSlideSettings:
    """Bound of standardised values in SDs, and the elastic net."""

    section: ClassVar[str] = "survival.coxnet_slide"
    clip: float
    net: CoxnetSettings


Settings = CoxnetSlideSettings


def fit(train: Patients, validation: Patients, *, settings: CoxnetSlideSettings, context: Context) -> CoxFitted:
    """Fit on the whole outer training part, the penalty tuned by folds inside it."""
    patients = joined(train, validation)
    require_events(patients, method=NAME)
    patients.require(NEEDS_TRAIN, method=NAME)
    scale = slide_scale(patients, clip=settings.clip)
    design = _design(scale)
    rng = generator(context.seed, *context.names, "inner folds")
    coefficients = fit_coxnet(design(patients), patients.time_days, patients.event, settings=settings.net, rng=rng)
    return finished(NAME, NEEDS_PREDICT, scale.genes, design, coefficients, patients, scale.state("slide"))


def slide_scale(patients: Patients, *, clip: float) -> ProfileScale:
    """Scale of mean tile features; features that never change are left out."""
    return ProfileScale.fitted(slide_means(patients), patients.feature_names, "features", n_genes=0, clip=clip)


def restore(tensors: dict[str, np.ndarray], meta: dict) -> CoxFitted:
    """Inverse of ``state``."""
    return restored(
        NAME, NEEDS_PREDICT, _design(ProfileScale.restored(tensors, meta["design"], "slide")), tensors, meta
    )


def _design(scale: ProfileScale) -> Callable[[Patients], np.ndarray]:
    return lambda patients: scale(slide_means(patients), patients.feature_names, "features")
