"""Training MuSe-GNN: one visible loop over the graphs, stopped by edges that were left out."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from histoweave.device import torch_generator
from histoweave.errors import InputError
from histoweave.genegraph.checkpoint import Progress
from histoweave.genegraph.graph import check_graphs
from histoweave.genegraph.heldout import Split, held_out_scores
from histoweave.genegraph.musegnn import MuseGnn
from histoweave.genegraph.step import MuseGnnSettings, Step, build_model, check_settings, embed


@dataclass(frozen=True)
class TrainSettings:
    """How long and how fast to train.

    epochs : at most; each has one step per dataset; check_every : epochs between two looks at the validation edges
    patience : looks without a better one before training ends; 0 = never
    lr_dataset, lr_shared, lr_decoder : learning rates of Adam; checkpoint_every : epochs; 0 = none
    precision : ``float32`` or ``bfloat16`` (mixed); device : ``auto``, ``cpu`` or ``cuda``
    """

    section: ClassVar[str] = "genegraph.train"
    epochs: int
    check_every: int
    patience: int
    lr_dataset: float
    lr_shared: float
    lr_decoder: float
    checkpoint_every: int
    precision: str
    device: str


@dataclass(frozen=True)
class Trained:
    """A trained model at its best epoch.

    embeddings : dataset -> (gene, dim) float32
    state : the weights; curve : (epoch, part, value) rows
    """

    model: MuseGnn
    embeddings: dict[str, np.ndarray]
    best_epoch: int
    curve: list[tuple[int, str, float]]


def optimiser_of(model: MuseGnn, *, settings: TrainSettings) -> torch.optim.Adam:
    """Adam with a learning rate for each of the three kinds of parts (equal to the paper's three optimisers)."""
    parts = (
        (model.dataset_layers, settings.lr_dataset),
        (model.shared_layers, settings.lr_shared),
        (model.decoders, settings.lr_decoder),
    )
    return torch.optim.Adam([{"params": list(part.parameters()), "lr": rate} for part, rate in parts])


def train(
    split: Split,
    *,
    model_settings: MuseGnnSettings,
    settings: TrainSettings,
    seed: int,
    device: torch.device,
    resume: Callable[[MuseGnn, torch.optim.Adam], Progress | None] = lambda model, optimiser: None,
    save: Callable[[MuseGnn, torch.optim.Adam, Progress], None] = lambda model, optimiser, progress: None,
    watch: Callable[[int, dict[str, float]], None] = lambda epoch, parts: None,
) -> Trained:
    """Train on the graphs of `split` and keep the epoch with the best AUC on its validation edges.

    Without validation edges the epoch with the lowest reconstruction loss is kept. `resume` may fill the model and the
    optimiser from a checkpoint, `save` writes one, `watch` is told the mean losses of each epoch.
    Draws depend on seed and epoch alone, so a resumed run equals one that was never stopped.
    """
    graphs = split.graphs
    check_graphs(graphs)
    check_settings(graphs, model_settings)
    model = build_model(graphs, settings=model_settings, seed=seed).to(device)
    optimiser = optimiser_of(model, settings=settings)
    step = Step(graphs, settings=model_settings, precision=settings.precision, device=device)
    progress = resume(model, optimiser) or Progress(0, -1, -np.inf, 0, {}, [])
    while progress.epoch < settings.epochs and not (settings.patience and progress.since_best >= settings.patience):
        rng = torch_generator(seed, "genegraph/epoch", progress.epoch)
        means: dict[str, float] = {}
        for i in range(len(graphs)):
            j = partner_of(i, len(graphs), rng)
            parts = step.losses(model, i, j, rng)
            optimiser.zero_grad(set_to_none=True)
            sum(parts.values()).backward()
            optimiser.step()
            for part, value in parts.items():
                means[part] = means.get(part, 0.0) + float(value.detach()) / len(graphs)
        progress.epoch += 1
        if progress.epoch % settings.check_every == 0 or progress.epoch == settings.epochs:
            look(model, step, split, progress, means)
        progress.curve += [(progress.epoch, part, value) for part, value in means.items()]
        watch(progress.epoch, means)
        if settings.checkpoint_every and progress.epoch % settings.checkpoint_every == 0:
            save(model, optimiser, progress)
    model.load_state_dict(progress.best)
    return Trained(model, embed(model, step), progress.best_epoch, progress.curve)


def partner_of(i: int, n: int, rng: torch.Generator) -> int:
    """Any other graph, drawn uniformly; the graph itself if it is alone."""
    return int((i + 1 + torch.randint(n - 1, (), generator=rng)) % n) if n > 1 else i


def look(model: MuseGnn, step: Step, split: Split, progress: Progress, means: dict[str, float]) -> None:
    """Score the validation edges into `means` and keep the weights if they are the best so far."""
    score = -means["reconstruction"]
    if not np.isfinite(score):
        msg = f"training broke down at epoch {progress.epoch} (loss not finite). Lower the learning rates."
        raise InputError(msg)
    auc, _ = held_out_scores(embed(model, step), split.validation)
    if auc:
        score = means["validation_auc"] = float(np.mean(list(auc.values())))
    progress.since_best += 1
    if score > progress.best_score:
        progress.best_epoch, progress.best_score, progress.since_best = progress.epoch, score, 0
        progress.best = copy.deepcopy(model.state_dict())
