"""RNA profiles as the frozen cell embeddings of a user's scGPT checkpoint (see `scgpt`), embedded once each."""

import csv
import hashlib
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from histoweave.errors import InputError
from histoweave.rng import generator
from histoweave.survival.gene_encoders import (
    ScgptSettings,
    check_expression,
    columns_of,
    linear_expression,
    log_expression,
    unexpressed,
)
from histoweave.survival.scgpt import Checkpoint, embed_profiles, match_genes, rank_bins, read_checkpoint

_PART = 64  # profiles between two writes of the cache


@dataclass(frozen=True)
class ScgptInput:
    """What turns profiles into cell embeddings; the same call as `gene_encoders.ProfileInput`.

    genes : (gene,) known to the vocabulary; gene_ids : their rows there
    orders : choices of genes, most wanted first, see `embed_profiles`
    scale, floor : of the expression; known : embeddings that were made before, by key
    """

    checkpoint: Checkpoint
    settings: ScgptSettings
    genes: tuple[str, ...]
    gene_ids: np.ndarray
    orders: tuple[np.ndarray, ...]
    scale: str
    floor: float
    device: torch.device
    known: MutableMapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return self.checkpoint.model.shape.dim

    def __call__(self, expression: np.ndarray, genes: Sequence[str]) -> np.ndarray:
        """Embed each profile: expression (sample, gene) named by `genes` -> (sample, dim) float32."""
        own = expression[:, columns_of(self.genes, genes)]
        check_expression(own, self.genes, self.scale)
        linear = linear_expression(own, self.scale, floor=self.floor)
        bins = rank_bins(linear, n_bins=self.checkpoint.model.shape.n_bins)
        keys = [self._key(row) for row in bins]
        todo = [row for row, key in enumerate(keys) if key not in self.known]
        for start in range(0, len(todo), _PART):
            rows = todo[start : start + _PART]
            made = embed_profiles(
                self.checkpoint,
                linear[rows],
                self.gene_ids,
                orders=self.orders,
                most_tokens=self._most_tokens(),
                batch=self.settings.batch,
                device=self.device,
            )
            self.known.update({keys[row]: vector for row, vector in zip(rows, made, strict=True)})
        return np.stack([self.known[key] for key in keys]).astype(np.float32)

    def _most_tokens(self) -> int:
        return len(self.genes) + 1 if self.settings.tokens == "all" else self.settings.most_tokens

    def _key(self, bins: np.ndarray) -> str:
        """Name of an embedding: the checkpoint, the choice of genes, and the profile as the model sees it."""
        digest = hashlib.sha256(f"{self.checkpoint.digest} {self._most_tokens()}".encode())
        for part in (self.gene_ids, *self.orders, bins):
            digest.update(np.ascontiguousarray(part, dtype=np.int64).tobytes())
        return digest.hexdigest()

    def for_mixtures(self, mixtures: np.ndarray) -> "ScgptInput":  # noqa: ARG002 - as in ProfileInput
        """Return the input that mixtures of cells go through: ranks need nothing but the linear scale."""
        return replace(self, scale="tpm")

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays, and JSON-able rest, for `restored_scgpt`; the checkpoint itself stays with the user."""
        arrays = {f"scgpt.order{k}": order for k, order in enumerate(self.orders)} | {"scgpt.ids": self.gene_ids}
        meta = {"genes": list(self.genes), "scale": self.scale, "floor": self.floor}
        return arrays, meta | {"checkpoint_digest": self.checkpoint.digest}


def open_checkpoint(settings: ScgptSettings) -> Checkpoint:
    """Read the checkpoint that the settings name; raises InputError if none is named."""
    if settings.checkpoint is None:
        msg = (
            "the scgpt encoder needs a checkpoint folder (it is never shipped): name it in "
            "survival.path_gptomic.encoder.scgpt.checkpoint, or choose another encoder.kind."
        )
        raise InputError(msg)
    return read_checkpoint(Path(settings.checkpoint))


def read_aliases(path: str | None) -> dict[str, str]:
    """Read alias -> symbol from a TSV with these two columns; empty without a path."""
    if path is None:
        return {}
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}). Change survival.path_gptomic.encoder.scgpt.aliases."
        raise InputError(msg) from error
    if rows and not {"alias", "symbol"} <= set(rows[0]):
        msg = f"{path}: columns 'alias' and 'symbol' are needed, found {', '.join(map(str, rows[0]))}."
        raise InputError(msg)
    return {row["alias"]: row["symbol"] for row in rows}


def fit_scgpt(
    expression: np.ndarray,
    genes: Sequence[str],
    *,
    scale: str,
    usable: set[str] | None,
    settings: ScgptSettings,
    seed: int,
    device: torch.device,
    known: MutableMapping[str, np.ndarray] | None,
) -> ScgptInput:
    """Match the genes and fix the choice of tokens on the training part.

    expression : (sample, gene) of training patients; usable : genes that may be used, None = all
    """
    checkpoint = open_checkpoint(settings)
    match = match_genes(genes, checkpoint, aliases=read_aliases(settings.aliases), least=settings.least_match)
    kept = [place for place, column in enumerate(match.columns) if usable is None or genes[column] in usable]
    columns, gene_ids = match.columns[kept], match.gene_ids[kept]
    if not len(columns):
        msg = "no gene of the checkpoint's vocabulary is in both inputs.expression and the annotated cells."
        raise InputError(msg)
    names = tuple(genes[column] for column in columns)
    own = expression[:, columns]
    check_expression(own, names, scale)
    if settings.tokens == "draws":
        draws = range(settings.draws)
        orders = tuple(generator(seed, "scgpt draw", k).permutation(len(names)) for k in draws)
    else:
        order = np.argsort(-log_expression(own, scale).std(axis=0), kind="stable")
        orders = (order if settings.tokens == "all" else order[: settings.most_tokens - 1],)
    return ScgptInput(
        checkpoint=checkpoint,
        settings=settings,
        genes=names,
        gene_ids=gene_ids,
        orders=orders,
        scale=scale,
        floor=unexpressed(own),
        device=device,
        known={} if known is None else known,
    )


def restored_scgpt(tensors: Mapping[str, np.ndarray], meta: Mapping, settings: ScgptSettings) -> ScgptInput:
    """Inverse of `ScgptInput.state`; raises InputError if the checkpoint is not the one that was used."""
    checkpoint = open_checkpoint(settings)
    if checkpoint.digest != meta["checkpoint_digest"]:
        msg = (
            f"the checkpoint in {settings.checkpoint} is not the one that the model was trained with (hash "
            f"{checkpoint.digest}, expected {meta['checkpoint_digest']}). Give that one."
        )
        raise InputError(msg)
    names = sorted((name for name in tensors if name.startswith("scgpt.order")), key=lambda name: int(name[11:]))
    return ScgptInput(
        checkpoint=checkpoint,
        settings=settings,
        genes=tuple(meta["genes"]),
        gene_ids=tensors["scgpt.ids"],
        orders=tuple(tensors[name] for name in names),
        scale=meta["scale"],
        floor=meta["floor"],
        device=torch.device("cpu"),
    )
