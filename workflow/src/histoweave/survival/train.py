"""The one training loop of all neural survival models, with exact gradients of losses that join patients.

A Cox loss joins all patients of a batch, while bags of tiles rarely fit in memory together. The loop therefore
runs a batch in chunks: a first pass without graphs collects every patient's outputs, the loss is differentiated
with respect to these, and a second pass sends the derivatives through the network chunk by chunk. The gradient is
that of the whole batch, whatever the chunk (the idea of Gao et al. 2021, arXiv:2101.06983).
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from histoweave.errors import InputError
from histoweave.rng import derive_seed, generator
from histoweave.survival.bags import Batch, BatchSource
from histoweave.survival.concordance import concordance
from histoweave.survival.interface import Context

Outputs = dict[str, torch.Tensor]
Loss = Callable[[Outputs, Batch], torch.Tensor]
Monitor = Callable[[Outputs, Batch], Mapping[str, float]]


@dataclass(frozen=True)
class TrainSettings:
    """Settings of the training loop; they stand as ``training`` in the section of each neural model.

    epochs : passes over the training patients, at most; patience : epochs without a better `selection` before the
        stop (0 = never stop early)
    selection : ``loss`` or ``c_index`` of the inner validation part picks the epoch; ``last`` takes the last one
    learning_rate, weight_decay : of AdamW; clip_gradient : bound of the gradient's norm (0 = none)
    batch_patients : patients per step, the pool of the Cox risk sets
    tiles_per_patient : tiles drawn anew per patient and epoch (0 = all)
    tiles_in_memory : padded tiles that one pass may hold
    sampling : ``shuffle``, or ``event_balanced``: each batch holds its share of the events
    mixed_precision : bfloat16 on a GPU; nothing changes on a CPU
    """

    epochs: int
    patience: int
    selection: str
    learning_rate: float
    weight_decay: float
    clip_gradient: float
    batch_patients: int
    tiles_per_patient: int
    tiles_in_memory: int
    sampling: str
    mixed_precision: bool


def train_network(
    model: nn.Module,
    train: BatchSource,
    validation: BatchSource,
    *,
    loss: Loss,
    settings: TrainSettings,
    context: Context,
    judge: Loss | None = None,
    parameters: Sequence[dict] | None = None,
    backward: Callable | None = None,
    before_step: Callable | None = None,
    monitor: Monitor | None = None,
    after_epoch: Callable | None = None,
) -> list[dict]:
    """Train `model` in place; it ends with the weights of the selected epoch, in evaluation mode.

    model : called with a Batch, gives named (patient, ...) tensors, among them ``risk`` (patient,); one that says
        ``streams`` takes long bags as a `TileStream`
    loss : called with the outputs of all patients of a batch and their targets
    judge : the loss that the inner validation part is judged by (default: `loss`)
    parameters : parameter groups of the optimiser (default: one group of all)
    backward : replaces `chunked_backward`, same arguments; fills ``.grad`` and returns (loss, outputs)
    before_step : called with (optimizer, outputs, targets) between backward and the step; may return
        quantity -> value, whose mean over the epoch is noted
    monitor : quantity -> value from the outputs and targets of the inner validation part, noted each epoch
    after_epoch : called with (epoch, history) when the epoch's weights have been kept
    Returns rows ``epoch, part, quantity, value``. Raises InputError if no training patient had an event, nobody in the
    inner validation part that has to pick an epoch, or the loss is no longer finite.
    """
    if not bool((train.event > 0).any()):
        msg = f"{'/'.join(context.names)}: none of the {len(train)} training patients had an event. Use other folds."
        raise InputError(msg)
    if settings.selection != "last" and not bool((validation.event > 0).any()):
        msg = (
            f"{'/'.join(context.names)}: none of the {len(validation)} patients of the inner validation part had an "
            "event, so that it cannot pick an epoch. Use other folds, raise survival.folds.validation_share, or set "
            "this model's training.selection to 'last'."
        )
        raise InputError(msg)
    groups = list(parameters or [{"params": list(model.parameters())}])
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    run = _Run(model, optimizer, settings, context)
    torch.manual_seed(derive_seed(context.seed, *context.names, "dropout"))
    for epoch in range(run.resume() + 1, settings.epochs + 1):
        if run.is_over(epoch - 1):
            break
        rng = generator(context.seed, *context.names, "epoch", epoch)
        model.train()
        values, notes = [], []
        for index in batches(train.event.numpy(), settings, rng):
            optimizer.zero_grad(set_to_none=True)
            value, outputs = (backward or chunked_backward)(model, train, index, loss, settings, rng)
            if before_step is not None:
                notes.append(before_step(optimizer, outputs, train.targets(index)) or {})
            _step(optimizer, groups, settings)
            values.append(value)
        run.note_means(epoch, notes)
        run.close_epoch(epoch, float(np.mean(values)), validation, judge or loss, monitor)
        if after_epoch is not None:
            after_epoch(epoch, run.history)
        run.save(epoch)
    run.restore_best()
    return run.history


def batches(event: np.ndarray, settings: TrainSettings, rng: np.random.Generator) -> list[np.ndarray]:
    """Split the patients into batches of about `batch_patients`, each patient once; no tiny last batch.

    ``event_balanced`` deals events and censored patients out in turn, so that no batch lacks events.
    """
    order = rng.permutation(len(event))
    n_batches = max(1, round(len(event) / settings.batch_patients))
    if settings.sampling == "event_balanced":
        order = np.concatenate([order[event[order] > 0], order[event[order] <= 0]])
    return [part for part in (order[start::n_batches] for start in range(n_batches)) if len(part)]


def chunked_backward(
    model: nn.Module,
    source: BatchSource,
    index: np.ndarray,
    loss: Loss,
    settings: TrainSettings,
    rng: np.random.Generator,
) -> tuple[float, Outputs]:
    """Fill ``.grad`` with the gradient of the whole batch at `index`, chunk by chunk where it does not fit."""
    budget = settings.tiles_per_patient
    stream = getattr(model, "streams", False)
    chunks = list(source.chunks(index, budget=budget, tiles_in_memory=settings.tiles_in_memory, stream=stream))
    targets = source.targets(index)
    if len(chunks) == 1:
        outputs = forward(model, source.batch(index, budget=budget, rng=rng, stream=stream), settings)
        value = loss(outputs, targets)
        value.backward()
        return float(value.detach()), {name: tensor.detach() for name, tensor in outputs.items()}
    seeds = rng.integers(2**62, size=(len(chunks), 2))
    pieces = []
    with torch.no_grad():
        for chunk, seed in zip(chunks, seeds, strict=True):
            pieces.append(_seeded_forward(model, source, chunk, settings, seed))
    outputs = {name: torch.cat([piece[name] for piece in pieces]).requires_grad_() for name in pieces[0]}
    value = loss(outputs, targets)
    value.backward()
    start = 0
    for chunk, seed in zip(chunks, seeds, strict=True):
        again = _seeded_forward(model, source, chunk, settings, seed)
        part = slice(start, start + len(chunk))
        pairs = [(again[name], outputs[name].grad[part]) for name in again if outputs[name].grad is not None]
        torch.autograd.backward([tensor for tensor, _ in pairs], [gradient for _, gradient in pairs])
        start += len(chunk)
    return float(value.detach()), {name: tensor.detach() for name, tensor in outputs.items()}


def _seeded_forward(
    model: nn.Module, source: BatchSource, chunk: list[int], settings: TrainSettings, seed: np.ndarray
) -> Outputs:
    """Forward of one chunk with the tiles and dropout masks that belong to `seed`."""
    drawn = {"budget": settings.tiles_per_patient, "rng": np.random.default_rng(int(seed[0]))}
    batch = source.batch(chunk, **drawn, stream=getattr(model, "streams", False))
    torch.manual_seed(int(seed[1]))
    return forward(model, batch, settings)


def forward(model: nn.Module, batch: Batch, settings: TrainSettings) -> Outputs:
    """Return the outputs of `model` in float32, computed in bfloat16 on a GPU where asked for."""
    device = batch.time_days.device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=settings.mixed_precision and device == "cuda"):
        outputs = model(batch)
    return {name: tensor.float() for name, tensor in outputs.items()}


@torch.no_grad()
def outputs_of(model: nn.Module, source: BatchSource, settings: TrainSettings) -> Outputs:
    """Outputs of `model` in evaluation for all patients of `source`, with all of their tiles."""
    model.eval()
    stream = getattr(model, "streams", False)
    limits = {"budget": 0, "tiles_in_memory": settings.tiles_in_memory}
    chunks = source.chunks(range(len(source)), **limits, stream=stream)
    pieces = [forward(model, source.batch(chunk, stream=stream), settings) for chunk in chunks]
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}


def _step(optimizer: torch.optim.Optimizer, groups: Sequence[Mapping], settings: TrainSettings) -> None:
    if settings.clip_gradient:
        nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], settings.clip_gradient)
    optimizer.step()


class _Run:
    """Curves, the best epoch so far, and when to stop."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, settings: TrainSettings, context: Context
    ) -> None:
        self.model, self.optimizer, self.settings, self.context = model, optimizer, settings, context
        self.history: list[dict] = []
        self.best = np.inf
        self.best_epoch = 0
        self.best_weights: dict[str, torch.Tensor] | None = None
        folder = context.checkpoint_dir
        self.path = None if folder is None else folder / f"{'_'.join(context.names).replace(' ', '_')}.pt"

    def note_means(self, epoch: int, notes: Sequence[Mapping[str, float]]) -> None:
        """Note the mean over the epoch's batches of what `before_step` returned."""
        for quantity in sorted({name for note in notes for name in note}):
            values = [note[quantity] for note in notes if quantity in note]
            self._note(epoch, "train", quantity, float(np.mean(values)))

    def close_epoch(
        self, epoch: int, train_loss: float, validation: BatchSource, loss: Loss, monitor: Monitor | None
    ) -> None:
        """Note the curves of `epoch` and keep its weights if it is the best so far."""
        outputs = outputs_of(self.model, validation, self.settings)
        targets = validation.targets(range(len(validation)))
        value = float(loss(outputs, targets))
        for quantity, noted in (monitor(outputs, targets) if monitor else {}).items():
            self._note(epoch, "validation", quantity, float(noted))
        risk = outputs["risk"].cpu().numpy()
        c_index = concordance(validation.time_days.numpy(), validation.event.numpy(), risk)
        self._note(epoch, "train", "loss", train_loss)
        self._note(epoch, "validation", "loss", value)
        self._note(epoch, "validation", "c_index", c_index)
        if not np.isfinite([train_loss, value]).all():
            msg = (
                f"{'/'.join(self.context.names)}: the loss is not finite in epoch {epoch}. "
                "Lower training.learning_rate of this model, or look for extreme values in its inputs."
            )
            raise InputError(msg)
        score = {"loss": value, "c_index": -c_index, "last": -epoch}[self.settings.selection]
        if score < self.best:
            self.best, self.best_epoch = score, epoch
            self.best_weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def _note(self, epoch: int, part: str, quantity: str, value: float) -> None:
        self.history.append({"epoch": epoch, "part": part, "quantity": quantity, "value": value})

    def save(self, epoch: int) -> None:
        """Write what `resume` needs, whole or not at all; without a checkpoint folder nothing."""
        if self.path is None:
            return
        state = {
            "epoch": epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_weights": self.best_weights,
            "best": [float(self.best), self.best_epoch],
            "history": self.history,
            "dropout": torch.get_rng_state(),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        held = io.BytesIO()  # torch's own writer does not tell a full disk from other faults
        torch.save(state, held)
        temporary = self.path.with_suffix(".part")
        try:
            temporary.write_bytes(held.getbuffer())
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def resume(self) -> int:
        """Go on where a killed fit stopped, bit for bit; returns the last finished epoch, 0 without a checkpoint."""
        if self.path is None or not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_weights, self.history = state["best_weights"], state["history"]
        self.best, self.best_epoch = state["best"]
        torch.set_rng_state(state["dropout"])
        return int(state["epoch"])

    def is_over(self, epoch: int) -> bool:
        """Whether `patience` epochs went by without a better one."""
        return 0 < self.settings.patience <= epoch - self.best_epoch

    def restore_best(self) -> None:
        """Put the selected epoch's weights back."""
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
        self.model.eval()
