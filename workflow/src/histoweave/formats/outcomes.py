"""Cohort, folds and the risks of all models: what every step of the evaluation begins with."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from histoweave.errors import InputError
from histoweave.formats.explained import PREDICTION
from histoweave.formats.files import check_seal, safe_name
from histoweave.formats.slides import FEATURES
from histoweave.formats.survival import COHORT, COHORTS, EXPRESSION, FOLDS, RISK, read_clinical


@dataclass(frozen=True)
class Outcomes:
    """Tables of the survival stage; risks : model -> table; files : what was read, for the provenance."""

    cohort: pd.DataFrame
    folds: pd.DataFrame
    risks: dict[str, pd.DataFrame]
    files: dict

    @property
    def covariates(self) -> list[str]:
        """Names of the clinical covariates, in the order of the table."""
        return [name for name in self.cohort if name not in COHORT.columns]


def outcome_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add ``--cohort``, ``--folds`` and ``--risks`` to `parser`, and return it."""
    parser.add_argument("--cohort", type=Path, required=True, help="survival/cohort.parquet")
    parser.add_argument("--folds", type=Path, required=True, help="survival/folds.parquet")
    parser.add_argument("--risks", type=Path, nargs="+", required=True, help="survival/<model>/risk.parquet")
    return parser


def read_outcomes(args: argparse.Namespace) -> Outcomes:
    """Read the tables, patients sorted by name; a model is called after the folder of its table."""
    models = [path.parent.name for path in args.risks]
    if len(set(models)) < len(models):
        msg = f"--risks names two tables of one model ({', '.join(models)}). Give each model once."
        raise InputError(msg)
    return Outcomes(
        cohort=COHORT.read(args.cohort).sort_values("patient", ignore_index=True),
        folds=FOLDS.read(args.folds),
        risks={model: RISK.read(path) for model, path in zip(models, args.risks, strict=True)},
        files={"cohort": args.cohort, "folds": args.folds, "risks": args.risks},
    )


def expression_of(path: str | Path, patients: Sequence[str]) -> np.ndarray:
    """Expression of `patients`: (patient, gene), counts and TPM as log2(1 + x), NaN rows where unknown."""
    data = EXPRESSION.read(path)
    frame = pd.DataFrame(np.asarray(data.X, dtype=float), index=data.obs_names.astype(str))
    values = frame.reindex(list(patients)).to_numpy()
    return np.log2(1 + values) if data.uns["scale"] in ("counts", "tpm") else values


def mean_tile_features(folder: str | Path, slides_of_patient: Iterable[Sequence[str]]) -> np.ndarray:
    """Mean over all tiles of each patient's slides: (patient, feature), NaN rows for those without tiles."""
    sums, counts = [], []
    for slides in slides_of_patient:
        tiles = [_tile_features(Path(folder) / f"{safe_name(slide)}.h5ad") for slide in slides]
        counts.append(sum(len(part) for part in tiles))
        sums.append(np.sum([part.sum(axis=0, dtype=float) for part in tiles], axis=0) if counts[-1] else None)
    width = max((len(total) for total in sums if total is not None), default=0)
    rows = [np.full(width, np.nan) if total is None else total / n for total, n in zip(sums, counts, strict=True)]
    return np.stack(rows) if rows else np.zeros((0, width))


def _tile_features(path: Path) -> np.ndarray:
    """X (tile, feature) of a feature file; h5py alone, because anndata takes 25 ms to open one."""
    try:
        check_seal(path)
        with h5py.File(path) as file:
            if file["uns/format"].asstr()[()] != FEATURES.name:
                msg = f"{path} holds no tile features. Remove it and run again."
                raise InputError(msg)
            return file["X"][:]
    except (OSError, KeyError) as error:
        msg = f"{path} is not a readable feature file ({str(error).splitlines()[0]}). Remove it and run again."
        raise InputError(msg) from error


def read_follow_up(path: str | Path) -> pd.DataFrame:
    """Read ``patient, time_days, event`` of an external cohort; raises InputError for missing or doubled patients."""
    table = read_clinical(path, endpoint=None, covariates={})
    usable = table["time_days"].gt(0) & table["event"].isin([0, 1]) & ~table["patient"].duplicated(keep=False)
    if not usable.all():
        first = int(np.flatnonzero(~usable)[0])
        msg = (
            f"{path}, line {first + 2}: patient '{table['patient'][first]}' stands twice, or has no positive time_days "
            "or no event of 0 or 1. Correct the table."
        )
        raise InputError(msg)
    return table


def read_external(
    given: Iterable[tuple[str, str, Path, Path]],
) -> dict[str, tuple[pd.DataFrame, dict[str, pd.DataFrame]]]:
    """Follow-up and predictions of each external cohort: cohort -> (patients, model -> prediction).

    given : cohort, model, table of predictions and table of patients. Tables of patients are the users' (TSV) or hold
    all cohorts of this run; predictions are those of the target ``predict`` or risks of this run's models.
    """
    found: dict[str, tuple[pd.DataFrame, dict[str, pd.DataFrame]]] = {}
    source: dict[str, Path] = {}
    for cohort, model, prediction, patients in given:
        if source.setdefault(cohort, patients) != patients:
            msg = (
                f"the external cohort '{cohort}' has two tables of patients, {source[cohort]} and {patients}. Rename it"
                " in evaluation.cohorts or inputs.cohorts."
            )
            raise InputError(msg)
        if cohort not in found:
            found[cohort] = (_patients_of(patients, cohort), {})
        kind = RISK if RISK.is_kind_of(prediction) else PREDICTION
        table = kind.read(prediction)
        found[cohort][1][model] = table[table["patient"].isin(found[cohort][0]["patient"])]
    return found


def _patients_of(path: Path, cohort: str) -> pd.DataFrame:
    if path.suffix != ".parquet":
        return read_follow_up(path)
    everybody = COHORTS.read(path)
    return everybody[everybody["cohort"] == cohort].reset_index(drop=True)
