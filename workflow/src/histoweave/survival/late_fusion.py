"""Late fusion: the mean of a slide model's and an expression model's standardised risks.

Source: the mean of experts as in Kittler et al. 1998 (doi:10.1109/34.667881). The members are `abmil_wsi` and
`coxnet_rna`; each risk is centred and scaled by its own training part. A patient with one modality has its risk alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from histoweave.errors import InputError
from histoweave.survival import abmil_wsi, coxnet_rna
from histoweave.survival.abmil_wsi import AbmilSettings
from histoweave.survival.baseline import Baseline
from histoweave.survival.cox import joined
from histoweave.survival.coxnet_rna import CoxnetRnaSettings
from histoweave.survival.interface import EXPRESSION, SLIDE, Context, Fitted, Patients, Prediction

NAME = "late_fusion"
EITHER = f"{SLIDE}|{EXPRESSION}"
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({EITHER})


@dataclass(frozen=True)
class LateFusionSettings:
    """Settings of the two members."""

    section: ClassVar[str] = "survival.late_fusion"
    slide: AbmilSettings
    gene: CoxnetRnaSettings


Settings = LateFusionSettings


@dataclass(frozen=True)
class LateFusionFitted:
    """Two fitted members; centre, spread : of each member's training risks; baseline : of the mean risk."""

    members: tuple[Fitted, Fitted]
    centre: np.ndarray
    spread: np.ndarray
    baseline: Baseline | None = None
    history: Sequence[Mapping] = field(default_factory=list)

    def risk(self, patients: Patients) -> np.ndarray:
        """(patient,) mean of the standardised risks that a patient can have."""
        patients.require(NEEDS_PREDICT, method=NAME)
        risks = np.full((2, len(patients)), np.nan)
        for row, (member, what) in enumerate(zip(self.members, (SLIDE, EXPRESSION), strict=True)):
            has = patients.has(what)
            if has.any():
                own = member.predict(patients.subset(has), [1]).risk
                risks[row, has] = (own - self.centre[row]) / self.spread[row]
        return np.nanmean(risks, axis=0)

    def predict(self, patients: Patients, horizons_days: Sequence[float]) -> Prediction:
        """Return risks and curves of every patient with a slide or expression."""
        risk = self.risk(patients)
        return Prediction(risk, self.baseline.survival(risk, horizons_days))

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Both members, one after the other."""
        arrays, curve = self.baseline.state()
        tensors = {"fusion.centre": self.centre, "fusion.spread": self.spread, **arrays}
        metas = []
        for name, member in zip(("slide", "gene"), self.members, strict=True):
            own, meta = member.state()
            tensors |= {f"{name}/{key}": value for key, value in own.items()}
            metas.append(meta)
        return tensors, {"curve": curve, "members": metas}


def fit(train: Patients, validation: Patients, *, settings: LateFusionSettings, context: Context) -> LateFusionFitted:
    """Fit each member on those who have its modality, then the baseline hazard of the mean."""
    patients = joined(train, validation)
    members, centre, spread = [], [], []
    for module, own, what in ((abmil_wsi, settings.slide, SLIDE), (coxnet_rna, settings.gene, EXPRESSION)):
        parts = [part.subset(part.has(what)) for part in (train, validation)]
        if not all(len(part) for part in parts):
            msg = (
                f"{NAME}: no training patient has {what} data. Choose a model under survival.models that does without."
            )
            raise InputError(msg)
        members.append(module.fit(*parts, settings=own, context=context))
        risk = members[-1].predict(patients.subset(patients.has(what)), [1]).risk
        centre.append(risk.mean())
        spread.append(risk.std() if risk.std() > 0 else 1.0)
    bare = LateFusionFitted(tuple(members), np.array(centre), np.array(spread))
    baseline = Baseline.fitted(patients.time_days, patients.event, bare.risk(patients))
    return LateFusionFitted(bare.members, bare.centre, bare.spread, baseline, members[0].history)


def restore(tensors: dict[str, np.ndarray], meta: dict) -> LateFusionFitted:
    """Inverse of ``state``."""
    members = []
    for name, module, own in zip(("slide", "gene"), (abmil_wsi, coxnet_rna), meta["members"], strict=True):
        mine = {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
        members.append(module.restore(mine, own))
    baseline = Baseline.restored(tensors, meta["curve"])
    return LateFusionFitted(tuple(members), tensors["fusion.centre"], tensors["fusion.spread"], baseline)
