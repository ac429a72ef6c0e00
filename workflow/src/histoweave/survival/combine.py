"""The mean of the folds' models for patients that none of them has seen, with their spread as an interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from histoweave.survival.interface import Prediction


@dataclass(frozen=True)
class Member:
    """One fold's model on the new patients.

    prediction : its risks and curves; train_risk : sorted risks of its own training part
    """

    prediction: Prediction
    train_risk: np.ndarray


def combined(ids: Sequence[str], members: Sequence[Member], horizons_days: Sequence[int]) -> pd.DataFrame:
    """One row per patient: risk, survival at the horizons and percentile in the training cohort, each with a range.

    Risks of different folds are on scales of their own; each is centred and scaled by its training part first.
    ``*_lower`` and ``*_upper`` are the lowest and highest of the folds' models: how far they disagree.
    """
    risks = np.stack([_standard(one) for one in members])  # (member, patient)
    ranks = np.stack([_percentile(one) for one in members])
    curves = np.stack([one.prediction.survival for one in members])  # (member, patient, horizon)
    frame = pd.DataFrame({"patient": list(ids)})
    for name, values in (("risk", risks), ("percentile", ranks)):
        _ranged(frame, name, values)
    for column, day in enumerate(horizons_days):
        _ranged(frame, f"survival_{int(day)}", curves[:, :, column])
    return frame


def _ranged(frame: pd.DataFrame, name: str, values: np.ndarray) -> None:
    frame[name], frame[f"{name}_lower"], frame[f"{name}_upper"] = values.mean(0), values.min(0), values.max(0)


def _standard(member: Member) -> np.ndarray:
    spread = member.train_risk.std()
    return (member.prediction.risk - np.median(member.train_risk)) / (spread if spread > 0 else 1.0)


def _percentile(member: Member) -> np.ndarray:
    below = np.searchsorted(member.train_risk, member.prediction.risk, side="left")
    upto = np.searchsorted(member.train_risk, member.prediction.risk, side="right")
    return (below + upto) / 2 / len(member.train_risk) * 100


def group_expression(
    ids: Sequence[str], members: Sequence[Member], groups: Sequence[Sequence[str]], sizes: Sequence[Sequence[int]]
) -> pd.DataFrame:
    """Mean predicted expression (z-score) per patient and gene group, over the folds' models that predict it.

    groups, sizes : per member, names and numbers of genes of its groups, in the order of its ``reconstruction``
    """
    rows = []
    for one, names, counts in zip(members, groups, sizes, strict=True):
        parts = np.split(one.prediction.more["reconstruction"], np.cumsum(counts)[:-1], axis=1)
        for name, part in zip(names, parts, strict=True):
            rows += [(patient, name, float(value)) for patient, value in zip(ids, part.mean(axis=1), strict=True)]
    frame = pd.DataFrame(rows, columns=["patient", "group", "value"])
    made = frame.groupby(["patient", "group"])["value"].agg(value="mean", lower="min", upper="max")
    return made.reset_index()
