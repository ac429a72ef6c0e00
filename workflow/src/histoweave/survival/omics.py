"""RNA with copy numbers and mutations as columns of a linear model, all scaled by the training part."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from histoweave.errors import InputError
from histoweave.survival.cox import cox_score
from histoweave.survival.interface import Patients
from histoweave.survival.profiles import ProfileScale

_CONSTANT = 1e-8


@dataclass(frozen=True)
class AlterationInput:
    """Scaling of copy numbers and mutations that vary in the training part.

    names : (alteration,); mean, sd : (alteration,) of the training part; clip : bound of scaled values, in SDs
    """

    names: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray
    clip: float

    @classmethod
    def fitted(cls, patients: Patients, *, clip: float, panel: int = 0) -> "AlterationInput | None":
        """Fit on the training part; None where nothing varies, or nobody has any.

        panel : keep as many, those with the largest Cox scores in the training part; 0 = all
        """
        if patients.alterations is None or not np.isfinite(patients.alterations).any():
            return None
        known = np.isfinite(patients.alterations)
        values = np.where(known, patients.alterations, 0.0)
        n = np.maximum(known.sum(axis=0), 1)
        mean = values.sum(axis=0) / n
        sd = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / n)
        kept = np.flatnonzero(sd > _CONSTANT)
        if not kept.size:
            return None
        names = tuple(patients.alteration_names[column] for column in kept)
        found = cls(names, mean[kept], sd[kept], clip)
        if not 0 < panel < len(names):
            return found
        score = cox_score(found(patients).astype(float), patients.time_days, patients.event)
        return found.only({names[column] for column in np.argsort(-score, kind="stable")[:panel]})

    def only(self, names: Collection[str]) -> "AlterationInput":
        """Return the input of those of its columns that are in `names`, in its order."""
        kept = np.array([column for column, name in enumerate(self.names) if name in names], dtype=int)
        return replace(self, names=tuple(self.names[column] for column in kept), mean=self.mean[kept], sd=self.sd[kept])

    def __call__(self, patients: Patients) -> np.ndarray:
        """Return (patient, alteration) float32; 0, the training mean, where a value is unknown."""
        place = {name: column for column, name in enumerate(patients.alteration_names)}
        out = np.full((len(patients), len(self.names)), np.nan)
        if patients.alterations is not None:
            there = [(target, place[name]) for target, name in enumerate(self.names) if name in place]
            targets, columns = (list(part) for part in zip(*there, strict=True)) if there else ([], [])
            out[:, targets] = (patients.alterations[:, columns] - self.mean[targets]) / self.sd[targets]
        return np.clip(np.nan_to_num(out), -self.clip, self.clip).astype(np.float32)

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and the JSON-able rest for `restored`."""
        arrays = {"alterations.mean": self.mean, "alterations.sd": self.sd}
        return arrays, {"names": list(self.names), "clip": self.clip}

    @classmethod
    def restored(cls, tensors: Mapping[str, np.ndarray], meta: Mapping) -> "AlterationInput":
        """Inverse of `state`."""
        return cls(tuple(meta["names"]), tensors["alterations.mean"], tensors["alterations.sd"], meta["clip"])


@dataclass(frozen=True)
class OmicsScale:
    """Scaled RNA, and beside it copy numbers and mutations where asked for; called with patients."""

    genes: ProfileScale
    alterations: AlterationInput | None

    @classmethod
    def fitted(cls, patients: Patients, *, n_genes: int, clip: float, alterations: bool, method: str) -> "OmicsScale":
        """Fit on the training part; raises InputError where alterations are asked for and nobody has any that vary."""
        genes = ProfileScale.fitted(
            patients.expression, patients.genes, patients.expression_scale, n_genes=n_genes, clip=clip
        )
        if not alterations:
            return cls(genes, None)
        found = AlterationInput.fitted(patients, clip=clip)
        if found is None:
            msg = (
                f"{method}: no copy number or mutation varies between the training patients. Give inputs.alterations, "
                "or set 'alterations' of this model to false."
            )
            raise InputError(msg)
        return cls(genes, found)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns: genes, then alterations."""
        return self.genes.genes + (() if self.alterations is None else self.alterations.names)

    def __call__(self, patients: Patients) -> np.ndarray:
        """(patient, column) float64."""
        rna = self.genes(patients.expression, patients.genes, patients.expression_scale)
        return rna if self.alterations is None else np.concatenate([rna, self.alterations(patients)], axis=1)

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and the JSON-able rest for `restored`."""
        arrays, meta = self.genes.state("genes")
        if self.alterations is None:
            return arrays, {"genes": meta, "alterations": None}
        own, names = self.alterations.state()
        return arrays | own, {"genes": meta, "alterations": names}

    @classmethod
    def restored(cls, tensors: Mapping[str, np.ndarray], meta: Mapping) -> "OmicsScale":
        """Inverse of `state`."""
        genes = ProfileScale.restored(tensors, meta["genes"], "genes")
        return cls(genes, AlterationInput.restored(tensors, meta["alterations"]) if meta["alterations"] else None)
