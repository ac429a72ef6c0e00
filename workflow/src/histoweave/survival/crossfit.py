"""Fit on the training part of each fold, predict its test patients once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pandas as pd

from histoweave.errors import InputError, shorten
from histoweave.survival.interface import Context, Fitted, Needs, Patients, Prediction
from histoweave.survival.reconstruction import COLUMNS, group_correlations
from histoweave.survival.registry import needs_of

MakeContext = Callable[[int, int], Context]


@dataclass(frozen=True)
class FoldResult:
    """One fold: out-of-fold risks, training curves, the fitted model, its training risks, and who was left out.

    risk : ``patient, repeat, fold, risk, train_median, survival_<days>``; training : the curves
    reconstruction : how well expression is predicted, see `group_correlations`; no rows if the method does not
    left_out : (part, patients in the part, names left out, reason)
    """

    repeat: int
    fold: int
    risk: pd.DataFrame
    training: pd.DataFrame
    reconstruction: pd.DataFrame
    fitted: Fitted
    train_risk: np.ndarray
    left_out: list[tuple[str, int, list[str], str]]


def fit_fold(
    patients: Patients,
    roles: pd.DataFrame,
    module: ModuleType,
    *,
    settings: object,
    context: Context,
    horizons_days: Sequence[int],
) -> FoldResult:
    """Fit the method in `module` on one fold; roles : ``patient, repeat, fold, role`` of that fold."""
    needs = needs_of(module, settings)
    repeat, fold = int(roles["repeat"].iloc[0]), int(roles["fold"].iloc[0])
    parts, left_out = _parts(patients, roles, needs)
    fitted = module.fit(parts["train"], parts["validation"], settings=settings, context=context)
    inner = [fitted.predict(parts[role], horizons_days).risk for role in ("train", "validation")]
    train_risk = np.sort(np.concatenate(inner))
    prediction = fitted.predict(parts["test"], horizons_days)
    frame = pd.DataFrame({"patient": parts["test"].ids, "repeat": repeat, "fold": fold, "risk": prediction.risk})
    frame["train_median"] = float(np.median(train_risk))
    for column, day in enumerate(horizons_days):
        frame[f"survival_{int(day)}"] = prediction.survival[:, column]
    numbers = [name for name in frame if name != "patient"]
    for name, values in prediction.more.items():  # e.g. the risk of one branch; NaN where a modality is missing
        if values.ndim == 1:
            frame[name] = values
    if not np.isfinite(frame[numbers].to_numpy(float)).all():
        msg = f"{'/'.join(context.names)}: a predicted risk is not a finite number. Lower the model's learning rate."
        raise InputError(msg)
    training = pd.DataFrame(list(fitted.history), columns=["epoch", "part", "quantity", "value"])
    training.insert(0, "fold", fold)
    training.insert(0, "repeat", repeat)
    quality = _reconstruction(fitted, prediction, parts["test"]).assign(repeat=repeat, fold=fold)
    return FoldResult(repeat, fold, frame, training, quality, fitted, train_risk, left_out)


def _reconstruction(fitted: Fitted, prediction: Prediction, test: Patients) -> pd.DataFrame:
    truth = getattr(fitted, "truth", None)
    if truth is None:
        return pd.DataFrame(columns=list(COLUMNS))
    sizes = fitted.meta["shape"]["group_sizes"]
    predicted = prediction.more["reconstruction"]
    return group_correlations(predicted, truth(test), groups=fitted.meta["groups"], sizes=sizes)


def _parts(patients: Patients, roles: pd.DataFrame, needs: Needs) -> tuple[dict[str, Patients], list]:
    place = {name: row for row, name in enumerate(patients.ids)}
    parts, left_out = {}, []
    for role in ("train", "validation", "test"):
        rows = [place[name] for name in roles.loc[roles["role"] == role, "patient"] if name in place]
        part = patients.subset(rows)
        wanted = needs.predict if role == "test" else needs.train
        ok = np.ones(len(part), dtype=bool)
        for what in sorted(wanted):
            lacking = ok & ~part.has(what)
            names = [part.ids[row] for row in np.flatnonzero(lacking)]
            if names:
                left_out.append((role, len(part), names, f"no {what} data, which the model needs"))
            ok &= ~lacking
        parts[role] = part.subset(ok)
        if not ok.any():
            needed = shorten(sorted(wanted))
            msg = f"no {role} patient has all that the model needs ({needed}). Take it out of survival.models."
            raise InputError(msg)
    return parts, left_out
