"""The slides of the demo cohort: which patient has which, their defects, and the picture of each."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from histoweave.rng import generator
from histoweave.simulate import picture
from histoweave.simulate.cohort import Cohort
from histoweave.simulate.picture import FAT, LYMPHOID, STROMA, TUMOUR, Nuclei

MPP = {"A": 0.50, "B": 0.46, "C": 0.50, "D": 0.55, "E": 0.50, "F": 0.40}  # each site has its scanner
SIDE_UM = 640.0
DEFECTS = {12: "pen_green", 34: "pen_blue", 51: "no_mpp", 77: "corrupt", 98: "empty"}  # by number of the patient
SECOND_SLIDE = 5  # this patient has two


@dataclass(frozen=True)
class SlidePlan:
    """One slide as planned: what its picture will show."""

    slide: str
    patient: str
    site: str
    mpp: float
    defect: str
    nuclear_radius_um: float
    nuclei_per_mm2: float
    tumour_share: float


def plan_slides(cohort: Cohort, *, seed: int) -> list[SlidePlan]:
    """Plan every slide: tumour nuclei grow in size and number with the patient's trait, with some noise."""
    rng = generator(seed, "simulate", "slides")
    plans = []
    numbers = sorted([*range(1, len(cohort.patients) + 1), SECOND_SLIDE])
    for slide, number in enumerate(numbers, start=1):
        row, trait = cohort.patients.iloc[number - 1], cohort.truth["trait"].iloc[number - 1]
        size, crowding = trait + 0.3 * rng.normal(size=2)
        plans.append(
            SlidePlan(
                slide=f"S{slide:03d}",
                patient=row["patient"],
                site=row["site"],
                mpp=MPP[row["site"]],
                defect=DEFECTS.get(number, ""),
                nuclear_radius_um=float(3.4 * np.exp(0.16 * size)),
                nuclei_per_mm2=float(3500 * np.exp(0.22 * crowding)),
                tumour_share=float(rng.uniform(0.45, 0.7)),
            )
        )
    return plans


def render(plan: SlidePlan, *, seed: int) -> np.ndarray:
    """Picture (row, column, 3) uint8 of a slide at full resolution; glass only if the plan says empty."""
    rng = generator(seed, "simulate", "picture", plan.slide)
    stain = picture.site_stain(generator(seed, "simulate", "stain", plan.site))
    side = round(SIDE_UM * rng.uniform(0.95, 1.1) / plan.mpp / 16) * 16 // picture.COARSE
    shape = (side, round(side * rng.uniform(0.9, 1.1) / 4) * 4)
    kinds = picture.tissue_kinds(shape, tumour_share=plan.tumour_share, rng=rng)
    if plan.defect == "empty":
        kinds[:] = -1
    nuclei = {
        STROMA: Nuclei(per_mm2=1100, radius_um=3.0, axes=2.8, darkness=0.75),
        TUMOUR: Nuclei(per_mm2=plan.nuclei_per_mm2, radius_um=plan.nuclear_radius_um, axes=1.25, darkness=0.80),
        LYMPHOID: Nuclei(per_mm2=7000, radius_um=2.4, axes=1.05, darkness=1.05),
        FAT: Nuclei(per_mm2=80, radius_um=2.5, axes=2.5, darkness=0.75),
    }
    painted = picture.paint(kinds, mpp=plan.mpp, nuclei=nuclei, stain=stain, rng=rng)
    if plan.defect in picture.INKS:
        painted = picture.draw_pen(painted, ink=plan.defect, width=round(30 / plan.mpp), rng=rng)
    return painted


def pyramid(full: np.ndarray) -> list[np.ndarray]:
    """The picture (row, column, 3) and its reductions to a half and a quarter by area average."""
    image = Image.fromarray(full)
    return [full, np.asarray(image.reduce(2)), np.asarray(image.reduce(4))]


def slide_truth(plans: list[SlidePlan]) -> pd.DataFrame:
    """The plans as a table, one row per slide."""
    return pd.DataFrame([vars(plan) for plan in plans])
