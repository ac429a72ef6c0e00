"""A fitted neural model: weights, what the training part taught about its inputs, and how risks become curves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from histoweave.errors import InputError
from histoweave.rng import derive_seed
from histoweave.survival.bags import Batch, BatchSource, FeatureScale
from histoweave.survival.baseline import Baseline
from histoweave.survival.discrete import TimeBins
from histoweave.survival.interface import SLIDE, Context, Patients, Prediction
from histoweave.survival.losses import cox_loss
from histoweave.survival.train import Outputs, TrainSettings, outputs_of, train_network

Vectors = Callable[[Patients], Mapping[str, np.ndarray]]
_SLIDES = frozenset({SLIDE})


class Curve(Protocol):
    """Turns outputs into survival probabilities."""

    def of(self, outputs: Mapping[str, np.ndarray], horizons_days: Sequence[float]) -> np.ndarray:
        """(patient, horizon)."""
        ...

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and numbers for a bundle."""
        ...


@dataclass(frozen=True)
class CoxCurve:
    """Breslow's baseline hazard under the output ``risk``."""

    baseline: Baseline

    def of(self, outputs: Mapping[str, np.ndarray], horizons_days: Sequence[float]) -> np.ndarray:
        """(patient, horizon)."""
        return self.baseline.survival(outputs["risk"], horizons_days)

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and numbers for a bundle."""
        return self.baseline.state()


@dataclass(frozen=True)
class BinCurve:
    """Hazards of time bins, the sigmoids of the output ``logits``."""

    bins: TimeBins

    def of(self, outputs: Mapping[str, np.ndarray], horizons_days: Sequence[float]) -> np.ndarray:
        """(patient, horizon)."""
        return self.bins.survival(1.0 / (1.0 + np.exp(-outputs["logits"].astype(float))), horizons_days)

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and numbers for a bundle."""
        return {"bins.edges": self.bins.edges}, {}


def restored_curve(tensors: Mapping[str, np.ndarray], meta: Mapping) -> Curve:
    """Curve of a bundle."""
    if "bins.edges" in tensors:
        return BinCurve(TimeBins(tensors["bins.edges"]))
    return CoxCurve(Baseline.restored(tensors, meta["curve"]))


@dataclass(frozen=True)
class NetworkFitted:
    """A trained network.

    method, needs : name and what a patient must have; network : in evaluation mode
    scale : of tile features, None = the network sees no tiles; vectors : patients -> further inputs
    more : outputs that go into ``Prediction.more``; meta : what `restore` of the method needs besides
    truth : patients -> (patient, gene) of what the output ``reconstruction`` predicts, rows of NaN where unknown
    """

    method: str
    needs: frozenset[str]
    network: nn.Module
    scale: FeatureScale | None
    vectors: Vectors
    training: TrainSettings
    curve: Curve
    device: object
    meta: dict
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    history: Sequence[Mapping] = field(default_factory=list)
    truth: Callable[[Patients], np.ndarray] | None = None

    @property
    def input_names(self) -> dict[str, tuple[str, ...]]:
        """Names of the values of each vector that the network takes."""
        return {"expression": tuple(self.meta["profile"]["genes"])} if "profile" in self.meta else {}

    def source(self, patients: Patients) -> BatchSource:
        """Batches of `patients` as the network takes them."""
        return BatchSource(patients, scale=self.scale, vectors=self.vectors(patients), device=self.device)

    def predict(self, patients: Patients, horizons_days: Sequence[float]) -> Prediction:
        """Return risks and curves of every patient; raises InputError if one lacks what the model needs."""
        patients.require(self.needs, method=self.method)
        outputs = outputs_of(self.network, self.source(patients), self.training)
        values = {name: tensor.cpu().numpy() for name, tensor in outputs.items()}
        more = {name: values[name] for name in self.more}
        return Prediction(values["risk"].astype(float), self.curve.of(values, horizons_days), more)

    @torch.no_grad()
    def attention(self, patients: Patients) -> list[np.ndarray]:
        """Per patient the (tile,) attention, which sums to 1; empty without a slide."""
        if not hasattr(self.network, "attention"):
            msg = f"{self.method} has no attention over tiles."
            raise InputError(msg)
        source = self.source(patients)
        weights = []
        for one in range(len(patients)):
            batch = source.batch([one], stream=getattr(self.network, "streams", False))
            weights.append(self.network.attention(batch)[0][batch.mask[0]].cpu().numpy().astype(float))
        return weights

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Weights, scales and the curve."""
        tensors = {f"network.{name}": value.cpu().numpy() for name, value in self.network.state_dict().items()}
        arrays, curve = self.curve.state()
        tensors |= {**arrays, **self.arrays}
        meta = {**self.meta, "curve": curve}
        if self.scale is not None:
            tensors |= {"tiles.mean": self.scale.mean, "tiles.sd": self.scale.sd}
            meta["tile_clip"] = self.scale.clip
        return tensors, meta


def no_vectors(patients: Patients) -> dict[str, np.ndarray]:
    """Return the further inputs of a network that takes slides alone: none."""
    return {}


def restored_scale(tensors: Mapping[str, np.ndarray], meta: Mapping) -> FeatureScale | None:
    """Scale of tile features of a bundle."""
    if "tiles.mean" not in tensors:
        return None
    return FeatureScale(tensors["tiles.mean"], tensors["tiles.sd"], meta["tile_clip"])


def seeded(make: type[nn.Module], context: Context, *args: object, **options: object) -> nn.Module:
    """Network with the starting weights of this task, on its device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(context.seed, *context.names, "weights"))
        return make(*args, **options).to(context.device)


def load_network(network: nn.Module, tensors: Mapping[str, np.ndarray], *, method: str) -> nn.Module:
    """Put the weights of a bundle into `network`; raises InputError if they are not its weights."""
    weights = {
        name.removeprefix("network."): torch.from_numpy(np.ascontiguousarray(value))
        for name, value in tensors.items()
        if name.startswith("network.")
    }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        msg = f"the bundle's weights do not fit {method} ({str(error).splitlines()[0]}). Train the model again."
        raise InputError(msg) from error
    return network.eval()


def cox_curve(network: nn.Module, train: BatchSource, validation: BatchSource, settings: TrainSettings) -> CoxCurve:
    """Baseline hazard of a trained network on the whole outer training part."""
    parts = [train, validation]
    risk = np.concatenate([outputs_of(network, part, settings)["risk"].cpu().numpy() for part in parts])
    time = np.concatenate([part.patients.time_days for part in parts])
    event = np.concatenate([part.patients.event for part in parts])
    return CoxCurve(Baseline.fitted(time, event, risk))


def fit_cox_network(
    method: str,
    needs: frozenset[str],
    network: nn.Module,
    parts: Sequence[Patients],
    *,
    scale: FeatureScale | None,
    vectors: Vectors,
    ties: str,
    training: TrainSettings,
    context: Context,
    meta: dict,
    arrays: Mapping[str, np.ndarray],
) -> NetworkFitted:
    """Train `network` with a Cox loss on the two inner `parts`, and add the baseline hazard; see `NetworkFitted`."""
    for part in parts:
        part.require(needs, method=method)
    sources = [BatchSource(part, scale=scale, vectors=vectors(part), device=context.device) for part in parts]

    def loss(outputs: Outputs, targets: Batch) -> torch.Tensor:
        return cox_loss(outputs["risk"], targets.time_days, targets.event, ties=ties)

    history = train_network(network, *sources, loss=loss, settings=training, context=context)
    curve = cox_curve(network, *sources, training)
    meta = {**meta, "training": asdict(training)}
    shown = {"arrays": arrays, "history": history}
    return NetworkFitted(method, needs, network, scale, vectors, training, curve, context.device, meta, **shown)


def fit_slide_network(
    method: str,
    kind: type[nn.Module],
    sizes: Mapping[str, object],
    parts: Sequence[Patients],
    *,
    settings: Any,
    context: Context,
) -> NetworkFitted:
    """Train a network of the class `kind` on tiles alone; sizes : what its constructor takes besides `n_features`."""
    train = parts[0]
    train.require(_SLIDES, method=method)
    sizes = {**sizes, "n_features": len(train.feature_names)}
    return fit_cox_network(
        method,
        _SLIDES,
        seeded(kind, context, **sizes),
        parts,
        scale=FeatureScale.fitted(train.bags, clip=settings.clip),
        vectors=no_vectors,
        ties=settings.ties,
        training=settings.training,
        context=context,
        meta={"sizes": sizes},
        arrays={},
    )


def restored_network(
    method: str,
    needs: frozenset[str],
    network: nn.Module,
    vectors: Vectors,
    tensors: Mapping[str, np.ndarray],
    meta: dict,
) -> NetworkFitted:
    """Return the model of a bundle; `network` is made anew with its sizes."""
    load_network(network, tensors, method=method)
    curve, scale = restored_curve(tensors, meta), restored_scale(tensors, meta)
    return NetworkFitted(method, needs, network, scale, vectors, TrainSettings(**meta["training"]), curve, "cpu", meta)
