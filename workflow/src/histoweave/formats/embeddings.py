"""Embeddings that took long to compute, kept between runs: key -> vector, one file per run of keys."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from histoweave.errors import InputError
from histoweave.formats.files import replacing


class EmbeddingStore(MutableMapping):
    """Mapping kept in the safetensors files of a folder; `update` writes one new file.

    Keys name everything that an embedding depends on, so an entry never goes out of date: losing the folder costs
    time, not results. Several jobs may share it: each writes its own files, named by their keys.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.vectors: dict[str, np.ndarray] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                self.vectors |= load_file(path)
            except SafetensorError as error:
                msg = f"{path} is damaged ({error}). Remove it; its embeddings are made again."
                raise InputError(msg) from error

    def update(self, other: Mapping[str, np.ndarray] | Iterable = (), /, **more: np.ndarray) -> None:
        """Add vectors, in memory and on disk."""
        new = {key: np.ascontiguousarray(value) for key, value in dict(other, **more).items()}
        if not new:
            return
        self.vectors |= new
        name = hashlib.sha256("".join(sorted(new)).encode()).hexdigest()[:24]
        with replacing(self.folder / f"{name}.safetensors") as temporary:
            save_file(new, temporary)

    def __setitem__(self, key: str, value: np.ndarray) -> None:
        self.update({key: value})

    def __getitem__(self, key: str) -> np.ndarray:
        return self.vectors[key]

    def __delitem__(self, key: str) -> None:
        del self.vectors[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.vectors)

    def __len__(self) -> int:
        return len(self.vectors)
