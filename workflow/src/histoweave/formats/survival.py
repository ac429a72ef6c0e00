"""Files of the survival stage: cohort, folds, risks, training curves, attention, and what is read to make them."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

from histoweave.errors import InputError, shorten
from histoweave.formats.h5ad import MatrixKind
from histoweave.formats.table import TableKind

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
        frame = _READERS.get(path.suffix, _read_tsv)(path)
    except (OSError, ValueError, KeyError) as error:
        msg = f"{path} cannot be read ({str(error).splitlines()[0]}). Give h5ad, Parquet or TSV under {key}."
        raise InputError(msg) from error
    text = [str(name) for name, kind in frame.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if text:
        msg = f"{path}: {len(text)} columns are not numbers (first: {shorten(text)}). Remove them from {key}."
        raise InputError(msg)
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
        frame = frame.set_index("patient")
    return _named(frame)


def _read_tsv(path: Path) -> pd.DataFrame:
    return _named(pd.read_csv(path, sep="\t", index_col=0))


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    frame.index, frame.columns = frame.index.astype(str), frame.columns.astype(str)
    return frame


_READERS = {".h5ad": _read_h5ad, ".parquet": _read_parquet}


def read_clinical(path: str | Path, *, endpoint: str | None, covariates: Mapping[str, str]) -> pd.DataFrame:
    """Read the patients table as ``patient, site, time_days, event`` and the covariates named in the config."""
    text = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=True)
    time, event = ("time_days", "event") if endpoint is None else (f"{endpoint}_days", f"{endpoint}_event")
    missing = [name for name in ("patient", time, event, *covariates) if name not in text]
    if missing:
        msg = (
            f"{path}: {len(missing)} columns are missing: {shorten(missing)}. Add them, or change inputs in the config."
        )
        raise InputError(msg)
    frame = pd.DataFrame({"patient": text["patient"].str.strip()})
    frame["site"] = text["site"] if "site" in text else pd.NA
    frame["time_days"] = _numbers(text[time], path, time)
    frame["event"] = _numbers(text[event], path, event)
    for name, kind in covariates.items():
        frame[name] = _numbers(text[name], path, name) if kind == "numeric" else text[name].str.strip()
    return frame


def read_cohorts(path: str | Path) -> dict[str, str]:
    """Patient -> cohort of the patients table."""
    table = pd.read_csv(path, sep="\t", dtype=str, usecols=["patient", "cohort"])
    return dict(zip(table["patient"].str.strip(), table["cohort"].str.strip(), strict=True))


def _numbers(column: pd.Series, path: str | Path, name: str) -> pd.Series:
    values = pd.to_numeric(column, errors="coerce")
    bad = values.isna() & column.notna()
    if bad.any():
        line = int(np.flatnonzero(bad)[0]) + 2
        value = column[bad].iloc[0]
        msg = f"{path}, line {line}, column '{name}': '{value}' is not a number. Correct it or leave it empty."
        raise InputError(msg)
    return values.astype(float)


def read_gmt(path: str | Path) -> dict[str, list[str]]:
    """Read gene groups from a GMT file: name, description and genes per line, separated by tabs."""
    path = Path(path)
    if not path.is_file():
        msg = f"{path} does not exist. Correct survival.gene_groups.path."
        raise InputError(msg)
    groups: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            name, *rest = line.rstrip("\n").split("\t")
            genes = sorted({gene for gene in rest[1:] if gene})
            if not genes or name in groups:
                msg = f"{path}, line {number}: group '{name}' has no genes or stands twice. Correct the line."
                raise InputError(msg)
            groups[name] = genes
    if not groups:
        msg = f"{path} holds no gene group. Give a GMT file under survival.gene_groups.path."
        raise InputError(msg)
    return groups


def read_given_folds(path: str | Path) -> pd.DataFrame:
    """Read a user's folds: TSV ``patient, repeat, fold, role``; `repeat` may be left out."""
    path = Path(path)
    if not path.is_file():
        msg = f"{path} does not exist. Correct survival.folds.given."
        raise InputError(msg)
    frame = pd.read_csv(path, sep="\t", dtype={"patient": str, "role": str})
    frame = frame if "repeat" in frame else frame.assign(repeat=0)
    missing = [name for name in FOLDS.columns if name not in frame]
    if missing:
        msg = f"{path}: column '{missing[0]}' is missing (needed: patient, fold, role). Is it tab-separated?"
        raise InputError(msg)
    return frame[list(FOLDS.columns)]


def survival_columns(horizons_days: Sequence[float]) -> list[str]:
    """Names of the survival columns, ``survival_<days>``."""
    return [f"survival_{int(day)}" for day in horizons_days]
