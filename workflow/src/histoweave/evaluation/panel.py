"""Who is scored in which fold, and the predictions of a model put in that order.

One `Panel` serves all models: the same patients, folds and bootstrap draws make every comparison a paired one.
A prediction that is missing, doubled, not finite or for a patient who was not in the test part is an InputError;
a patient whom a model cannot serve has no row in its table and is left out by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from histoweave.errors import InputError, shorten


@dataclass(frozen=True)
class Fold:
    """One test part and the follow-up of the patients that its models were trained on.

    patients : (patient,) positions in the panel; time, event : (patient,)
    train_time, train_event : (training patient,), train and validation together
    """

    repeat: int
    fold: int
    patients: np.ndarray
    time: np.ndarray
    event: np.ndarray
    train_time: np.ndarray
    train_event: np.ndarray

    def only(self, keep: np.ndarray) -> "Fold":
        """Return the fold with those of its patients where `keep` (patient,) is true."""
        return replace(self, patients=self.patients[keep], time=self.time[keep], event=self.event[keep])


@dataclass(frozen=True)
class Panel:
    """Patients in the order of their names, and the folds.

    names : (patient,); time, event : (patient,)
    """

    names: np.ndarray
    time: np.ndarray
    event: np.ndarray
    folds: tuple[Fold, ...]

    def strata(self) -> np.ndarray:
        """Return (patient,) the fold in which each patient is first tested, -1 for never."""
        found = np.full(len(self.names), -1)
        for number, fold in reversed(list(enumerate(self.folds))):
            found[fold.patients] = number
        return found

    @property
    def repeats(self) -> list[int]:
        """The repeats in order."""
        return sorted({fold.repeat for fold in self.folds})


@dataclass(frozen=True)
class FoldPrediction:
    """What one model says about the patients of one fold.

    risk : (patient,); survival : (patient, time); train_median : median risk of the training part, or NaN
    """

    fold: Fold
    risk: np.ndarray
    survival: np.ndarray
    train_median: float


@dataclass(frozen=True)
class Predictions:
    """All test folds of one model; times_days : (time,) days of the survival columns."""

    model: str
    times_days: np.ndarray
    folds: tuple[FoldPrediction, ...]

    def patients(self) -> np.ndarray:
        """Return the positions (in the panel) of all patients with a prediction, sorted."""
        return np.unique(np.concatenate([part.fold.patients for part in self.folds]))

    def only(self, patients: np.ndarray) -> "Predictions":
        """Return the predictions of `patients` (positions in the panel) alone."""
        kept = []
        for part in self.folds:
            keep = np.isin(part.fold.patients, patients)
            kept.append(replace(part, fold=part.fold.only(keep), risk=part.risk[keep], survival=part.survival[keep]))
        return replace(self, folds=tuple(kept))


def make_panel(cohort: pd.DataFrame, folds: pd.DataFrame) -> Panel:
    """Build the panel from cohort.parquet and folds.parquet; raises InputError where they disagree."""
    cohort = cohort.sort_values("patient", ignore_index=True)
    if (double := cohort["patient"][cohort["patient"].duplicated()].tolist()) or not len(cohort):
        msg = f"cohort.parquet must hold each patient once, and at least one; doubled: {shorten(double)}."
        raise InputError(msg)
    check_roles(folds)
    position = pd.Series(np.arange(len(cohort)), index=cohort["patient"])
    if unknown := sorted(set(folds["patient"]) - set(position.index)):
        msg = f"{len(unknown)} patient(s) of folds.parquet are not in cohort.parquet (first: '{unknown[0]}')."
        raise InputError(msg)
    time, event = cohort["time_days"].to_numpy(float), cohort["event"].to_numpy().astype(bool)
    if not (np.isfinite(time).all() and (time > 0).all()):
        first = cohort["patient"][~(np.isfinite(time) & (time > 0))].iloc[0]
        msg = f"cohort.parquet: patient '{first}' has no positive time_days. Correct it in the patients table."
        raise InputError(msg)
    made = []
    for (repeat, fold), part in folds.groupby(["repeat", "fold"], sort=True):
        here = position[part["patient"]].to_numpy()
        tested = part["role"].to_numpy() == "test"
        test, train = np.sort(here[tested]), np.sort(here[~tested])
        made.append(Fold(int(repeat), int(fold), test, time[test], event[test], time[train], event[train]))
    return Panel(cohort["patient"].to_numpy(str), time, event, tuple(made))


def check_roles(folds: pd.DataFrame) -> None:
    """Raise InputError unless a patient has one role per fold, and every fold has test and training patients."""
    double = folds[folds.duplicated(["repeat", "fold", "patient"])]
    if len(double):
        first = double.iloc[0]
        msg = (
            f"folds.parquet: {len(double)} patient(s) stand twice in a fold (first: '{first['patient']}' in repeat "
            f"{first['repeat']}, fold {first['fold']}). Each patient has one role per fold."
        )
        raise InputError(msg)
    if unknown := sorted(set(folds["role"]) - {"train", "validation", "test"}):
        msg = f"folds.parquet: unknown role {shorten(unknown)}; expected train, validation or test."
        raise InputError(msg)
    for (repeat, fold), roles in folds.groupby(["repeat", "fold"])["role"]:
        if not {"train", "test"} <= set(roles):
            msg = f"folds.parquet: repeat {repeat}, fold {fold} lacks a train or a test part."
            raise InputError(msg)


def align(panel: Panel, risk: pd.DataFrame, *, model: str) -> Predictions:
    """Put the table risk.parquet of `model` in the order of `panel`; raises InputError for rows that cannot be.

    Patients of a test part without a row are left out; `missing` names them.
    """
    times, columns = survival_columns(risk)
    _check_rows(panel, risk, columns, model)
    rows = {key: part.set_index("patient") for key, part in risk.groupby(["repeat", "fold"])}
    parts = []
    for fold in panel.folds:
        names = panel.names[fold.patients]
        table = rows.get((fold.repeat, fold.fold), risk.iloc[:0].set_index("patient"))
        keep = np.isin(names, table.index.to_numpy(str)) if len(table) else np.zeros(len(names), bool)
        table = table.loc[names[keep]]
        median = float(table["train_median"].iloc[0]) if "train_median" in table and len(table) else np.nan
        survival = table[columns].to_numpy(float).reshape(len(table), len(columns))
        parts.append(FoldPrediction(fold.only(keep), table["risk"].to_numpy(float), survival, median))
    return Predictions(model, times, tuple(parts))


def align_all(panel: Panel, risks: Mapping[str, pd.DataFrame]) -> list[Predictions]:
    """Put the risks of all models (model -> risk.parquet) in the order of `panel`."""
    return [align(panel, table, model=model) for model, table in risks.items()]


def survival_columns(risk: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Return the days (time,) and the names of the columns ``survival_<days>``, by increasing days."""
    days = sorted((float(name.removeprefix("survival_")), name) for name in risk if name.startswith("survival_"))
    return np.array([day for day, _ in days]), [name for _, name in days]


def _check_rows(panel: Panel, risk: pd.DataFrame, columns: Sequence[str], model: str) -> None:
    where = f"survival/{model}/risk.parquet"
    _refuse(risk[risk.duplicated(["repeat", "fold", "patient"])], where, "stand twice in their fold")
    finite = np.isfinite(risk[["risk", *columns]].to_numpy(float)).all(axis=1)
    _refuse(risk[~finite], where, "have a risk or survival that is NaN or infinite")
    survival = risk[list(columns)].to_numpy(float)
    outside = ((survival < 0) | (survival > 1)).any(axis=1) if len(columns) else np.zeros(len(risk), bool)
    _refuse(risk[outside], where, "have a survival outside 0..1")
    tested = {(fold.repeat, fold.fold): set(panel.names[fold.patients]) for fold in panel.folds}
    keys = zip(risk["repeat"], risk["fold"], risk["patient"], strict=True)
    stray = [patient not in tested.get((repeat, fold), ()) for repeat, fold, patient in keys]
    _refuse(risk[stray], where, "were not in the test part of their fold")


def _refuse(rows: pd.DataFrame, where: str, what: str) -> None:
    if len(rows):
        first = rows.iloc[0]
        msg = (
            f"{where}: {len(rows)} row(s) {what} (first: patient '{first['patient']}', repeat {first['repeat']}, "
            f"fold {first['fold']}). Remove the model's folder and run it again."
        )
        raise InputError(msg)


def missing(panel: Panel, predictions: Predictions) -> list[str]:
    """Name the patients of test parts for whom the model has no prediction in at least one of them."""
    left_out = [
        panel.names[np.setdiff1d(fold.patients, part.fold.patients)]
        for fold, part in zip(panel.folds, predictions.folds, strict=True)
    ]
    return sorted(set(np.concatenate(left_out).tolist()))
