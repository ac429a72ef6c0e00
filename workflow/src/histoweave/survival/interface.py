"""What every survival method takes and gives: patients in, risks and survival curves out.

A method is one module of this package with

``fit(train, validation, *, settings, context) -> Fitted``
    learns from the two inner parts of an outer training part; test patients are never passed to it
``restore(tensors, meta) -> Fitted``
    the inverse of ``Fitted.state``
``NEEDS_TRAIN``, ``NEEDS_PREDICT``
    what a patient must have, of `SLIDE`, `EXPRESSION`, `CLINICAL`; ``"slide|expression"`` means either.
    Where it depends on the settings, a function ``needs(settings) -> Needs`` stands in their place.
``Settings``
    its frozen settings dataclass
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from histoweave.errors import InputError, shorten

if TYPE_CHECKING:  # networks are trained without tables: neither takes memory there
    import pandas as pd
    import torch

SLIDE, EXPRESSION, CLINICAL = "slide", "expression", "clinical"


@dataclass(frozen=True)
class Needs:
    """What a patient must have to be trained on and to be predicted; ``a|b`` means either."""

    train: frozenset[str]
    predict: frozenset[str]


@dataclass(frozen=True)
class Patients:
    """Patients with what is known of them; axis 0 of everything is the patient.

    ids : (patient,) names
    time_days : (patient,) days of follow-up, > 0; event : (patient,) 1 = event, 0 = censored.
        NaN and -1 where the outcome is unknown (prediction on new slides)
    bags : per patient (tile, feature) float32, perhaps read lazily, of all slides; None = no slide
    feature_names : (feature,) names of the tile features
    expression : (patient, gene) as given, a row of NaN = no expression; None = nobody has any
    genes : (gene,) names; expression_scale : ``counts | tpm | log2_tpm | zscore``
    clinical : (patient, covariate); numbers, or text for categories; NaN and None = unknown
    alterations : (patient, alteration) copy number ``<gene>_cnv`` and mutations ``<gene>_mut``, a row of NaN = unknown;
        None = nobody has any
    alteration_names : (alteration,) names
    """

    ids: tuple[str, ...]
    time_days: np.ndarray
    event: np.ndarray
    bags: Sequence[np.ndarray | None]
    feature_names: tuple[str, ...]
    expression: np.ndarray | None
    genes: tuple[str, ...]
    expression_scale: str
    clinical: "pd.DataFrame"
    alterations: np.ndarray | None = None
    alteration_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, index: Sequence[int] | np.ndarray) -> "Patients":
        """Return the patients at `index` (positions, or a boolean mask), in that order."""
        index = np.asarray(index)
        rows = np.flatnonzero(index) if index.dtype == bool else index.astype(int)
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            time_days=self.time_days[rows],
            event=self.event[rows],
            bags=[self.bags[row] for row in rows],
            expression=None if self.expression is None else self.expression[rows],
            clinical=self.clinical.iloc[rows].reset_index(drop=True),
            alterations=None if self.alterations is None else self.alterations[rows],
        )

    def has(self, what: str) -> np.ndarray:
        """(patient,) bool: who has `what`, of ``slide``, ``expression``, ``clinical``, or ``a|b`` for either."""
        if "|" in what:
            return np.logical_or.reduce([self.has(part) for part in what.split("|")])
        if what == SLIDE:
            return np.array([bag is not None and bag.shape[0] > 0 for bag in self.bags], dtype=bool)
        if what == EXPRESSION:
            none = np.zeros(len(self), dtype=bool)
            return none if self.expression is None else ~np.isnan(self.expression).all(axis=1)
        if what == CLINICAL:
            return np.full(len(self), self.clinical.shape[1] > 0)
        msg = f"'{what}' is no kind of patient data; known: {SLIDE}, {EXPRESSION}, {CLINICAL}."
        raise InputError(msg)

    def require(self, needs: frozenset[str], *, method: str) -> None:
        """Raise InputError that names the patients who lack one of `needs`."""
        for what in sorted(needs):
            lacking = [name for name, ok in zip(self.ids, self.has(what), strict=True) if not ok]
            if lacking:
                msg = (
                    f"{method}: {len(lacking)} of {len(self)} patients have no {what} data: {shorten(lacking)}. "
                    "Leave them out, or choose a model under survival.models that does without."
                )
                raise InputError(msg)


def patients_of(
    cohort: "pd.DataFrame",
    *,
    bags: Sequence[np.ndarray | None] | None,
    feature_names: Sequence[str],
    expression: "pd.DataFrame | None",
    expression_scale: str,
    alterations: "pd.DataFrame | None",
    covariates: Sequence[str],
) -> Patients:
    """Patients of the rows of `cohort`; expression and alterations are matched by name, rows of NaN where missing."""
    ids = tuple(cohort["patient"])
    return Patients(
        ids=ids,
        time_days=cohort["time_days"].to_numpy(float),
        event=cohort["event"].to_numpy(int),
        bags=list(bags) if bags is not None else [None] * len(ids),
        feature_names=tuple(feature_names),
        expression=None if expression is None else expression.reindex(ids).to_numpy(np.float64),
        genes=() if expression is None else tuple(expression.columns),
        expression_scale=expression_scale,
        clinical=cohort[list(covariates)].reset_index(drop=True),
        alterations=None if alterations is None else alterations.reindex(ids).to_numpy(np.float64),
        alteration_names=() if alterations is None else tuple(alterations.columns),
    )


def unknown_outcome(
    ids: tuple[str, ...], bags: Sequence[np.ndarray | None], feature_names: tuple[str, ...]
) -> Patients:
    """Return patients of whom only slides are known."""
    import pandas as pd

    n = len(ids)
    nothing = pd.DataFrame(index=range(n))
    return Patients(ids, np.full(n, np.nan), np.full(n, -1), bags, feature_names, None, (), "", nothing)


@dataclass(frozen=True)
class Cells:
    """Annotated single cells for methods that learn from mixtures of them.

    counts : (cell, gene) raw counts; genes : (gene,); cell_type : (cell,) names
    """

    counts: np.ndarray
    genes: tuple[str, ...]
    cell_type: np.ndarray


@dataclass(frozen=True)
class Context:
    """What surrounds one fit: seed, names of the task, device, and the inputs from the stages before.

    names : (model, repeat, fold), makes the random generators
    gene_embedding : (gene vectors by name); gene_groups : group -> genes; cells : annotated single cells
    checkpoint_dir : folder for resuming a killed fit; None = no checkpoints
    """

    seed: int
    names: tuple[str, ...]
    device: "torch.device | str" = "cpu"
    gene_embedding: Mapping[str, np.ndarray] | None = None
    gene_groups: Mapping[str, Sequence[str]] | None = None
    cells: Cells | None = None
    checkpoint_dir: Path | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prediction:
    """Risks and survival curves.

    risk : (patient,) higher = worse; survival : (patient, horizon) probability of no event by then
    more : further (patient, ...) arrays of the method, e.g. predicted group expression
    """

    risk: np.ndarray
    survival: np.ndarray
    more: Mapping[str, np.ndarray] = field(default_factory=dict)


class Fitted(Protocol):
    """A fitted method.

    history : rows ``epoch, part, quantity, value`` of the training curves; empty where there is no training loop
    """

    history: Sequence[Mapping]

    def predict(self, patients: Patients, horizons_days: Sequence[float]) -> Prediction:
        """Predict **every** patient given, or raise InputError."""
        ...

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Return what `restore` needs: named arrays, and JSON-able settings and names."""
        ...
