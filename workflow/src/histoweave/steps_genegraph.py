"""What training the gene embedding leaves behind: vectors, training curve, and weights."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from histoweave.formats.genegraph import TRAINING, write_embedding, write_weights
from histoweave.genegraph.graph import GeneGraph
from histoweave.genegraph.modules import stacked
from histoweave.genegraph.step import MuseGnnSettings
from histoweave.genegraph.train import Trained


def write_trained(
    args: argparse.Namespace, trained: Trained, graphs: Sequence[GeneGraph], *, model: MuseGnnSettings, record: dict
) -> None:
    """Write embedding, curve and weights of the best epoch to the paths in `args`."""
    vectors, rows = stacked(trained.embeddings, {graph.name: graph for graph in graphs})
    write_embedding(args.out, vectors, rows, provenance=record)
    curve = pd.DataFrame(trained.curve, columns=["epoch", "part", "value"])
    TRAINING.write(curve, args.curve, provenance=record, best_epoch=trained.best_epoch)
    weights = {name: tensor.cpu().numpy() for name, tensor in trained.model.state_dict().items()}
    genes = {graph.name: graph.genes.tolist() for graph in graphs}
    meta = {"genes": genes, "best_epoch": trained.best_epoch, "curve": trained.curve, "model": asdict(model)}
    write_weights(args.weights, weights, {**meta, "provenance": record})
