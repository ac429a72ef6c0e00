"""Files of the survival stage: cohort, folds, risks, training curves, attention, and what is read to make them."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from histoweave.errors import InputError, shorten
from histoweave.formats.h5ad import MatrixKind
from histoweave.formats.table import TableKind
from histoweave.formats.text import numbers, read_columns, read_matrix

COHORT = TableKind(
    "cohort",
    1,
    {
        "patient": "str",
        "site": "str",
        "time_days": "float",
        "event": "int",
        "has_slide": "bool",
        "has_expression": "bool",
        "slides": "str",
    },
)
"""One row per patient as analysed, sorted by name; ``slides``: names joined by a space; further columns: covariates."""

COHORTS = TableKind("cohort", 1, COHORT.columns | {"cohort": "str", "role": "str"})
"""external/cohort.parquet: the same kind, of all cohorts, with the `role` of each, ``train`` or ``external``."""

FOLDS = TableKind("folds", 1, {"patient": "str", "repeat": "int", "fold": "int", "role": "str"})
"""Role ``train``, ``validation`` (inner part of the training part) or ``test`` of each patient in each fold."""

RISK = TableKind(
    "risk", 1, {"patient": "str", "repeat": "int", "fold": "int", "risk": "float", "train_median": "float"}
)
"""Out-of-fold risks, one row per test patient, repeat and fold; one ``survival_<days>`` column per horizon.
``train_median``: median risk of the outer training part (roles train and validation) of that fold."""

TRAINING = TableKind(
    "training", 1, {"repeat": "int", "fold": "int", "epoch": "int", "part": "str", "quantity": "str", "value": "float"}
)
"""Training curves: loss and c-index per epoch, and what else a method watches."""

RECONSTRUCTION = TableKind(
    "reconstruction",
    1,
    {
        "repeat": "int",
        "fold": "int",
        "group": "str",
        "genes": "int",
        "patients": "int",
        "r_group": "float",
        "r_gene": "float",
    },
)
"""Expression of gene groups predicted from slides, against the test patients' own: Pearson r of the group's mean over
genes (``r_group``) and the median over its genes (``r_gene``); no rows for models that do not predict expression."""

ATTENTION = TableKind(
    "attention",
    1,
    {
        "patient": "str",
        "slide": "str",
        "repeat": "int",
        "fold": "int",
        "tile": "int",
        "x": "float",
        "y": "float",
        "attention": "float",
        "score": "float",
        "case": "str",
    },
)
"""Tiles of chosen patients: level-0 px of the top left corner, attention (sums to 1 over the patient) and its
percentile among all tiles of the model's chosen patients (``score``); ``case``: highest, median or lowest risk."""

EXPRESSION = MatrixKind("cohort_expression", 1)
"""X (patient, gene) as the user gave it; ``uns['scale']``."""

ALTERATIONS = MatrixKind("cohort_alterations", 1)
"""X (patient, alteration): copy number and mutations."""

SCALES = ("counts", "tpm", "log2_tpm", "zscore")


def read_profiles(path: str | Path, *, key: str) -> pd.DataFrame:
    """Read a user's matrix (patient, column) from h5ad, Parquet or TSV; the patient is the index or first column.

    key : config key of the file, for messages. Raises InputError for unreadable files, duplicates and text.
    """
    path = Path(path)
    if not path.is_file():
        msg = f"{path} does not exist. Correct {key}."
        raise InputError(msg)
    try:
        frame = _READERS.get(path.suffix, read_matrix)(path)
    except (OSError, ValueError, KeyError) as error:
        msg = f"{path} cannot be read ({str(error).splitlines()[0]}). Give h5ad, Parquet or TSV under {key}."
        raise InputError(msg) from error
    if not frame.size:
        msg = f"{path} holds {len(frame)} patients and {frame.shape[1]} columns of numbers. Correct {key}: is it a TSV?"
        raise InputError(msg)
    text = [str(name) for name, kind in zip(frame.columns, frame.dtypes, strict=True) if not is_numeric_dtype(kind)]
    if text:
        msg = f"{path}: {len(text)} columns are not numbers (first: {shorten(text)}). Remove them from {key}."
        raise InputError(msg)
    blank = frame.index.isna() | (frame.index.astype(str).str.strip() == "")
    if blank.any():
        msg = f"{path}: {int(blank.sum())} rows name no patient (first: row {int(blank.argmax()) + 1}). Correct {key}."
        raise InputError(msg)
    frame.index, frame.columns = (names.astype(str).str.strip() for names in (frame.index, frame.columns))
    for axis, names in (("patients", frame.index), ("columns", frame.columns)):
        twice = sorted(set(names[names.duplicated()]))
        if twice:
            msg = f"{path}: {len(twice)} {axis} stand more than once: {shorten(twice)}. Keep one of each in {key}."
            raise InputError(msg)
    return frame.astype(np.float32)


def _read_h5ad(path: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # anndata warns of names that are not unique; checked by the caller
        data = ad.read_h5ad(path)
    values = data.X.toarray() if hasattr(data.X, "toarray") else np.asarray(data.X)
    return pd.DataFrame(values, index=data.obs_names.astype(str), columns=data.var_names.astype(str))


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    if "patient" in frame.columns:
        return frame.set_index("patient")
    if not isinstance(frame.index, pd.RangeIndex):
        return frame
    if not frame.shape[1] or is_numeric_dtype(frame.dtypes.iloc[0]):
        msg = "neither its index nor its first column names patients"
        raise ValueError(msg)
    return frame.set_index(frame.columns[0])


_READERS = {".h5ad": _read_h5ad, ".parquet": _read_parquet}


def read_clinical(path: str | Path, *, endpoint: str | None, covariates: Mapping[str, str]) -> pd.DataFrame:
    """Read the patients table as ``patient, site, time_days, event`` and the covariates named in the config."""
    time, event = ("time_days", "event") if endpoint is None else (f"{endpoint}_days", f"{endpoint}_event")
    text = read_columns(path, ["patient", time, event, *covariates], key="inputs", missing=None)
    frame = pd.DataFrame({"patient": text["patient"].str.strip()})
    frame["site"] = text["site"] if "site" in text else pd.NA
    frame["time_days"] = numbers(text[time], path=path)
    frame["event"] = numbers(text[event], path=path)
    for name, kind in covariates.items():
        frame[name] = numbers(text[name], path=path) if kind == "numeric" else text[name].str.strip()
    return frame


def read_cohorts(path: str | Path) -> dict[str, str]:
    """Patient -> cohort of the patients table."""
    table = read_columns(path, ["patient", "cohort"], key="inputs", missing=None)
    return dict(zip(table["patient"].str.strip(), table["cohort"].str.strip(), strict=True))


def read_given_folds(path: str | Path) -> pd.DataFrame:
    """Read a user's folds: TSV ``patient, repeat, fold, role``; `repeat` may be left out."""
    frame = read_columns(path, ["patient", "fold", "role"], key="survival.folds.given")
    frame = frame if "repeat" in frame else frame.assign(repeat="0")
    for name in ("patient", "role"):
        frame[name] = frame[name].str.strip()
        if frame[name].isna().any():
            msg = f"{path}, line {int(frame[name].isna().argmax()) + 2}: column '{name}' is empty. Correct the line."
            raise InputError(msg)
    for name in ("repeat", "fold"):
        frame[name] = numbers(frame[name], path=path, whole=True)
    return frame[list(FOLDS.columns)]


def survival_columns(horizons_days: Sequence[float]) -> list[str]:
    """Names of the survival columns, ``survival_<days>``."""
    return [f"survival_{int(day)}" for day in horizons_days]
