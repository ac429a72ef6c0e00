"""Path-GPTOmic: slides and RNA, each through its own branch, balanced, in one Cox model.

Source: Wang et al., ISBI 2024, doi:10.1109/ISBI56570.2024.10635171, arXiv:2403.11375.

| symbol     | name here         | axes              | meaning                                              |
|------------|-------------------|-------------------|------------------------------------------------------|
| RNA -> z   | `genomic`         | (patient, hidden) | gene encoder, then MLP_A (see `regulation`)          |
| G1         | `alterations`     | (patient, hidden) | self-normalising network of copy numbers, mutations  |
| G_k        | `gene`            | (patient, hidden) | MLP_B([G1, z])                                       |
| P_k        | `slide`           | (patient, hidden) | attention pooling of the patient's tiles             |
| theta_k    | `fused`, `risk`   | (patient,)        | log hazard ratio, eq. 1                              |
| theta^u_k  | `gene`, `slide`   | (patient,)        | a branch's part of theta: its own risk               |

Deviations: the gene encoder may be the pipeline's own gene graphs instead of scGPT, with genes that they lack beside
it as plain values (the graphs know some hundred of a cohort's prognostic genes at best); where stage 1 does not run,
MLP_A is one linear layer (three fresh ones over-fit a few hundred patients), and a panel of alterations is chosen in
the training part (exome tables have thousands of columns); an ensemble's members each stop on another inner
validation part, and a panel by outcome is each member's own, or it would have seen the patients that stop the
training; patients are bags of tiles, pooled by gated attention, instead of regions through T2T-ViT; eq. 2 is divided
by the number of events; tied times by Breslow or Efron; balance as in `modulation`. The risk of a patient with one
modality, and the monitor, is theta^u, the branch's part of eq. 1; such patients join the likelihood as strata of their
own. Fusions that are not linear have no such parts: there each branch has a linear head, trained beside the fusion on
its vector without touching the branch (unless the balance rule says so).
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from histoweave.rng import derive_seed
from histoweave.survival.bags import Batch, BatchSource, FeatureScale
from histoweave.survival.balance import BRANCHES, balancing
from histoweave.survival.baseline import Baseline
from histoweave.survival.gene_encoders import (
    EncoderSettings,
    GeneGraphEncoder,
    RawEncoder,
    ScgptSettings,
    panel_rule,
)
from histoweave.survival.interface import EXPRESSION, SLIDE, Context, Needs, Patients, Prediction
from histoweave.survival.modulation import BalanceSettings
from histoweave.survival.path_gptomic_inputs import (
    Inputs,
    Profile,
    fit_profile,
    load_module,
    make_encoder,
    run_frozen,
    stage_one,
    state_of_module,
    wants_stage_one,
)
from histoweave.survival.path_gptomic_members import fit_alteration_panels, fit_panels, member_parts
from histoweave.survival.path_gptomic_network import (
    OWN_LOSS_TRAINS_BRANCH,
    NetworkSettings,
    Panel,
    PathGptomic,
    fused_loss,
    own_losses,
)
from histoweave.survival.path_gptomic_risks import Baselines, fit_baselines, member_prediction
from histoweave.survival.regulation import Genomic, Regulated, RegulationSettings, deconvolve
from histoweave.survival.train import TrainSettings, outputs_of, train_network

USES = frozenset({"gene_embedding", "cells"})  # what `fit` looks for in its context
_FLAT = 1e-6
_ALTERATION_CLIP_SD = 5.0


@dataclass(frozen=True)
class PathGptomicSettings:
    """Settings of the method; see the schema for each key's meaning, range and default."""

    section: ClassVar[str] = "survival.path_gptomic"
    modalities: tuple[str, ...]
    alterations: bool
    alteration_panel: int
    fusion: str
    ties: str
    members: int
    encoder: EncoderSettings
    regulation: RegulationSettings
    balance: BalanceSettings
    network: NetworkSettings
    training: TrainSettings


Settings = PathGptomicSettings


_NESTED = {
    "regulation": RegulationSettings,
    "balance": BalanceSettings,
    "network": NetworkSettings,
    "training": TrainSettings,
}


def settings_from(values: Mapping) -> PathGptomicSettings:
    """Settings from the JSON of a bundle."""
    encoder = dict(values["encoder"]) | {"scgpt": ScgptSettings(**values["encoder"]["scgpt"])}
    nested = {name: kind(**values[name]) for name, kind in _NESTED.items()} | {"encoder": EncoderSettings(**encoder)}
    return PathGptomicSettings(**(dict(values) | nested | {"modalities": tuple(values["modalities"])}))


def needs(settings: PathGptomicSettings) -> Needs:
    """Return what a patient must have: one of the model's modalities."""
    names = {"slide": SLIDE, "gene": EXPRESSION}
    either = frozenset({"|".join(names[modality] for modality in settings.modalities)})
    return Needs(train=either, predict=either)


def fit(
    train: Patients, validation: Patients, *, settings: PathGptomicSettings, context: Context
) -> "FittedPathGptomic":
    """Fit inputs, stage 1 (where it runs) and the members of stage 2; see `interface`."""
    train.require(needs(settings).train, method="path_gptomic")
    contexts = [dataclasses.replace(context, names=(*context.names, f"member {m}")) for m in range(settings.members)]
    parts = member_parts(train, validation, contexts, shared=shares_chosen_panel(train, settings, context))
    inputs, regulated, panels = fit_inputs([part[0] for part in parts], settings, context)
    networks, histories = [], []
    for own, part, panel in zip(contexts, parts, panels, strict=True):
        network = make_network(settings, inputs, regulated, own, train=part[0], panel=panel)
        own_sources = [inputs.source(patients, device=context.device) for patients in part]
        histories.append(train_member(network, *own_sources, settings=settings, context=own))
        networks.append(network)
    sources = [inputs.source(part, device=context.device) for part in (train, validation)]
    baselines = tuple(fit_baselines(network, sources, settings.training) for network in networks)
    history = [*([] if regulated is None else regulated.report), *mean_history(histories)]
    n_features = len(train.feature_names)
    return FittedPathGptomic(settings, inputs, tuple(networks), baselines, regulated, n_features, tuple(history))


def shares_chosen_panel(train: Patients, settings: PathGptomicSettings, context: Context) -> bool:
    """Whether stage 1 binds all members to one panel, and that is chosen by outcome."""
    staged = "gene" in settings.modalities and wants_stage_one(settings.regulation, context)
    return staged and panel_rule(train.expression_scale, settings.encoder) == "cox"


def fit_inputs(
    parts: Sequence[Patients], settings: PathGptomicSettings, context: Context
) -> tuple[Inputs, Regulated | None, list[Panel]]:
    """Everything before stage 2, from the members' training parts alone: inputs, stage 1, each member's panel."""
    train, genes, changes = parts[0], [None] * len(parts), [None] * len(parts)
    profile = alterations = regulated = None
    if "gene" in settings.modalities:
        if wants_stage_one(settings.regulation, context):
            profile = fit_profile(train, settings.encoder, context, staged=True)
            regulated = stage_one(profile, settings.encoder, settings.regulation, context)
        else:
            profile, genes = fit_panels(parts, settings.encoder, context)
        if settings.alterations:
            limits = {"clip": _ALTERATION_CLIP_SD, "panel": settings.alteration_panel}
            alterations, changes = fit_alteration_panels(parts, **limits)
    panels = [Panel(*columns) for columns in zip(genes, changes, strict=True)]
    clip = settings.network.feature_clip_sd
    tiles = FeatureScale.fitted(train.bags, clip=clip) if "slide" in settings.modalities else None
    inputs = Inputs(profile, tiles, alterations, None, None, None)
    if regulated is None or not settings.regulation.freeze:
        return inputs, regulated, panels
    z = run_frozen(regulated.network, inputs.profiles(train)[train.has(EXPRESSION)])
    sd = z.std(axis=0)
    sd = np.where(sd > _FLAT, sd, np.inf).astype(np.float32)
    return dataclasses.replace(inputs, frozen=regulated.network, z_mean=z.mean(axis=0), z_sd=sd), regulated, panels


def make_network(
    settings: PathGptomicSettings,
    inputs: Inputs,
    regulated: Regulated | None,
    context: Context,
    *,
    train: Patients,
    panel: Panel,
) -> PathGptomic:
    """Stage 2's network with fresh weights; a regulated encoder that may be tuned is copied into it."""
    genomic = None
    if inputs.profile is not None and inputs.frozen is None:
        values, profile = inputs.profiles(train)[train.has(EXPRESSION)], inputs.profile
        if panel.gene is not None:
            values, profile = values[:, panel.gene], profile.only({profile.genes[column] for column in panel.gene})
        genomic = copy.deepcopy(regulated.network) if regulated else fresh_genomic(profile, settings, context)
        genomic.to("cpu").calibrate(torch.from_numpy(values))
    torch.manual_seed(derive_seed(context.seed, *context.names, "weights"))
    shape = {"n_features": len(train.feature_names), "panel": panel}
    return build_network(settings, inputs, genomic, **shape).to(context.device)


def build_network(
    settings: PathGptomicSettings, inputs: Inputs, genomic: Genomic | None, *, n_features: int, panel: Panel
) -> PathGptomic:
    """Network of the sizes that `inputs` gives."""
    return PathGptomic(
        settings.modalities,
        settings.network,
        fusion=settings.fusion,
        rule=settings.balance.rule,
        genomic=genomic,
        z_width=inputs.z_width if genomic is None else settings.regulation.hidden,
        n_features=n_features,
        n_alterations=0 if inputs.alterations is None else len(inputs.alterations.names),
        panel=panel,
    )


def fresh_genomic(profile: Profile, settings: PathGptomicSettings, context: Context) -> Genomic:
    """Unregulated gene encoder with MLP_A."""
    encoder = make_encoder(profile, settings.encoder, context, names=("encoder",))
    torch.manual_seed(derive_seed(context.seed, *context.names, "MLP_A"))
    own = settings.regulation
    return Genomic(encoder, hidden=own.hidden, layers=own.fresh_layers, dropout=settings.network.dropout)


def train_member(
    network: PathGptomic,
    train: BatchSource,
    validation: BatchSource,
    *,
    settings: PathGptomicSettings,
    context: Context,
) -> list[dict]:
    """Train one network in place under the balance rule; returns its curve."""
    fused = partial(fused_loss, ties=settings.ties)
    if len(settings.modalities) == 1:
        return train_network(network, train, validation, loss=fused, settings=settings.training, context=context)
    own = partial(own_losses, ties=settings.ties)
    weight = settings.balance.unimodal_weight if settings.balance.rule in OWN_LOSS_TRAINS_BRANCH else 1.0

    def weighted(outputs: Mapping[str, Tensor], targets: Batch) -> Tensor:
        return weight * own(outputs, targets)

    def both(outputs: Mapping[str, Tensor], targets: Batch) -> Tensor:
        return fused(outputs, targets) + weighted(outputs, targets)

    hooks = balancing(
        network,
        network.branches(),
        settings=settings.balance,
        training=settings.training,
        losses=(fused, weighted),
        sources=(train, validation),
    )
    return train_network(
        network,
        train,
        validation,
        loss=both if network.own_losses_train else fused,
        judge=fused,
        settings=settings.training,
        context=context,
        **vars(hooks),
    )


def mean_history(histories: Sequence[Sequence[Mapping]]) -> list[dict]:
    """Mean of the members' curves, row by row of (epoch, part, quantity), as far as all members go."""
    collected: dict[tuple, list[float]] = {}
    for row in (row for history in histories for row in history):
        collected.setdefault((row["epoch"], row["part"], row["quantity"]), []).append(row["value"])
    keys = ("epoch", "part", "quantity")
    common = {key: values for key, values in collected.items() if len(values) == len(histories)}
    return [dict(zip(keys, key, strict=True)) | {"value": float(np.mean(v))} for key, v in common.items()]


@dataclass(frozen=True)
class FittedPathGptomic:
    """Fitted networks; see `interface.Fitted`. baselines : per member, kind of risk -> its baseline hazard."""

    settings: PathGptomicSettings
    inputs: Inputs
    networks: tuple[PathGptomic, ...]
    baselines: tuple[Baselines, ...]
    regulated: Regulated | None
    n_features: int
    history: tuple[Mapping, ...]

    def source(self, patients: Patients) -> BatchSource:
        """Batches of `patients` as the networks take them."""
        return self.inputs.source(patients, device=next(self.networks[0].parameters()).device)

    def explained(self, patients: Patients) -> tuple[Sequence[nn.Module], BatchSource, dict[str, tuple[str, ...]]]:
        """Networks that take genes also where a frozen encoder stands before them, their batches, names of inputs."""
        device = next(self.networks[0].parameters()).device
        return self.inputs.before_encoder(self.networks, patients, device=device)

    def predict(self, patients: Patients, horizons_days: Sequence[float]) -> Prediction:
        """Risk and survival of every patient with one of the model's modalities; the mean over members.

        Risks are centred per kind on the training part, so that patients with one modality stand in one ranking with
        the others. `more` holds the branches' own risks (NaN where a modality is missing) and, after stage 1, the
        deconvolved cell-type proportions.
        """
        patients.require(needs(self.settings).predict, method="path_gptomic")
        source = self.source(patients)
        has = {f"has_{name}": source.vectors[f"has_{name}"].numpy() > 0 for name in BRANCHES}
        parts = []
        for network, baselines in zip(self.networks, self.baselines, strict=True):
            outputs = outputs_of(network, source, self.settings.training)
            values = {name: tensor.cpu().numpy() for name, tensor in outputs.items()}
            parts.append(member_prediction(values, has, baselines, horizons_days))
        mean = {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}
        more = {name: values for name, values in mean.items() if name not in ("risk", "survival")}
        return Prediction(mean["risk"], mean["survival"], more | self._proportions(patients))

    @torch.no_grad()
    def attention(self, patients: Patients) -> list[np.ndarray]:
        """Per patient the (tile,) attention, which sums to 1, as the mean over members; empty without a slide."""
        source = self.source(patients)
        found = []
        for one in range(len(patients)):
            batch = source.batch([one], stream=True)
            weights = [network.pooling(batch.tiles, batch.mask)[1][0][batch.mask[0]] for network in self.networks]
            found.append(torch.stack(weights).mean(0).cpu().numpy().astype(float))
        return found

    def _proportions(self, patients: Patients) -> dict[str, np.ndarray]:
        """Deconvolved proportions (patient, type), NaN without expression."""
        if self.regulated is None:
            return {}
        found = np.full((len(patients), len(self.regulated.types)), np.nan)
        has = patients.has(EXPRESSION)
        if has.any():
            found[has] = deconvolve(self.regulated, self.inputs.profiles(patients)[has])
        return {f"proportion_{name}": found[:, column] for column, name in enumerate(self.regulated.types)}

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays by name, and the JSON-able rest; `restore` is the inverse."""
        arrays, meta = self.inputs.state()
        meta |= {"settings": dataclasses.asdict(self.settings), "baselines": [], "n_features": self.n_features}
        for member, (network, baselines) in enumerate(zip(self.networks, self.baselines, strict=True)):
            arrays |= state_of_module(f"member{member}", network)
            found = {kind: baseline.state() for kind, baseline in baselines.items()}
            for kind, (own, _) in found.items():
                arrays |= {f"curve{member}.{kind}.{name}": array for name, array in own.items()}
            meta["baselines"].append({kind: own for kind, (_, own) in found.items()})
        if self.regulated is not None:
            meta["types"] = list(self.regulated.types)
            arrays |= state_of_module("stage1", self.regulated.network) | state_of_module("types", self.regulated.head)
        return arrays, meta


def restore(tensors: Mapping[str, np.ndarray], meta: Mapping) -> FittedPathGptomic:
    """Inverse of `FittedPathGptomic.state`."""
    settings = settings_from(meta["settings"])
    regulated = None
    if "types" in meta:
        genomic = load_genomic("stage1", tensors, settings, staged=True)
        head = nn.Linear(settings.regulation.hidden, len(meta["types"]))
        regulated = Regulated(genomic, load_module("types", head, tensors), tuple(meta["types"]), ())
    frozen = regulated.network if regulated else None
    inputs = Inputs.restored(tensors, meta, frozen=frozen, scgpt=settings.encoder.scgpt)
    networks, baselines = [], []
    for member, kinds in enumerate(meta["baselines"]):
        prefix = f"member{member}"
        genomic = None
        if inputs.profile is not None and inputs.frozen is None:
            genomic = load_genomic(f"{prefix}.genomic", tensors, settings, staged=regulated is not None)
        columns = {name: tensors.get(f"{prefix}.{name}_columns") for name in ("gene", "alterations")}
        shape = {"n_features": meta["n_features"], "panel": Panel(**columns)}
        network = build_network(settings, inputs, genomic, **shape)
        networks.append(load_module(prefix, network, tensors))
        baselines.append({kind: _curve(tensors, f"curve{member}.{kind}.", own) for kind, own in kinds.items()})
    return FittedPathGptomic(settings, inputs, tuple(networks), tuple(baselines), regulated, meta["n_features"], ())


def load_genomic(
    prefix: str, tensors: Mapping[str, np.ndarray], settings: PathGptomicSettings, *, staged: bool
) -> Genomic:
    """Gene encoder with MLP_A from a bundle's arrays; staged : stage 1 had run."""
    own = settings.regulation
    vectors, mean = tensors.get(f"{prefix}.encoder.vectors"), tensors[f"{prefix}.mean"]
    size = settings.encoder
    if vectors is None:
        encoder = RawEncoder(len(mean))
    else:
        beside = len(mean) - size.heads * size.token_dim
        encoder = GeneGraphEncoder(vectors, dim=size.token_dim, heads=size.heads, beside=beside)
    layers = own.layers if staged else own.fresh_layers
    genomic = Genomic(encoder, hidden=own.hidden, layers=layers, dropout=own.dropout)
    return load_module(prefix, genomic, tensors)


def _curve(tensors: Mapping[str, np.ndarray], prefix: str, meta: Mapping) -> Baseline:
    own = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
    return Baseline.restored(own, dict(meta))
