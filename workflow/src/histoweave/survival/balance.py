"""Where the balance rules of `modulation` take hold in the training loop."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from histoweave.survival.bags import Batch, BatchSource
from histoweave.survival.concordance import concordance
from histoweave.survival.modulation import (
    BalanceSettings,
    Modulator,
    flatten,
    pareto_gradient,
    pull_back,
    put_gradient,
)
from histoweave.survival.train import Loss, TrainSettings, chunked_backward, outputs_of

BRANCHES = ("gene", "slide")


@dataclass(frozen=True)
class Hooks:
    """What `train_network` takes: parameter groups, and functions that replace or join its steps."""

    parameters: list[dict]
    backward: Callable | None
    before_step: Callable | None
    monitor: Callable
    after_epoch: Callable | None


def balancing(
    model: nn.Module,
    branches: Mapping[str, list[nn.Parameter]],
    *,
    settings: BalanceSettings,
    training: TrainSettings,
    losses: tuple[Loss, Loss],
    sources: tuple[BatchSource, BatchSource],
) -> Hooks:
    """Hooks for the rule of `settings`.

    branches : weights of ``gene`` and ``slide``
    losses : the fused one and the branches' own, for rules that weigh their gradients
    sources : training and inner validation part
    """
    inside = {id(p) for weights in branches.values() for p in weights}
    rest = [p for p in model.parameters() if id(p) not in inside]
    groups = [{"params": branches[name], "branch": name} for name in BRANCHES] + [{"params": rest, "branch": ""}]
    backward = before_step = after_epoch = None
    if settings.rule.startswith("ogm_cox"):
        per_epoch = max(1, round(len(sources[0]) / training.batch_patients))
        before_step = StepScaling(Modulator(settings), training.learning_rate, per_epoch)
    if settings.rule == "mmpareto":
        backward = ParetoBackward(branches, *losses, settings.pareto_norm)
    if settings.rule == "relearn":
        start = {name: [weight.detach().clone() for weight in weights] for name, weights in branches.items()}
        after_epoch = Relearn(model, branches, start, sources[0], settings, training)
    groups = [group for group in groups if group["params"]]
    return Hooks(groups, backward, before_step, unimodal_c_index, after_epoch)


def unimodal_c_index(outputs: Mapping[str, Tensor], targets: Batch) -> dict[str, float]:
    """Monitor: c-index of each branch's own risk over the patients that have it."""
    found = {}
    for name in BRANCHES:
        has = (targets.vectors[f"has_{name}"] > 0).cpu().numpy()
        parts = (targets.time_days, targets.event, outputs[name])
        found[f"c_index_{name}"] = concordance(*(part.detach().cpu().numpy()[has] for part in parts))
    return found


@dataclass
class Relearn:
    """Every few epochs pulls each branch toward its start, by how much better it fits training than validation."""

    model: nn.Module
    branches: Mapping[str, list[nn.Parameter]]
    start: Mapping[str, list[Tensor]]
    train: BatchSource
    settings: BalanceSettings
    training: TrainSettings

    def __call__(self, epoch: int, history: list[dict]) -> None:
        """Pull, and note the shares."""
        if epoch % self.settings.relearn_every:
            return
        outputs = outputs_of(self.model, self.train, self.training)
        fitted = unimodal_c_index(outputs, self.train.targets(range(len(self.train))))
        rows = [row for row in history if row["epoch"] == epoch and row["part"] == "validation"]
        seen = {row["quantity"]: row["value"] for row in rows}
        for name, weights in self.branches.items():
            gap = fitted[f"c_index_{name}"] - seen[f"c_index_{name}"]
            share = pull_back(weights, self.start[name], gap=gap, strength=self.settings.relearn_strength)
            history.append({"epoch": epoch, "part": "train", "quantity": f"pull_{name}", "value": share})
        self.model.train()


@dataclass
class StepScaling:
    """Sets each branch's learning rate to its coefficient times the common one (eqs. 7-8)."""

    modulator: Modulator
    learning_rate: float
    batches_per_epoch: int
    steps: int = field(default=0)

    def __call__(
        self, optimizer: torch.optim.Optimizer, outputs: Mapping[str, Tensor], targets: Batch
    ) -> dict[str, float]:
        """Scale, and return what the monitor notes."""
        epoch = self.steps // self.batches_per_epoch + 1
        self.steps += 1
        settings = self.modulator.settings
        both = (targets.vectors["has_gene"] * targets.vectors["has_slide"]) > 0
        parts = (outputs["gene"], outputs["slide"], targets.time_days, targets.event)
        factors = self.modulator.update(*(part[both] for part in parts))
        if epoch < settings.first_epoch or (settings.last_epoch and epoch > settings.last_epoch):
            factors = (1.0, 1.0)
        rates = dict(zip(BRANCHES, factors, strict=True))
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate * rates.get(group["branch"], 1.0)
        log_rho = self.modulator.log_rho or 0.0
        return {"log_rho": log_rho} | {f"coefficient_{name}": rate for name, rate in rates.items()}


@dataclass
class ParetoBackward:
    """Replaces the loop's backward: each branch gets MMPareto's mix of the fused and its own gradient."""

    branches: Mapping[str, list[nn.Parameter]]
    fused: Loss
    own: Loss
    norm: float

    def __call__(
        self,
        model: nn.Module,
        source: BatchSource,
        index: np.ndarray,
        loss: Loss,
        settings: TrainSettings,
        rng: np.random.Generator,
    ) -> tuple[float, dict[str, Tensor]]:
        """Fill ``.grad``; both passes see the same tiles and the same dropout."""
        noise, again = torch.get_rng_state(), copy.deepcopy(rng)
        value, outputs = chunked_backward(model, source, index, self.fused, settings, rng)
        joint = {name: flatten(weights) for name, weights in self.branches.items()}
        for weights in self.branches.values():
            for weight in weights:
                weight.grad = None
        torch.set_rng_state(noise)
        own_value, _ = chunked_backward(model, source, index, self.own, settings, again)
        for name, weights in self.branches.items():
            put_gradient(weights, pareto_gradient(joint[name], flatten(weights), norm=self.norm))
        return value + own_value, outputs
