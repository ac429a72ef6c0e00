"""Stage 1 of Path-GPTOmic: an embedding in which distances follow mixing weights.

Source: Wang et al., ISBI 2024, doi:10.1109/ISBI56570.2024.10635171, section 2.1.

| symbol      | name here     | axes             | meaning                                               |
|-------------|---------------|------------------|-------------------------------------------------------|
| x~          | `mixtures`    | (mixture, gene)  | weighted sum of single cells, a pseudo-bulk           |
| lambda      | `weights`     | (mixture, cell)  | mixing weights                                        |
| sum l_i t_i | `proportions` | (mixture, type)  | mixed one-hot cell types, the target                  |
| z           | `Genomic`     | (sample, hidden) | MLP_A(encoder(x~)), what stage 2 takes                |
| yhat        | `head`        | (sample, type)   | linear regression of the proportions                  |

Deviations: cells are scaled to one depth before mixing, or lambda would mean library size; cell types are drawn evenly,
so that rare types are learned; besides pairs with uniform lambda, as published, mixtures of 2..M cells with Dirichlet
weights, which come closer to bulk tissue; the loss, not stated there, is the mean squared error. The genegraph encoder
learns together with MLP_A, since unlike scGPT it has not seen cells before; then both are frozen (or not, by setting).
Its heads start at the genes that mark cell types and its value units are spread over the values: from a random start
the outputs of a head nearly share one direction, and learning does not get past a linear read-out. MLP_A starts as the
ridge regression on the encoder's output, so that learning goes on where a linear read-out ends.
Where profiles come standardised (z-scored cohorts), mixtures are standardised by their own moments.
"""

import copy
import logging
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from histoweave.errors import InputError, shorten
from histoweave.survival.fusion import mlp
from histoweave.survival.gene_encoders import ProfileInput, columns_of
from histoweave.survival.interface import Cells
from histoweave.survival.proportions import fit_ridge, least_squares, proportion_error, ridge_error, simplex

log = logging.getLogger("histoweave")

MIXES = ("pairs", "dirichlet")
_FEWEST_CELLS = 4
_PSEUDO = 1e-2  # of a gene's even share, so that unseen genes have a logarithm


@dataclass(frozen=True)
class RegulationSettings:
    """Stage 1.

    use : ``auto`` (where the run has annotated cells), ``always`` or ``never``
    mix : ``pairs`` or ``dirichlet``; most_cells : M of the latter; concentration : of its Dirichlet weights
    mixtures : drawn from training cells; as many quarters from held-out ones; held_out : share of cells held out
    hidden, layers, dropout : of MLP_A; fresh_layers : its layers where stage 1 does not run
    epochs, learning_rate, batch : of its training (Adam, one cycle)
    freeze : whether stage 2 leaves encoder and MLP_A as they are, as published
    """

    use: str
    mix: str
    most_cells: int
    concentration: float
    mixtures: int
    held_out: float
    hidden: int
    layers: int
    fresh_layers: int
    dropout: float
    epochs: int
    learning_rate: float
    batch: int
    freeze: bool


class Genomic(nn.Module):
    """z = MLP_A(encoder(x)), with a fixed scaling between the two; (sample, gene) -> (sample, hidden).

    The scaling is set once by `calibrate`: patients differ little in the encoder's raw output.
    """

    def __init__(self, encoder: nn.Module, *, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.zeros(encoder.width))
        self.register_buffer("sd", torch.ones(encoder.width))
        self.mlp_a = mlp(encoder.width, hidden, layers=layers, dropout=dropout)

    @torch.no_grad()
    def calibrate(self, values: Tensor) -> None:
        """Set the scaling so that the encoder's output on `values` has mean 0 and standard deviation 1."""
        out = self.encoder(values)
        self.mean.copy_(out.mean(0))
        sd = out.std(0)
        self.sd.copy_(torch.where(sd > 1e-6, sd, torch.inf))

    def features(self, values: Tensor) -> Tensor:
        """Return the scaled output of the encoder."""
        return (self.encoder(values) - self.mean) / self.sd

    def forward(self, values: Tensor) -> Tensor:
        """Return z."""
        return self.mlp_a(self.features(values))


def mix_cells(
    cells: np.ndarray,
    types: np.ndarray,
    *,
    n_types: int,
    n_mixtures: int,
    settings: RegulationSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Pseudo-bulk profiles from single cells.

    cells : (cell, gene) expression of cells of equal depth; types : (cell,) codes 0..n_types-1
    Returns mixtures (mixture, gene) and proportions (mixture, type), whose rows sum to 1.
    """
    chosen, weights = draw_weights(types, n_mixtures=n_mixtures, settings=settings, rng=rng)
    mixtures = np.stack([weight @ cells[row] for weight, row in zip(weights, chosen, strict=True)])
    proportions = np.zeros((n_mixtures, n_types))
    np.add.at(proportions, (np.arange(n_mixtures)[:, None], types[chosen]), weights)
    return mixtures, proportions


def draw_weights(
    types: np.ndarray, *, n_mixtures: int, settings: RegulationSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cells (mixture, place) and their weights (mixture, place), each row summing to 1; types are drawn evenly."""
    most = 2 if settings.mix == "pairs" else settings.most_cells
    odds = 1.0 / np.bincount(types)[types]
    chosen = rng.choice(len(types), size=(n_mixtures, most), p=odds / odds.sum())
    if settings.mix == "pairs":
        share = rng.uniform(size=(n_mixtures, 1))  # lambda ~ U(0, 1)
        return chosen, np.hstack([share, 1 - share])
    size = rng.integers(2, most + 1, size=(n_mixtures, 1))
    parts = rng.gamma(settings.concentration, size=chosen.shape) + 1e-12  # Dirichlet = scaled gamma draws
    parts[np.arange(most)[None, :] >= size] = 0
    return chosen, parts / parts.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Mixtures:
    """Inputs of mixtures (mixture, gene) as tensors, and their proportions (mixture, type)."""

    values: Tensor
    proportions: Tensor


@dataclass(frozen=True)
class TypeProfiles:
    """What the training cells say of the types, and the held-out mixtures on the same scale.

    mean : (type, gene) of cells of equal depth; variance : (gene,) inside the types; held_out : (mixture, gene)
    """

    mean: np.ndarray
    variance: np.ndarray
    held_out: np.ndarray

    @property
    def marks(self) -> np.ndarray:
        """(gene, type) log ratio of the gene's expression in the type to its mean over the other types."""
        least = _PSEUDO * self.mean.mean()
        others = (self.mean.sum(axis=0) - self.mean) / (len(self.mean) - 1)
        return np.log((self.mean + least) / (others + least)).T


@dataclass(frozen=True)
class Regulated:
    """What stage 1 leaves: the network z, the linear head, the types, and its report rows."""

    network: Genomic
    head: nn.Linear
    types: tuple[str, ...]
    report: tuple[dict, ...]


def make_mixtures(
    cells: Cells, profile: ProfileInput, *, settings: RegulationSettings, rng: np.random.Generator
) -> tuple[Mixtures, Mixtures, tuple[str, ...], TypeProfiles]:
    """Training and held-out mixtures as the encoder's inputs, from disjoint cells; the cell types, and their profiles.

    Raises InputError for cells that cannot be used (see `usable_cells`).
    """
    even, names, codes = usable_cells(cells)
    even = even[:, columns_of(profile.genes, cells.genes)]
    held = _held_out(codes, share=settings.held_out, rng=rng)
    parts = []
    for part, n_mixtures in ((~held, settings.mixtures), (held, max(1, settings.mixtures // 4))):
        drawn = {"n_types": len(names), "n_mixtures": n_mixtures, "settings": settings, "rng": rng}
        parts.append(mix_cells(even[part], codes[part], **drawn))
    own_input = profile.for_mixtures(parts[0][0])
    made = [
        Mixtures(torch.from_numpy(own_input(x, profile.genes)), torch.as_tensor(y, dtype=torch.float32))
        for x, y in parts
    ]
    by_type = [even[~held][codes[~held] == code] for code in range(len(names))]
    mean, variance = (np.stack([getattr(own, of)(axis=0) for own in by_type]) for of in ("mean", "var"))
    return made[0], made[1], tuple(names.tolist()), TypeProfiles(mean, variance.mean(axis=0), parts[1][0])


def _held_out(codes: np.ndarray, *, share: float, rng: np.random.Generator) -> np.ndarray:
    """(cell,) whether a cell is kept for the held-out mixtures: a share of each type, one cell at least."""
    held = np.zeros(len(codes), dtype=bool)
    order = rng.permutation(len(codes))
    for code in np.unique(codes):
        own = order[codes[order] == code]
        held[own[: max(1, round(share * len(own)))]] = True
    return held


def usable_cells(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells (cell, gene) of types with at least four cells, scaled to a depth of 10,000; type names; codes (cell,).

    Raises InputError for fewer than two such types, negative counts, or cells without any.
    """
    counts = np.asarray(cells.counts, dtype=float)
    labels = np.asarray(cells.cell_type).astype(str)
    empty = counts.sum(axis=1) <= 0
    if empty.any() or counts.min() < 0:
        what = f"{int(empty.sum())} cells have no counts" if empty.any() else "some counts are negative"
        msg = f"regulation: {what} among {len(counts)} annotated cells; raw counts after expression.qc are needed."
        raise InputError(msg)
    names, sizes = np.unique(labels, return_counts=True)
    rare = [f"{name} ({size})" for name, size in zip(names, sizes, strict=True) if size < _FEWEST_CELLS]
    if len(names) - len(rare) < 2:
        msg = (
            f"regulation needs two cell types with {_FEWEST_CELLS} cells each; found {shorten(list(names))}. Check the "
            "cell types of the datasets, or set survival.path_gptomic.regulation.use to 'never'."
        )
        raise InputError(msg)
    if rare:
        log.warning("regulation leaves out %d cell types with few cells: %s", len(rare), ", ".join(rare))
    kept = np.isin(labels, names[sizes >= _FEWEST_CELLS])
    names, codes = np.unique(labels[kept], return_inverse=True)
    return counts[kept] * (1e4 / counts[kept].sum(axis=1, keepdims=True)), names, codes


def marker_scores(cells: Cells) -> dict[str, float]:
    """How well each gene tells the cell types apart: share of its log variance that lies between the types."""
    even, names, codes = usable_cells(cells)
    logged = np.log1p(even)
    means = np.stack([logged[codes == code].mean(axis=0) for code in range(len(names))])  # (type, gene)
    inside = np.stack([logged[codes == code].var(axis=0) for code in range(len(names))]).mean(axis=0)
    between = means.var(axis=0)
    return dict(zip(cells.genes, (between / (between + inside + 1e-3)).tolist(), strict=True))


def regulate(
    network: Genomic,
    train: Mixtures,
    held_out: Mixtures,
    *,
    types: tuple[str, ...],
    profiles: TypeProfiles,
    settings: RegulationSettings,
    generator: torch.Generator,
    device: torch.device | str,
) -> Regulated:
    """Train encoder, MLP_A and head on mixtures; report held-out errors beside the unregulated encoder's.

    network : is trained in place and ends in evaluation mode
    The unregulated error is that of the best linear read-out of the encoder as it is without stage 1, fitted on the
    same mixtures; ``expression`` that of a linear read-out of its input, ``profiles`` that of least squares on the
    types' known profiles (see `proportions`), ``mean`` that of the mean proportions.
    """
    network.to(device)
    before = _features(network, train, held_out, device=device)
    if hasattr(network.encoder, "start_at_types"):
        network.encoder.start_at_types(profiles.marks, train.values)
    start = _features(network, train, device=device)[0]
    head = nn.Linear(settings.hidden, len(types)).to(device)
    cut = len(train.values) - max(1, len(train.values) // 5)  # the last fifth picks the epoch
    start_at_ridge(network, head, start[:cut], train.proportions[:cut])
    parts = [Mixtures(train.values[rows], train.proportions[rows]) for rows in (slice(cut), slice(cut, None))]
    curve = _train(network, head, *parts, settings=settings, generator=generator, device=device)
    errors = {
        "regulated": _network_error(network, head, held_out, device=device),
        "unregulated": ridge_error(before[0], train.proportions, before[1], held_out.proportions),
        "expression": ridge_error(train.values, train.proportions, held_out.values, held_out.proportions),
        "profiles": proportion_error(
            least_squares(profiles.mean, profiles.variance, profiles.held_out), held_out.proportions
        ),
        "mean": proportion_error(train.proportions.mean(0).expand_as(held_out.proportions), held_out.proportions),
    }
    report = [{"epoch": 0, "part": "mixtures", "quantity": f"error_{name}", "value": v} for name, v in errors.items()]
    return Regulated(network, head, types, tuple(curve + report))


@torch.no_grad()
def _features(network: Genomic, *parts: Mixtures, device: torch.device | str) -> list[Tensor]:
    """Output of the encoder, scaled on the first of `parts`: (mixture, width) each."""
    network.calibrate(parts[0].values.to(device))
    return [network.features(part.values.to(device)).cpu() for part in parts]


def _train(
    network: Genomic,
    head: nn.Linear,
    train: Mixtures,
    choose: Mixtures,
    *,
    settings: RegulationSettings,
    generator: torch.Generator,
    device: torch.device | str,
) -> list[dict]:
    """Adam on the mean squared error of the proportions, its step rising, then falling (one cycle); returns the curve.

    Ends in evaluation mode with the weights of the epoch (the start is one) that was best on the mixtures `choose`.
    """
    both = nn.ModuleList([network, head])
    optimizer = torch.optim.Adam(both.parameters(), lr=settings.learning_rate)
    steps = settings.epochs * math.ceil(len(train.values) / settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(steps, 2), pct_start=0.1, cycle_momentum=False
    )
    best, kept = _network_error(network, head, choose, device=device), copy.deepcopy(both.state_dict())
    curve = []
    for epoch in range(1, settings.epochs + 1):
        both.train()
        total = 0.0
        for rows in torch.randperm(len(train.values), generator=generator).split(settings.batch):
            target = train.proportions[rows].to(device)
            loss = nn.functional.mse_loss(head(network(train.values[rows].to(device))), target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        error = _network_error(network, head, choose, device=device)
        if error < best:
            best, kept = error, copy.deepcopy(both.state_dict())
        values = {"loss": total / len(train.values), "error_chosen_by": error}
        curve += [{"epoch": epoch, "part": "mixtures", "quantity": name, "value": v} for name, v in values.items()]
    both.load_state_dict(kept)
    both.eval()
    return curve


@torch.no_grad()
def _network_error(network: Genomic, head: nn.Linear, part: Mixtures, *, device: torch.device | str) -> float:
    network.eval()
    return proportion_error(simplex(head(network(part.values.to(device))).cpu()), part.proportions)


@torch.no_grad()
def start_at_ridge(network: Genomic, head: nn.Linear, x: Tensor, y: Tensor) -> None:
    """Weights of MLP_A and head under which their output is the ridge regression on the encoder's features x.

    Two units per type carry the positive and the negative part of its regressed proportion through every layer; the
    other units keep their random weights and join in as the head learns to read them.
    """
    types = y.shape[1]
    if head.in_features < 2 * types:
        return
    weights, intercept = (part.to(head.weight.device) for part in fit_ridge(x, y))
    linears = [part for part in network.mlp_a if isinstance(part, nn.Linear)]
    own = slice(2 * types)
    for layer in linears[1:]:
        layer.weight[own] = torch.eye(layer.out_features, layer.in_features)[own]
        layer.bias[own] = 0
    linears[0].weight[own] = torch.cat([weights.T, -weights.T])
    linears[0].bias[own] = torch.cat([intercept, -intercept])
    head.weight.zero_()
    head.bias.zero_()
    if len(linears) > 1:
        head.weight[:, own] = torch.cat([torch.eye(types), -torch.eye(types)], dim=1).to(head.weight)
    else:  # no ReLU in between: the first of the two is the whole
        head.weight[:, :types] = torch.eye(types).to(head.weight)


@torch.no_grad()
def deconvolve(regulated: Regulated, values: np.ndarray) -> np.ndarray:
    """Cell-type proportions (sample, type) of profiles given as the encoder's input (sample, gene)."""
    device = regulated.head.weight.device
    found = regulated.head(regulated.network(torch.from_numpy(values).to(device)))
    return simplex(found.cpu()).numpy()
