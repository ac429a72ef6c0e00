"""MuSe-GNN as published: its settings, and that the last epoch is what comes out."""

import numpy as np
import torch

from genegraph.planted import planted_graphs
from histoweave.genegraph.heldout import Split
from histoweave.genegraph.musegnn import MlpDecoder
from histoweave.genegraph.published import published_model, published_training, train_published
from histoweave.genegraph.step import Step, build_model
from histoweave.genegraph.train import optimiser_of, partner_of, train


def test_settings_are_the_published_ones():
    model, training = published_model(32), published_training(2000)
    assert (model.decoder, model.tie, model.length, model.signed, model.edge_weight) == ("mlp", 0, 0, False, 1)
    assert (model.similarity, model.contrastive, model.temperature, model.contrastive_genes) == (1, 0.01, 0.07, 100)
    assert (training.lr_dataset, training.lr_shared, training.lr_decoder) == (1e-4, 1e-4, 1e-3)


def test_the_last_epoch_is_kept_without_any_choice():
    """The same steps by hand, without a look at any edge, end at the same embedding."""
    from histoweave.device import torch_generator

    graphs = planted_graphs(datasets=2)
    found = train_published(graphs, dim=8, epochs=3, seed=5)
    model = build_model(graphs, settings=published_model(8), seed=5)
    assert all(isinstance(part, MlpDecoder) for part in model.decoders)
    optimiser = optimiser_of(model, settings=published_training(3))
    step = Step(graphs, settings=published_model(8), precision="float32", device=torch.device("cpu"))
    for epoch in range(3):
        rng = torch_generator(5, "genegraph/epoch", epoch)
        for i in range(2):
            parts = step.losses(model, i, partner_of(i, 2, rng), rng)
            optimiser.zero_grad(set_to_none=True)
            sum(parts.values()).backward()
            optimiser.step()
    with torch.no_grad():
        for i, z in enumerate(found):
            np.testing.assert_array_equal(z, step.encode(model, i).numpy())


def test_one_look_at_the_end_only():
    graphs = planted_graphs(datasets=2)
    trained = train(
        Split(graphs, {}, {}), model_settings=published_model(8), settings=published_training(4), seed=1,
        device=torch.device("cpu"),
    )  # fmt: skip
    assert trained.best_epoch == 4
