"""Elastic-net Cox regression on mean tile features and omics: one net on both, or the mean of two.

Source: Simon et al. 2011 (doi:10.18637/jss.v039.i05). Late fusion is the mean of the two linear predictors, each
divided by its standard deviation over the training part.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from histoweave.rng import generator
from histoweave.survival.cox import CoxFitted, finished, joined, require_events, restored, slide_means
from histoweave.survival.coxnet_slide import slide_scale
from histoweave.survival.interface import EXPRESSION, SLIDE, Context, Patients
from histoweave.survival.linear import CoxnetSettings, fit_coxnet
from histoweave.survival.omics import OmicsScale
from histoweave.survival.profiles import ProfileScale

NAME = "coxnet_both"
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({SLIDE, EXPRESSION})


@dataclass(frozen=True)
class CoxnetBothSettings:
    """``fusion``: late (mean of two models) or early (one model on all columns); else as in the single models."""

    section: ClassVar[str] = "survival.coxnet_both"
    fusion: str
    genes: int
    alterations: bool
    clip: float
    net: CoxnetSettings


Settings = CoxnetBothSettings


def fit(train: Patients, validation: Patients, *, settings: CoxnetBothSettings, context: Context) -> CoxFitted:
    """Fit on the whole outer training part, the penalties tuned by folds inside it."""
    patients = joined(train, validation)
    require_events(patients, method=NAME)
    patients.require(NEEDS_TRAIN, method=NAME)
    chosen = {"n_genes": settings.genes, "clip": settings.clip, "alterations": settings.alterations}
    omics = OmicsScale.fitted(patients, **chosen, method=NAME)
    slide = slide_scale(patients, clip=settings.clip)
    design = _design(slide, omics)
    columns = (*slide.genes, *omics.columns)
    x = design(patients)
    blocks = [slice(0, len(slide.genes)), slice(len(slide.genes), len(columns))]
    coefficients = np.zeros(len(columns))
    for block in blocks if settings.fusion == "late" else [slice(0, len(columns))]:
        rng = generator(context.seed, *context.names, "inner folds")
        part = fit_coxnet(x[:, block], patients.time_days, patients.event, settings=settings.net, rng=rng)
        spread = (x[:, block] @ part).std()
        coefficients[block] = part / spread / 2 if settings.fusion == "late" and spread > 0 else part
    (slide_arrays, slide_meta), (omics_arrays, omics_meta) = slide.state("slide"), omics.state()
    extra = (slide_arrays | omics_arrays, {"slide": slide_meta, "omics": omics_meta})
    return finished(NAME, NEEDS_PREDICT, columns, design, coefficients, patients, extra)


def restore(tensors: dict[str, np.ndarray], meta: dict) -> CoxFitted:
    """Inverse of ``state``."""
    slide = ProfileScale.restored(tensors, meta["design"]["slide"], "slide")
    omics = OmicsScale.restored(tensors, meta["design"]["omics"])
    return restored(NAME, NEEDS_PREDICT, _design(slide, omics), tensors, meta)


def _design(slide: ProfileScale, omics: OmicsScale) -> Callable[[Patients], np.ndarray]:
    def design(patients: Patients) -> np.ndarray:
        tiles = slide(slide_means(patients), patients.feature_names, "features")
        return np.concatenate([tiles, omics(patients)], axis=1)

    return design
