"""Why a risk is what it is: integrated gradients over tiles and vectors, with the completeness check.

Source: Sundararajan et al. 2017, "Axiomatic attribution for deep networks" (arXiv:1703.01365), eq. 1, by the midpoint
rule. The baseline is 0 in every input, which is the mean of the training part, since inputs are standardised.
The attributions of a patient sum to its risk less the baseline's (completeness); the gap is returned, not hidden.
Attributions of a gene group are the sum over its genes where a model reads genes. A model that predicts groups from
slides is asked through its group embeddings, see `group_gradients`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from histoweave.survival.bags import Batch
from histoweave.survival.interface import Patients

_MOST_TILES = 65536


@dataclass(frozen=True)
class ExplainSettings:
    """How much is explained.

    models : which models are explained, None = all that can be
    patients : test patients per fold whose risks are attributed; tiles : tiles drawn of each; steps : of the integral
    null_fits : fits of the first fold to permuted follow-up, against which its attributions are tested (0 = none)
    """

    section: ClassVar[str] = "survival.explain"
    models: tuple[str, ...] | None
    patients: int
    tiles: int
    steps: int
    null_fits: int


@dataclass(frozen=True)
class Attribution:
    """Integrated gradients of one patient.

    tiles : (tile, feature) or None; vectors : name -> (value,); gap : sum of all less the difference in risk
    difference : risk less the baseline's risk
    """

    tiles: np.ndarray | None
    vectors: Mapping[str, np.ndarray]
    difference: float
    gap: float


def integrated_gradients(network: nn.Module, batch: Batch, *, inputs: Sequence[str], steps: int) -> Attribution:
    """Attribution of the risk of a batch of one patient to its tiles and to the vectors named in `inputs`."""
    network.eval()
    model = network.explained(batch) if hasattr(network, "explained") else network
    ends = {name: batch.vectors[name] for name in inputs if name in batch.vectors}
    if batch.tiles is not None:
        ends["tiles"] = batch.tiles
    totals = {name: torch.zeros_like(value) for name, value in ends.items()}
    shares = (torch.arange(steps, device=batch.time_days.device) + 0.5) / steps  # midpoints
    longest = 1 if batch.tiles is None else batch.tiles.shape[1]
    for part in shares.split(max(1, _MOST_TILES // longest)):
        points = {name: part.view(-1, *[1] * (value.dim() - 1)) * value for name, value in ends.items()}
        points = {name: value.detach().requires_grad_() for name, value in points.items()}  # (step, ...)
        risk = model(_at(_repeated(batch, len(part)), points))["risk"].sum()
        gradients = torch.autograd.grad(risk, list(points.values()), allow_unused=True)
        for name, gradient in zip(points, gradients, strict=True):
            if gradient is not None:
                totals[name] += gradient.sum(dim=0, keepdim=True) / steps
    made = {name: (totals[name] * value)[0].cpu().numpy().astype(float) for name, value in ends.items()}
    with torch.no_grad():
        ahead = float(model(batch)["risk"][0])
        nothing = {name: torch.zeros_like(value) for name, value in ends.items()}
        start = float(model(_at(batch, nothing))["risk"][0])
    total = float(sum(values.sum() for values in made.values()))
    tiles = made.pop("tiles", None)
    return Attribution(tiles, made, ahead - start, total - (ahead - start))


def _repeated(batch: Batch, count: int) -> Batch:
    """Return the batch of one patient as `count` patients."""

    def expand(value: torch.Tensor) -> torch.Tensor:
        return value.expand(count, *value.shape[1:])

    return Batch(
        None,
        None if batch.mask is None else expand(batch.mask),
        {name: expand(value) for name, value in batch.vectors.items()},
        expand(batch.time_days),
        expand(batch.event),
    )


def _at(batch: Batch, points: Mapping[str, torch.Tensor]) -> Batch:
    vectors = {**batch.vectors, **{name: value for name, value in points.items() if name != "tiles"}}
    return replace(batch, tiles=points.get("tiles", batch.tiles), vectors=vectors)


def group_gradients(network: nn.Module, batch: Batch, *, steps: int) -> Attribution:
    """Attribution of the risk of one patient to the gene groups that `network` predicts from its slides.

    The integral goes along the group embeddings r (group, hidden), from those of tiles that are all the training mean
    (0, the baseline of the tiles; r itself is normed and never 0) to those of the patient. The tiles' direct way to the
    risk is held at the patient's. Values are summed over the embedding: ``vectors["group"]`` (group,).
    """
    network.eval()
    with torch.no_grad():
        start, end, risk = network.from_groups(batch)
    shares = (torch.arange(steps, device=end.device) + 0.5) / steps  # midpoints
    points = (start + shares[:, None, None] * (end - start)).requires_grad_()  # (step, group, hidden)
    gradient = torch.autograd.grad(risk(points).sum(), points)[0].mean(dim=0)
    made = ((end[0] - start[0]) * gradient).sum(dim=1).cpu().numpy().astype(float)
    with torch.no_grad():
        difference = float(risk(end)[0] - risk(start)[0])
    return Attribution(None, {"group": made}, difference, float(made.sum()) - difference)


def mean_of(parts: Sequence[Attribution]) -> Attribution:
    """Mean of one patient's attributions over networks."""
    tiles = None if parts[0].tiles is None else np.mean([part.tiles for part in parts], axis=0)
    vectors = {name: np.mean([part.vectors[name] for part in parts], axis=0) for name in parts[0].vectors}
    difference, gap = (float(np.mean([getattr(part, name) for part in parts])) for name in ("difference", "gap"))
    return Attribution(tiles, vectors, difference, gap)


def group_sums(by_gene: Mapping[str, np.ndarray], groups: Mapping[str, Iterable[str]]) -> dict[str, np.ndarray]:
    """Group -> sum over its genes of (patient,) attributions; groups of which the model reads no gene are not there."""
    read = {name: [by_gene[gene] for gene in genes if gene in by_gene] for name, genes in groups.items()}
    return {name: np.sum(values, axis=0) for name, values in read.items() if values}


def permuted_follow_up(patients: Patients, parts: Sequence[Sequence[str]], rng: np.random.Generator) -> Patients:
    """Give the patients of each of `parts` (names) one another's follow-up, time with event; others keep theirs.

    Inputs then say nothing about the outcome, while each part keeps its times and its number of events.
    """
    place = {name: row for row, name in enumerate(patients.ids)}
    source = np.arange(len(patients))
    for names in parts:
        rows = np.array([place[name] for name in names if name in place], dtype=int)
        source[rows] = rng.permutation(rows)
    return replace(patients, time_days=patients.time_days[source], event=patients.event[source])


def null_p_value(seen: float, null: Sequence[float]) -> float:
    """(1 + number of `null` values at or above `seen`) / (1 + number of them).

    Never 0, since `seen` is one of the values that could have come up (Phipson and Smyth 2010, arXiv:1603.05766).
    """
    return (1 + sum(value >= seen for value in null)) / (1 + len(null))


def randomised(network: nn.Module, seed: int) -> nn.Module:
    """Copy of `network` with fresh random weights: what it attends to is chance (Adebayo et al. 2018, 1810.03292)."""
    import copy

    other = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in other.parameters():
            spread = value.std() if value.numel() > 1 else value.abs().max()
            value.copy_(torch.randn(value.shape, generator=generator).to(value) * spread + value.mean())
    return other.eval()


def cases(risk: Mapping[str, float]) -> dict[str, str]:
    """Patients picked by rule: highest, median and lowest risk; equal risks by name. case -> patient."""
    order = sorted(risk, key=lambda name: (risk[name], name))
    return {"highest": order[-1], "median": order[len(order) // 2], "lowest": order[0]} if order else {}


def percentile_scores(values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Rank of each value among all, 0 to 1: one colour scale for all pictures; equal values share a rank."""
    from scipy.stats import rankdata

    if not len(values):
        return []
    joined = np.concatenate(values)
    ranks = (rankdata(joined) - 0.5) / max(1, len(joined))
    return np.split(ranks, np.cumsum([len(part) for part in values])[:-1])
