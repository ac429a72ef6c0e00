"""Training MuSe-GNN: one visible loop over the graphs, stopped by edges that were left out."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from histoweave.device import torch_generator
from histoweave.errors import InputError
from histoweave.genegraph.attention import Neighbours, neighbours_of
from histoweave.genegraph.graph import GeneGraph, check_graphs
from histoweave.genegraph.heldout import Split, held_out_scores, unit_rows
from histoweave.genegraph.musegnn import (
    MuseGnn,
    contrastive_loss,
    reconstruction_loss,
    similarity_loss,
)
from histoweave.genegraph.pairs import SharedGenes, draw_positives, shared_genes


@dataclass(frozen=True)
class MuseGnnSettings:
    """The model and the weights of its losses.

    dim : length of a gene's vector; decoder : ``bilinear`` (ours) or ``mlp`` (the paper's)
    share : which datasets share layers: ``modality_tissue`` (the paper's code), ``modality``, ``tissue`` or ``all``
    attention : ``auto``, ``dense`` or ``sparse``; dense_above : density above which ``auto`` is dense
    signed : read edges of negative correlation from the negated cosine; edge_weight : of an edge against a gap
    similarity, contrastive : weights of the losses; temperature, contrastive_genes : of the latter
    """

    section: ClassVar[str] = "genegraph.musegnn"
    dim: int
    decoder: str
    share: str
    attention: str
    dense_above: float
    signed: bool
    edge_weight: float
    similarity: float
    contrastive: float
    temperature: float
    contrastive_genes: int


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


@dataclass
class Progress:
    """Where training stands; with the model's and the optimiser's state all that a resumed run needs."""

    epoch: int
    best_epoch: int
    best_score: float
    since_best: int
    best: dict[str, Tensor]
    curve: list[tuple[int, str, float]]


@dataclass(frozen=True)
class Trained:
    """A trained model at its best epoch.

    embeddings : dataset -> (gene, dim) float32; with the bilinear decoder rows have length 1
    state : the weights; curve : (epoch, part, value) rows
    """

    model: MuseGnn
    embeddings: dict[str, np.ndarray]
    best_epoch: int
    curve: list[tuple[int, str, float]]


def group_of(graph: GeneGraph, share: str) -> str:
    """Name of the shared layers that `graph` uses."""
    parts = {"modality": graph.modality, "tissue": graph.tissue, "all": "all"}
    return parts.get(share, f"{graph.modality}/{graph.tissue}")


def build_model(graphs: list[GeneGraph], *, settings: MuseGnnSettings, seed: int) -> MuseGnn:
    """Model with weights drawn under `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch_generator(seed, "genegraph/weights").get_state())
        return MuseGnn(
            {graph.name: graph.features.shape for graph in graphs},
            {graph.name: group_of(graph, settings.share) for graph in graphs},
            dim=settings.dim,
            decoder=settings.decoder,
        )


def optimiser_of(model: MuseGnn, *, settings: TrainSettings) -> torch.optim.Adam:
    """Adam with a learning rate for each of the three kinds of parts (equal to the paper's three optimisers)."""
    parts = (
        (model.dataset_layers, settings.lr_dataset),
        (model.shared_layers, settings.lr_shared),
        (model.decoders, settings.lr_decoder),
    )
    return torch.optim.Adam([{"params": list(part.parameters()), "lr": rate} for part, rate in parts])


class Step:
    """One step's loss: graph i is reconstructed, and compared with a partner j.

    Dense masks are made for the two graphs of a step only, so that many graphs fit.
    """

    def __init__(
        self, graphs: list[GeneGraph], *, settings: MuseGnnSettings, precision: str, device: torch.device
    ) -> None:
        self.graphs, self.settings, self.device, self.precision = graphs, settings, device, precision
        self.features = [torch.from_numpy(graph.features) for graph in graphs]
        self.pairs: dict[tuple[int, int], SharedGenes] = {}

    def neighbours(self, i: int) -> Neighbours:
        """Neighbours in graph i, on the device."""
        how = {"attention": self.settings.attention, "dense_above": self.settings.dense_above}
        return neighbours_of(self.graphs[i].adjacency, **how).to(self.device)

    def encode(self, model: MuseGnn, i: int) -> Tensor:
        """Embedding (gene, dim) of graph i."""
        return model.encode(self.graphs[i].name, self.features[i].to(self.device), self.neighbours(i))

    def losses(self, model: MuseGnn, i: int, j: int, rng: torch.Generator) -> dict[str, Tensor]:
        """Parts of the loss, each with its weight: reconstruction of i; similarity of i and j; contrastive."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            first = self.encode(model, i)
            second = self.encode(model, j) if j != i else first
        first, second = first.float(), second.float()
        parts = {"reconstruction": self._reconstruction(model, i, first)}
        if j != i:
            shared = self._shared(i, j)
            if len(shared.first):
                near = similarity_loss(first[shared.first], second[shared.second], shared.overlap.to(self.device))
                parts["similarity"] = self.settings.similarity * near
            number = min(self.settings.contrastive_genes, len(shared.only_first), len(shared.only_second))
            if number and len(shared.first):
                parts["contrastive"] = self.settings.contrastive * self._contrast(first, second, i, j, number, rng)
        return parts  # their sum is (7)

    def _reconstruction(self, model: MuseGnn, i: int, z: Tensor) -> Tensor:
        decoder, weight = model.decoder(self.graphs[i].name), self.settings.edge_weight
        adjacency = self.graphs[i].adjacency
        if not self.settings.signed:
            return reconstruction_loss(decoder(z), self._target(adjacency != 0, diagonal=1.0), edge_weight=weight)
        cosines = decoder.cosines(z)
        positive = self._target(adjacency > 0, diagonal=1.0)
        negative = self._target(adjacency < 0, diagonal=0.0)
        loss = reconstruction_loss(decoder.logits(cosines), positive, edge_weight=weight)
        return loss + reconstruction_loss(decoder.logits(-cosines), negative, edge_weight=weight)

    def _target(self, edges: object, *, diagonal: float) -> Tensor:
        dense = np.zeros(edges.shape, dtype=np.float32)
        dense[edges.nonzero()] = 1
        np.fill_diagonal(dense, diagonal)
        return torch.from_numpy(dense).to(self.device)

    def _shared(self, i: int, j: int) -> SharedGenes:
        if (i, j) not in self.pairs:
            self.pairs[i, j] = shared_genes(self.graphs[i], self.graphs[j])
        return self.pairs[i, j]

    def _contrast(self, first: Tensor, second: Tensor, i: int, j: int, number: int, rng: torch.Generator) -> Tensor:
        shared = self._shared(i, j)
        genes_i, near_i = draw_positives(self.graphs[i].adjacency, shared.only_first, number, rng)
        genes_j, near_j = draw_positives(self.graphs[j].adjacency, shared.only_second, number, rng)
        anchors = torch.cat([first[genes_i], second[genes_j]])  # (2 x number, dim)
        positives = torch.cat([first[near_i], second[near_j]])
        return contrastive_loss(anchors, positives, temperature=self.settings.temperature)


def embed(model: MuseGnn, step: Step) -> dict[str, np.ndarray]:
    """Embedding (gene, dim) of every graph; of length 1 where the decoder reads nothing but the direction."""
    with torch.no_grad():
        found = {graph.name: step.encode(model, i).float().cpu().numpy() for i, graph in enumerate(step.graphs)}
    return found if step.settings.decoder == "mlp" else {name: unit_rows(z) for name, z in found.items()}


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


def check_settings(graphs: list[GeneGraph], settings: MuseGnnSettings) -> None:
    """Raise InputError for settings that do not go together."""
    if settings.signed and settings.decoder == "mlp":
        msg = "genegraph.musegnn.signed needs decoder 'bilinear': the MLP decoder knows no sign. Change one of the two."
        raise InputError(msg)
    if settings.dim < 2:
        msg = f"genegraph.musegnn.dim is {settings.dim} for {len(graphs)} graphs; at least 2 are needed."
        raise InputError(msg)
