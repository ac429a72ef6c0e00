"""Why a risk is what it is: integrated gradients over tiles and vectors, with the completeness check.

Source: Sundararajan et al. 2017, "Axiomatic attribution for deep networks" (arXiv:1703.01365), eq. 1, by the midpoint
rule. The baseline is 0 in every input, which is the mean of the training part, since inputs are standardised.
The attributions of a patient sum to its risk less the baseline's (completeness); the gap is returned, not hidden.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from histoweave.survival.bags import Batch, BatchSource

_MOST_TILES = 65536


@dataclass(frozen=True)
class ExplainSettings:
    """How much is explained.

    models : which models are explained, None = all that can be
    patients : test patients per fold whose risks are attributed; tiles : tiles drawn of each; steps : of the integral
    """

    section: ClassVar[str] = "survival.explain"
    models: tuple[str, ...] | None
    patients: int
    tiles: int
    steps: int


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


def attributed(
    networks: Sequence[nn.Module],
    source: BatchSource,
    index: int,
    *,
    inputs: Sequence[str],
    steps: int,
    most_tiles: int,
    rng: np.random.Generator,
) -> Attribution:
    """Mean over `networks` of one patient's attribution, on `most_tiles` of its tiles drawn by `rng`."""
    batch = source.batch([index], budget=most_tiles, rng=rng)
    parts = [integrated_gradients(network, batch, inputs=inputs, steps=steps) for network in networks]
    tiles = None if parts[0].tiles is None else np.mean([part.tiles for part in parts], axis=0)
    vectors = {name: np.mean([part.vectors[name] for part in parts], axis=0) for name in parts[0].vectors}
    difference, gap = (float(np.mean([getattr(part, name) for part in parts])) for name in ("difference", "gap"))
    return Attribution(tiles, vectors, difference, gap)


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
