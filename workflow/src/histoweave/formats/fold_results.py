"""Folds that a training job has finished, kept so that a killed job goes on with the next one.

One safetensors file per fold: the arrays of the fitted model, and the tables as Parquet in arrays of bytes; the rest
is JSON in its header, so that a kill cannot part them. The folder is named by all that a result depends on.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from histoweave.formats.files import replacing

_TABLES = ("risk", "training", "reconstruction")


@dataclass(frozen=True)
class KeptFold:
    """A finished fold: ``risk``, ``training``, ``reconstruction``, its model's ``state``, and who was left out.

    train_risk : sorted risks of its training part; left_out : (part, patients in the part, names, reason)
    """

    repeat: int
    fold: int
    risk: pd.DataFrame
    training: pd.DataFrame
    reconstruction: pd.DataFrame
    tensors: Mapping[str, np.ndarray]
    meta: Mapping
    train_risk: np.ndarray
    left_out: list[tuple[str, int, list[str], str]]


class FoldStore:
    """Finished folds in `folder`; without a folder it keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def put(self, fold: KeptFold) -> None:
        """Write a fold, whole or not at all."""
        if self.folder is None:
            return
        from safetensors.numpy import save_file

        arrays = {f"model/{name}": np.array(value, order="C") for name, value in fold.tensors.items()}
        arrays |= {f"table/{name}": _packed(getattr(fold, name)) for name in _TABLES}
        arrays["train_risk"] = np.array(fold.train_risk, order="C")
        rest = json.dumps({"meta": fold.meta, "left_out": fold.left_out})
        with replacing(self._path(fold.repeat, fold.fold)) as temporary:
            save_file(arrays, temporary, metadata={"rest": rest})

    def get(self, repeat: int, fold: int) -> KeptFold | None:
        """A fold as it was put in; None if it is not there, or damaged, so that it is made again."""
        from safetensors import SafetensorError, safe_open

        if self.folder is None or not self._path(repeat, fold).exists():
            return None
        try:
            with safe_open(self._path(repeat, fold), framework="numpy") as file:
                rest = json.loads((file.metadata() or {})["rest"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            tables = {name: pd.read_parquet(io.BytesIO(arrays.pop(f"table/{name}").tobytes())) for name in _TABLES}
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        train_risk = arrays.pop("train_risk")
        tensors = {name.removeprefix("model/"): value for name, value in arrays.items()}
        left_out = [tuple(part) for part in rest["left_out"]]
        return KeptFold(repeat, fold, **tables, tensors=tensors, meta=rest["meta"], train_risk=train_risk,
                        left_out=left_out)  # fmt: skip

    def _path(self, repeat: int, fold: int) -> Path:
        return Path(self.folder) / f"fold_{repeat}_{fold}.safetensors"


def _packed(frame: pd.DataFrame) -> np.ndarray:
    return np.frombuffer(frame.to_parquet(), dtype=np.uint8)
