"""MuSe-GNN: one embedding of the genes of many datasets (Liu et al., NeurIPS 2023; arXiv:2310.02275).

| symbol | name here | axes | meaning |
|---|---|---|---|
| X_t | features | (gene, feature) | residual expression of dataset t |
| A_t | neighbours, target | (gene, gene) | co-expression edges, with self-loops |
| TC, GN | TransformerConv, GraphNorm | | attention along edges; normalisation over the genes of a graph |
| Z_t | z | (gene, dim) | embedding of the genes of dataset t |
| J_g | overlap | (shared gene,) | Jaccard index of a gene's neighbourhoods in two datasets |
| lambda_c, tau | contrastive, temperature | | weight and temperature of the contrastive loss |

Equations in our numbering: (1) dataset-specific layer, (2) shared layers with attention residual, (3) decoder,
(4) reconstruction, (5) weighted similarity, (6) contrastive loss, (7) total. Deviations, each by a setting or exact:
- `decoder: bilinear` reads an edge from the cosine of two genes. The paper's, `mlp` here (of Z Z^T, 3 n^2 weights per
  dataset), stores the graph in its weights while the embedding itself does not hold it: over five seeds the cosine
  tells held-out edges with an AUC of .891 (bilinear) and .629 (mlp) on public blood cells, .900 and .805 on breast
  tissue. The mlp itself, which no user of the vectors has, reaches .894 and .919, at twice the time.
- `tie` (in `step.embed`) lets the datasets of one group share most of a gene's vector.
- `signed`: edges of negative correlation are read from the negated cosine instead of counting as positive ones.
- contrastive genes and their positives are drawn afresh each step and without repeats (the original repeats genes, so
  that they repel themselves, and keeps one positive for the whole run); the loss is one dense log-softmax.
- graphs may differ in their number of genes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity, cross_entropy, mish, normalize

from histoweave.genegraph.attention import Neighbours, TransformerConv

HEADS = (4, 2)  # of the dataset-specific and of the first shared layer
WIDTH = 32  # of each of their heads


class GraphNorm(nn.Module):
    """Normalisation over the genes of one graph with a learnt share of the mean (arXiv:2009.03294)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma, self.alpha = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(gene, width) -> (gene, width)."""
        centred = x - self.alpha * x.mean(dim=0)
        return self.gamma * centred / (centred.square().mean(dim=0) + 1e-5).sqrt() + self.beta


class DatasetLayer(nn.Module):
    """Layer with weights of its own for each dataset: H = Mish(GN(TC(X)))."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.conv = TransformerConv(n_features, WIDTH, heads=HEADS[0])
        self.norm = GraphNorm(WIDTH * HEADS[0])

    def forward(self, features: Tensor, neighbours: Neighbours) -> Tensor:
        """(gene, feature) -> (gene, 128)."""
        return mish(self.norm(self.conv(features, neighbours)))  # (1)


class SharedLayers(nn.Module):
    """Layers shared by several datasets: Z = TC(Mish(GN(TC(H)))) + TC(H)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        n_in, middle = WIDTH * HEADS[0], WIDTH * HEADS[1]
        self.first = TransformerConv(n_in, WIDTH, heads=HEADS[1])
        self.norm = GraphNorm(middle)
        self.last = TransformerConv(middle, dim, heads=1)
        self.residual = TransformerConv(n_in, dim, heads=1)

    def forward(self, h: Tensor, neighbours: Neighbours) -> Tensor:
        """(gene, 128) -> (gene, dim)."""
        u = mish(self.norm(self.first(h, neighbours)))  # (gene, 64)
        return self.last(u, neighbours) + self.residual(h, neighbours)  # (2)


class MlpDecoder(nn.Module):
    """The paper's decoder: an MLP over the rows of Z Z^T, tied to the order and number of a dataset's genes."""

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(n_genes, n_genes) for _ in range(3))

    def forward(self, z: Tensor) -> Tensor:
        """(gene, dim) -> logits (gene, gene)."""
        first, second, third = self.layers
        # first(Z Z^T), without the product of two (gene, gene) matrices: Z Z^T has the rank of Z
        hidden = z @ (first.weight @ z).T + first.bias
        return third(mish(second(mish(hidden))))  # (3)


class BilinearDecoder(nn.Module):
    """Ours: logit = scale x cosine + offset, two numbers per dataset, so that the embedding must hold the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale, self.offset = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.tensor(-3.0))

    def forward(self, z: Tensor) -> Tensor:
        """(gene, dim) -> logits (gene, gene); of an edge of negative correlation: the logits of (-z, z)."""
        return self.logits(self.cosines(z))

    def cosines(self, z: Tensor) -> Tensor:
        """(gene, dim) -> (gene, gene)."""
        unit = normalize(z)
        return unit @ unit.T

    def logits(self, cosines: Tensor) -> Tensor:
        """(gene, gene) -> (gene, gene)."""
        return self.log_scale.exp() * cosines + self.offset


class MuseGnn(nn.Module):
    """Encoders and decoders of several datasets.

    shapes : dataset -> (genes, features); groups : dataset -> name of the shared layers that it uses
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, int]], groups: Mapping[str, str], *, dim: int, decoder: str
    ) -> None:
        super().__init__()
        # Names may hold dots, which module names may not: parts are kept by position.
        self.position = {name: i for i, name in enumerate(shapes)}
        shared = sorted(set(groups.values()))
        self.group = [shared.index(groups[name]) for name in shapes]
        self.dataset_layers = nn.ModuleList(DatasetLayer(n_features) for _, n_features in shapes.values())
        self.shared_layers = nn.ModuleList(SharedLayers(dim) for _ in shared)
        self.decoders = nn.ModuleList(
            MlpDecoder(n_genes) if decoder == "mlp" else BilinearDecoder() for n_genes, _ in shapes.values()
        )

    def encode(self, name: str, features: Tensor, neighbours: Neighbours) -> Tensor:
        """Embedding (gene, dim) of the genes of dataset `name`."""
        i = self.position[name]
        return self.shared_layers[self.group[i]](self.dataset_layers[i](features, neighbours), neighbours)

    def decoder(self, name: str) -> nn.Module:
        """Decoder of dataset `name`."""
        return self.decoders[self.position[name]]


def reconstruction_loss(logits: Tensor, target: Tensor, *, edge_weight: float) -> Tensor:
    """Mean binary cross-entropy over all ordered pairs, the diagonal included.

    logits, target : (gene, gene), target 1 where there is an edge; edge_weight : of an edge against a pair without one
    """
    weight = None if edge_weight == 1 else logits.new_tensor(edge_weight)
    return binary_cross_entropy_with_logits(logits, target, pos_weight=weight)  # (4)


def similarity_loss(first: Tensor, second: Tensor, overlap: Tensor) -> Tensor:
    """Minus the mean of overlap x cosine over the shared genes.

    first, second : (shared gene, dim) in two datasets; overlap : (shared gene,) Jaccard index of their neighbours
    """
    return -(overlap * cosine_similarity(first, second)).mean()  # (5)


def contrastive_loss(anchors: Tensor, positives: Tensor, *, temperature: float) -> Tensor:
    """NT-Xent: each gene against its neighbour, all other genes drawn being negatives; both (gene, dim)."""
    unit = normalize(torch.cat([anchors, positives]))  # (2m, dim)
    score = unit @ unit.T / temperature
    score = score.masked_fill(torch.eye(len(unit), dtype=torch.bool, device=unit.device), float("-inf"))
    partner = torch.arange(len(unit), device=unit.device).roll(len(anchors))
    return cross_entropy(score, partner)  # (6)
