"""MuSe-GNN with the published settings, as a method that stands beside ours (arXiv:2310.02275).

What the published code does and ours does not: the MLP decoder, no tie between datasets, slow learning rates, a fixed
number of epochs of which the last one is kept, whatever it is worth. What is ours even here: contrastive genes drawn
afresh and without repeats (see `musegnn`), seeds, graphs that may differ in their number of genes.
"""

from collections.abc import Sequence

import numpy as np
import torch

from histoweave.genegraph.graph import GeneGraph
from histoweave.genegraph.heldout import Split
from histoweave.genegraph.step import MuseGnnSettings
from histoweave.genegraph.train import TrainSettings, train


def published_model(dim: int) -> MuseGnnSettings:
    """Return the model's settings as published (`dim` 32); attention is computed our way, with the same numbers."""
    return MuseGnnSettings(
        dim=dim,
        tie=0.0,
        length=0.0,
        decoder="mlp",
        share="modality_tissue",
        attention="auto",
        dense_above=0.14,
        signed=False,
        edge_weight=1.0,
        similarity=1.0,
        contrastive=0.01,
        temperature=0.07,
        contrastive_genes=100,
    )


def published_training(epochs: int) -> TrainSettings:
    """Return the learning rates as published, for `epochs` (2,000); one look at the end keeps the last epoch."""
    return TrainSettings(
        epochs=epochs,
        check_every=epochs,
        patience=0,
        lr_dataset=1e-4,
        lr_shared=1e-4,
        lr_decoder=1e-3,
        checkpoint_every=0,
        precision="float32",
        device="cpu",
    )


def train_published(graphs: Sequence[GeneGraph], *, dim: int, epochs: int, seed: int) -> list[np.ndarray]:
    """Train as published: embedding (gene, dim) of each graph at the last epoch."""
    trained = train(
        Split(list(graphs), {}, {}),
        model_settings=published_model(dim),
        settings=published_training(epochs),
        seed=seed,
        device=torch.device("cpu"),
    )
    return [trained.embeddings[graph.name] for graph in graphs]
