"""A training run as plain arrays and JSON, to go on after a kill as if nothing had happened."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from histoweave.errors import InputError


@dataclass
class Progress:
    """Where training stands; with the model's and the optimiser's state all that a resumed run needs."""

    epoch: int
    best_epoch: int
    best_score: float
    since_best: int
    best: dict[str, Tensor]
    curve: list[tuple[int, str, float]]


def pack(model: torch.nn.Module, optimiser: torch.optim.Adam, progress: Progress) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays (weights now and at the best epoch, moments of Adam) and JSON values (where training stands)."""
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in progress.best.items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"adam/{number}/{name}": value for name, value in state.items()}
    meta = {
        "epoch": progress.epoch,
        "best_epoch": progress.best_epoch,
        "best_score": None if progress.best_epoch < 0 else progress.best_score,
        "since_best": progress.since_best,
        "curve": progress.curve,
    }
    return {name: value.detach().cpu().numpy() for name, value in tensors.items()}, meta


def unpack(
    tensors: Mapping[str, np.ndarray], meta: Mapping, model: torch.nn.Module, optimiser: torch.optim.Adam
) -> Progress:
    """Fill `model` and `optimiser` from what `pack` made, and return where training stood.

    Raises InputError if the checkpoint is of another model.
    """
    parts: dict[str, dict] = {"model": {}, "best": {}, "adam": {}}
    device = next(model.parameters()).device
    for name, value in tensors.items():
        part, rest = name.split("/", 1)
        parts[part][rest] = torch.from_numpy(np.array(value)).to(device)
    try:
        model.load_state_dict(parts["model"])
    except RuntimeError as error:
        msg = "the checkpoint is of another model. Remove the checkpoint and run again."
        raise InputError(msg) from error
    moments: dict[int, dict] = {}
    for name, value in parts["adam"].items():
        number, key = name.split("/")
        # Adam keeps its step count on the CPU whatever the device
        moments.setdefault(int(number), {})[key] = value.cpu() if key == "step" else value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    best_score = -np.inf if meta["best_score"] is None else meta["best_score"]
    curve = [(int(epoch), str(part), float(value)) for epoch, part, value in meta["curve"]]
    return Progress(meta["epoch"], meta["best_epoch"], best_score, meta["since_best"], parts["best"], curve)
