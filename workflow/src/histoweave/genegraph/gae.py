"""Graph autoencoders, plain and variational, one per dataset (Kipf and Welling 2016, arXiv:1611.07308).

Encoder: three graph convolutions, 128, 64 and dim wide. Decoder: inner product, trained on logits (the code that
MuSe-GNN was compared with took a sigmoid twice, which confines every probability to 0.50 to 0.73).
The Kullback-Leibler term is weighted with 1 / genes, as in the paper's code.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from histoweave.device import torch_generator
from histoweave.genegraph.graph import GeneGraph
from histoweave.genegraph.pairs import with_self
from histoweave.genegraph.spectral import normalised

WIDTHS = (128, 64)


class Autoencoder(nn.Module):
    """Graph convolutions; with `variational` the last one gives mean and log standard deviation."""

    def __init__(self, n_features: int, dim: int, *, variational: bool) -> None:
        super().__init__()
        self.dim, self.variational = dim, variational
        widths = [n_features, *WIDTHS, 2 * dim if variational else dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, features: Tensor, adjacency: Tensor) -> Tensor:
        """(gene, feature), normalised adjacency (gene, gene) -> (gene, dim) or (gene, 2 dim)."""
        x = features
        for layer in self.layers[:-1]:
            x = relu(adjacency @ layer(x))
        return adjacency @ self.layers[-1](x)


def autoencode(
    graph: GeneGraph, *, dim: int, variational: bool, epochs: int, learning_rate: float, seed: int
) -> np.ndarray:
    """Embedding (gene, dim) of one dataset."""
    rng = torch_generator(seed, "genegraph/gae", graph.name, variational)
    features = torch.from_numpy(graph.features / max(float(np.sqrt(np.square(graph.features).mean())), 1e-12))
    adjacency = torch.from_numpy(normalised(graph.adjacency).toarray().astype(np.float32))
    target = torch.from_numpy(with_self(graph.adjacency).toarray().astype(np.float32))
    weight = (target.numel() - target.sum()) / target.sum()
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(rng.get_state())
        model = Autoencoder(features.shape[1], dim, variational=variational)
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(epochs):
        out = model(features, adjacency)
        mean, log_sd = out[:, :dim], out[:, dim:]
        z = mean + torch.randn(mean.shape, generator=rng) * log_sd.exp() if variational else mean
        loss = binary_cross_entropy_with_logits(z @ z.T, target, pos_weight=weight)
        if variational:
            divergence = -0.5 * (1 + 2 * log_sd - mean.square() - (2 * log_sd).exp()).sum(dim=1).mean()
            loss = loss + divergence / len(mean)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return model(features, adjacency)[:, :dim].numpy()
