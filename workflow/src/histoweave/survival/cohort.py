"""The patients as analysed: who has follow-up, a slide, expression; and whether numbers are what they are said to be.

Nothing is scaled here: what is learned from patients is learned inside the training part of each fold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from histoweave.errors import InputError, shorten

_TCGA = r"^TCGA-([A-Z0-9]{2})-"


@dataclass(frozen=True)
class CohortSettings:
    """What a patient must have to be analysed: ``any``, ``both``, ``slide``, ``expression`` or ``none``."""

    section: ClassVar[str] = "survival.cohort"
    at_least: str


@dataclass(frozen=True)
class LeftOut:
    """Items of one kind that do not go on, with the reason."""

    kind: str
    items: tuple[str, ...]
    reason: str


def assemble(
    clinical: pd.DataFrame, slides: pd.DataFrame, expression_ids: set[str], *, at_least: str
) -> tuple[pd.DataFrame, list[LeftOut]]:
    """Join follow-up, usable slides and expression to one row per patient, sorted by name.

    clinical : ``patient, site, time_days, event`` and covariates; slides : ``slide, patient, status, reason, site?``
    expression_ids : patients with an expression profile
    at_least : ``any`` keeps patients with a slide or expression; ``both``, ``slide``, ``expression`` are stricter;
        ``none`` keeps everybody with follow-up
    """
    usable = slides[slides["status"] == "ok"].sort_values("slide")
    of_patient = usable.groupby("patient")["slide"].agg(" ".join)
    frame = clinical.sort_values("patient").reset_index(drop=True)
    frame["slides"] = frame["patient"].map(of_patient).fillna("")
    frame["has_slide"] = frame["slides"] != ""
    frame["has_expression"] = frame["patient"].isin(expression_ids)
    if expression_ids and not frame["has_expression"].any():
        profiles, patients = shorten(sorted(expression_ids)), shorten(list(frame["patient"]))
        msg = (
            f"none of the {len(expression_ids)} patients of inputs.expression ({profiles}) is in the patients table "
            f"({patients}). Give them the same names."
        )
        raise InputError(msg)
    frame["site"] = sites_of(frame, usable)
    left_out = []
    for test, reason in _reasons(frame, at_least):
        names = tuple(frame.loc[test(frame), "patient"])
        left_out.append(LeftOut("patient", names, reason))
        frame = frame[~frame["patient"].isin(names)]
    _check(frame)
    first = ["patient", "site", "time_days", "event", "has_slide", "has_expression", "slides"]
    frame = frame[[*first, *[name for name in frame if name not in first]]].reset_index(drop=True)
    return frame.astype({"event": int}), [one for one in left_out if one.items]


def _reasons(frame: pd.DataFrame, at_least: str) -> list:
    has = {
        "any": lambda f: f["has_slide"] | f["has_expression"],
        "both": lambda f: f["has_slide"] & f["has_expression"],
        "slide": lambda f: f["has_slide"],
        "expression": lambda f: f["has_expression"],
        "none": lambda f: f["patient"].notna(),
    }[at_least]
    return [
        (lambda f: f["time_days"].isna() | f["event"].isna(), "no follow-up in the patients table"),
        (lambda f: ~has(f), f"does not have what survival.cohort.at_least: {at_least} asks for"),
    ]


def sites_of(frame: pd.DataFrame, slides: pd.DataFrame) -> pd.Series:
    """Site of each patient: its own column, else that of its slides, else the TCGA barcode, else ``unknown``."""
    site = frame["site"].astype("string")
    if "site" in slides:
        of_slide = slides.dropna(subset=["site"]).drop_duplicates("patient").set_index("patient")["site"]
        site = site.fillna(frame["patient"].map(of_slide).astype("string"))
    return site.fillna(frame["patient"].str.extract(_TCGA)[0].astype("string")).fillna("unknown").astype(str)


def with_roles(cohort: pd.DataFrame, cohort_of: Mapping[str, str], roles: Mapping[str, str]) -> pd.DataFrame:
    """Return `cohort` with the columns ``cohort`` and ``role``.

    cohort_of : patient -> cohort; roles : cohort -> ``train | external``. Raises InputError if a cohort is left empty.
    """
    frame = cohort.assign(cohort=cohort["patient"].map(cohort_of))
    frame["role"] = frame["cohort"].map(roles)
    if gone := sorted(set(roles) - set(frame["cohort"])):
        msg = f"no patient of the cohort(s) {shorten(gone)} is left: none has follow-up and the data asked for."
        raise InputError(msg)
    return frame


def _check(frame: pd.DataFrame) -> None:
    if frame.empty:
        msg = "no patient is left: none has follow-up and the data asked for. Do the patient names agree in all tables?"
        raise InputError(msg)
    twice = frame["patient"][frame["patient"].duplicated()].tolist()
    if twice:
        msg = (
            f"{len(twice)} patients stand more than once in the patients table: {shorten(twice)}. Keep one row of each."
        )
        raise InputError(msg)
    wrong = frame[(frame["time_days"] <= 0) | ~frame["event"].isin([0, 1])]
    if len(wrong):
        row = wrong.iloc[0]
        msg = (
            f"{len(wrong)} patients have follow-up that cannot be used (first: '{row['patient']}' with time "
            f"{row['time_days']:g} and event {row['event']:g}). Times must be > 0 days and events 0 or 1."
        )
        raise InputError(msg)


def check_expression(frame: pd.DataFrame, *, scale: str) -> tuple[pd.DataFrame, list[LeftOut]]:
    """Check profiles (patient, gene) against their declared `scale`; genes with gaps are left out.

    Raises InputError for negative values under ``counts`` and ``tpm``, and for values that no ``log2_tpm`` can have.
    """
    gaps = ~np.isfinite(frame.to_numpy()).all(axis=0)
    left_out = [LeftOut("gene", tuple(frame.columns[gaps]), "has values that are missing or infinite")]
    frame = frame.loc[:, ~gaps]
    if frame.shape[1] == 0:
        msg = f"all {len(gaps)} genes of inputs.expression have missing values. Give a complete matrix."
        raise InputError(msg)
    values = frame.to_numpy()
    if scale in ("counts", "tpm") and (values < 0).any():
        row, column = np.argwhere(values < 0)[0]
        first = f"patient '{frame.index[row]}', gene '{frame.columns[column]}', {values[row, column]:g}"
        msg = (
            f"inputs.expression.scale says '{scale}', but {int((values < 0).sum())} values are negative "
            f"(first: {first}). Set scale to what they are."
        )
        raise InputError(msg)
    if scale == "log2_tpm" and values.max() > 64:
        msg = f"inputs.expression.scale says 'log2_tpm', but the largest value is {values.max():g}. Set scale to 'tpm'?"
        raise InputError(msg)
    return frame, [one for one in left_out if one.items]


def summary(frame: pd.DataFrame) -> Mapping[str, int]:
    """Counts for the log: patients, events, with slide, with expression, sites."""
    return {
        "patients": len(frame),
        "events": int(frame["event"].sum()),
        "with slide": int(frame["has_slide"].sum()),
        "with expression": int(frame["has_expression"].sum()),
        "sites": frame["site"].nunique(),
    }
