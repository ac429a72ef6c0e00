"""One training step of MuSe-GNN: the losses of a graph and a partner, as settings say."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from histoweave.device import torch_generator
from histoweave.errors import InputError
from histoweave.genegraph.attention import Neighbours, neighbours_of
from histoweave.genegraph.graph import GeneGraph, union_genes
from histoweave.genegraph.heldout import unit_rows
from histoweave.genegraph.musegnn import MuseGnn, contrastive_loss, reconstruction_loss, similarity_loss
from histoweave.genegraph.pairs import SharedGenes, draw_positives, shared_genes


@dataclass(frozen=True)
class MuseGnnSettings:
    """The model and the weights of its losses.

    dim : numbers per gene; tie : share of its direction that is common to the datasets of one group
    length : a vector's length is the gene's mean number of partners to this power
    decoder : ``bilinear`` (ours) or ``mlp`` (the paper's)
    share : which datasets share layers: ``modality_tissue`` (the paper's code), ``modality``, ``tissue`` or ``all``
    attention : ``auto``, ``dense`` or ``sparse``; dense_above : density above which ``auto`` is dense
    signed : read edges of negative correlation from the negated cosine; edge_weight : of an edge against a gap
    similarity, contrastive : weights of the losses; temperature, contrastive_genes : of the latter
    """

    section: ClassVar[str] = "genegraph.musegnn"
    dim: int
    tie: float
    length: float
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


def check_settings(graphs: list[GeneGraph], settings: MuseGnnSettings) -> None:
    """Raise InputError for settings that do not go together."""
    if settings.signed and settings.decoder == "mlp":
        msg = "genegraph.musegnn.signed needs decoder 'bilinear': the MLP decoder knows no sign. Change one of the two."
        raise InputError(msg)
    if settings.dim < 2:
        msg = f"genegraph.musegnn.dim is {settings.dim} for {len(graphs)} graphs; at least 2 are needed."
        raise InputError(msg)


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
    """Embedding (gene, dim) of every graph.

    The bilinear decoder reads directions only. With it, `tie` of a gene's direction is the mean over the datasets that
    share layers, and its length is its mean number of partners there (as in a spectral embedding), to the power
    `length` and relative to the mean.
    """
    with torch.no_grad():
        found = {graph.name: step.encode(model, i).float().cpu().numpy() for i, graph in enumerate(step.graphs)}
    if step.settings.decoder == "mlp":
        return found
    groups: dict[str, list[GeneGraph]] = {}
    for graph in step.graphs:
        groups.setdefault(group_of(graph, step.settings.share), []).append(graph)
    for graphs in groups.values():
        found |= tied(graphs, found, share=step.settings.tie, length=step.settings.length)
    return found


def tied(
    graphs: list[GeneGraph], embeddings: dict[str, np.ndarray], *, share: float, length: float
) -> dict[str, np.ndarray]:
    """(1 - share) x own + share x mean direction of each gene over `graphs`, of a length by its partners there."""
    names, positions = union_genes(graphs)
    total = np.zeros((len(names), embeddings[graphs[0].name].shape[1]), dtype=np.float32)
    partners, times = np.zeros(len(names)), np.zeros(len(names))
    for graph, place in zip(graphs, positions, strict=True):
        total[place] += unit_rows(embeddings[graph.name])
        partners[place] += 1 + np.diff(graph.adjacency.indptr)
        times[place] += 1
    mean = unit_rows(total)
    size = (partners / times) ** length
    size = (size / size.mean()).astype(np.float32)[:, None]
    own = {graph.name: unit_rows(embeddings[graph.name]) for graph in graphs}
    return {
        graph.name: size[place] * unit_rows((1 - share) * own[graph.name] + share * mean[place])
        for graph, place in zip(graphs, positions, strict=True)
    }
