"""What stands before Path-GPTOmic's network: from patients to its input tensors, fitted on the training part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from histoweave.device import torch_generator
from histoweave.errors import InputError
from histoweave.rng import derive_seed, generator
from histoweave.survival.bags import Batch, BatchSource, FeatureScale
from histoweave.survival.gene_encoders import (
    EncoderSettings,
    GeneGraphEncoder,
    ProfileInput,
    RawEncoder,
    ScgptSettings,
    fit_input,
    panel_vectors,
)
from histoweave.survival.interface import EXPRESSION, SLIDE, Context, Patients
from histoweave.survival.omics import AlterationInput
from histoweave.survival.regulation import (
    Genomic,
    Regulated,
    RegulationSettings,
    make_mixtures,
    marker_scores,
    regulate,
)
from histoweave.survival.scgpt_input import ScgptInput, fit_scgpt, restored_scgpt

Profile = ProfileInput | ScgptInput
_SHARPNESS = 6.0


@dataclass(frozen=True)
class Inputs:
    """Turns patients into the network's inputs.

    profile : of RNA; tiles : scaling of tile features; alterations : of copy numbers and mutations
    frozen : gene encoder that stage 2 leaves as it is, with mean and sd of its z over the training part
    """

    profile: Profile | None
    tiles: FeatureScale | None
    alterations: AlterationInput | None
    frozen: Genomic | None
    z_mean: np.ndarray | None
    z_sd: np.ndarray | None

    @property
    def z_width(self) -> int:
        """Length of z where the regulated encoder stays frozen; 0 elsewhere."""
        return 0 if self.z_mean is None else len(self.z_mean)

    def profiles(self, patients: Patients) -> np.ndarray:
        """Encoder input (patient, gene) float32; zeros for patients without expression."""
        has = patients.has(EXPRESSION)
        values = np.zeros((len(patients), self.profile.width), dtype=np.float32)
        if has.any():
            values[has] = self.profile(patients.expression[has], patients.genes)
        return values

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays, and the JSON-able rest, without the frozen encoder."""
        arrays, meta = ({}, {}) if self.profile is None else self.profile.state()
        meta = {"profile": meta or None}
        if self.tiles is not None:
            arrays |= {"tiles.mean": self.tiles.mean, "tiles.sd": self.tiles.sd}
            meta["tile_clip"] = self.tiles.clip
        if self.alterations is not None:
            own, meta["alterations"] = self.alterations.state()
            arrays |= own
        if self.frozen is not None:
            arrays |= {"z.mean": self.z_mean, "z.sd": self.z_sd}
        return arrays, meta

    @classmethod
    def restored(
        cls, tensors: Mapping[str, np.ndarray], meta: Mapping, *, frozen: Genomic | None, scgpt: ScgptSettings
    ) -> "Inputs":
        """Inverse of `state`; `frozen` is used if it was frozen then, `scgpt` names the checkpoint if one was used."""
        profile = restored_profile(tensors, meta["profile"], scgpt) if meta["profile"] else None
        tiles = alterations = None
        if "tile_clip" in meta:
            tiles = FeatureScale(tensors["tiles.mean"], tensors["tiles.sd"], meta["tile_clip"])
        if "alterations" in meta:
            alterations = AlterationInput.restored(tensors, meta["alterations"])
        z_mean, z_sd = tensors.get("z.mean"), tensors.get("z.sd")
        return cls(profile, tiles, alterations, frozen if z_mean is not None else None, z_mean, z_sd)

    def source(self, patients: Patients, *, device: torch.device | str) -> BatchSource:
        """Batches of `patients` for the network."""
        vectors = {"has_gene": patients.has(EXPRESSION), "has_slide": patients.has(SLIDE)}
        if self.profile is not None:
            values = self.profiles(patients)
            frozen = self.frozen is not None
            vectors["gene"] = (run_frozen(self.frozen, values) - self.z_mean) / self.z_sd if frozen else values
        if self.alterations is not None:
            vectors["alterations"] = self.alterations(patients)
        return BatchSource(patients, scale=self.tiles, vectors=vectors, device=device)

    def before_encoder(
        self, networks: Sequence[nn.Module], patients: Patients, *, device: torch.device | str
    ) -> tuple[Sequence[nn.Module], BatchSource, dict[str, tuple[str, ...]]]:
        """The `networks` with the frozen encoder in front of them, batches for these, and names of their inputs.

        An scGPT embedding has no names: it is made from whole profiles.
        """
        names = {} if self.alterations is None else {"alterations": self.alterations.names}
        if isinstance(self.profile, ProfileInput):
            names["gene"] = self.profile.genes
        if self.frozen is None:
            return networks, self.source(patients, device=device), names
        z = (torch.as_tensor(part, dtype=torch.float32, device=device) for part in (self.z_mean, self.z_sd))
        encode = Standardised(self.frozen.to(device), *z).eval()
        source = replace(self, frozen=None, z_mean=None, z_sd=None).source(patients, device=device)
        return [Encoded(encode, network).eval() for network in networks], source, names


class Standardised(nn.Module):
    """(network(x) - mean) / sd."""

    def __init__(self, network: nn.Module, mean: torch.Tensor, sd: torch.Tensor) -> None:
        super().__init__()
        self.network, self.mean, self.sd = network, mean, sd

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """(patient, gene) -> (patient, hidden)."""
        return (self.network(values) - self.mean) / self.sd


class Encoded(nn.Module):
    """A network behind the encoder of its vector ``gene``."""

    def __init__(self, encode: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.encode, self.network = encode, network

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return what the network returns."""
        encoded = {"gene": self.encode(batch.vectors["gene"])}
        return self.network(replace(batch, vectors={**batch.vectors, **encoded}))


def restored_profile(tensors: Mapping[str, np.ndarray], meta: Mapping, scgpt: ScgptSettings) -> Profile:
    """Profile input of a bundle."""
    if "checkpoint_digest" in meta:
        return restored_scgpt(tensors, meta, scgpt)
    return ProfileInput.restored(tensors, meta)


@torch.no_grad()
def run_frozen(network: nn.Module, values: np.ndarray) -> np.ndarray:
    """Output of `network` in evaluation, in pieces: (sample, gene) -> (sample, hidden)."""
    device = next(network.parameters()).device
    pieces = torch.from_numpy(values).split(256)
    return torch.cat([network(piece.to(device)).cpu() for piece in pieces]).numpy()


def make_encoder(profile: Profile, settings: EncoderSettings, context: Context, *, names: tuple[str, ...]) -> nn.Module:
    """Encoder of `settings.kind` over the panel, with fresh weights drawn by `names`."""
    if settings.kind != "genegraph":  # nothing to learn before MLP_A
        return RawEncoder(profile.width)
    seed = derive_seed(context.seed, *context.names, *names)
    torch.manual_seed(seed)
    known = [gene for gene in profile.genes if gene in context.gene_embedding]  # they come first
    vectors = panel_vectors(context.gene_embedding, known)
    beside = len(profile.genes) - len(known)
    encoder = GeneGraphEncoder(vectors, dim=settings.token_dim, heads=settings.heads, beside=beside)
    encoder.start_at_groups(sharpness=_SHARPNESS, seed=seed)
    return encoder


def fit_profile(train: Patients, settings: EncoderSettings, context: Context, *, staged: bool) -> Profile:
    """Panel and scaling on the training patients that have expression; raises InputError if nobody has any.

    staged : stage 1 will run, so that the panel keeps to genes of the cells and holds markers of their types
    """
    has = train.has(EXPRESSION)
    if not has.any():
        msg = (
            "none of the training patients has expression. Give inputs.expression, or set "
            "survival.path_gptomic.modalities to [slide]."
        )
        raise InputError(msg)
    usable, markers = None, {}
    if staged:
        markers = marker_scores(context.cells)
        usable = set(markers)
    if settings.kind == "genegraph":
        if context.gene_embedding is None:
            msg = (
                "the genegraph encoder needs gene vectors: give inputs.datasets (or survival.gene_embedding), or set "
                "survival.path_gptomic.encoder.kind to 'raw'."
            )
            raise InputError(msg)
        known = set(context.gene_embedding)
        usable = known if usable is None else known & usable
    rows, scale = train.expression[has], train.expression_scale
    if settings.kind == "scgpt":
        own = {"settings": settings.scgpt, "seed": context.seed, "device": torch.device(context.device)}
        known_embeddings = context.more.get("embeddings")
        return fit_scgpt(rows, train.genes, scale=scale, usable=usable, **own, known=known_embeddings)
    outcome = train.time_days[has], train.event[has]
    shared = {"scale": scale, "outcome": outcome, "markers": markers, "settings": settings}
    profile = fit_input(rows, train.genes, usable=usable, **shared)
    if settings.kind != "genegraph" or settings.unknown_genes == "left_out" or staged:
        return profile
    unknown = set(train.genes) - usable
    return profile.beside(fit_input(rows, train.genes, usable=unknown, **shared)) if unknown else profile


def stage_one(profile: Profile, encoder: EncoderSettings, settings: RegulationSettings, context: Context) -> Regulated:
    """Regulate a fresh encoder on mixtures of the context's cells."""
    rng = generator(context.seed, *context.names, "mixtures")
    train, held_out, types, profiles = make_mixtures(context.cells, profile, settings=settings, rng=rng)
    module = make_encoder(profile, encoder, context, names=("stage 1",))
    torch.manual_seed(derive_seed(context.seed, *context.names, "stage 1", "weights"))
    network = Genomic(module, hidden=settings.hidden, layers=settings.layers, dropout=settings.dropout)
    order = torch_generator(context.seed, *context.names, "stage 1", "order")
    shared = {"settings": settings, "generator": order, "device": context.device}
    return regulate(network, train, held_out, types=types, profiles=profiles, **shared)


def wants_stage_one(settings: RegulationSettings, context: Context) -> bool:
    """Whether stage 1 runs; raises InputError where it must and there are no annotated cells."""
    if settings.use == "always" and context.cells is None:
        msg = (
            "regulation needs annotated single cells, and no dataset has cell types. Name their column as "
            "cell_type_column in datasets.tsv, or set survival.path_gptomic.regulation.use to 'never'."
        )
        raise InputError(msg)
    return settings.use != "never" and context.cells is not None


def state_of_module(prefix: str, module: nn.Module) -> dict[str, np.ndarray]:
    """Weights of `module` as arrays named ``prefix.name``."""
    return {f"{prefix}.{name}": value.detach().cpu().numpy() for name, value in module.state_dict().items()}


def load_module(prefix: str, module: nn.Module, tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """Inverse of `state_of_module`; leaves the module in evaluation mode."""
    own = {
        name.removeprefix(f"{prefix}."): torch.as_tensor(value)
        for name, value in tensors.items()
        if name.startswith(f"{prefix}.")
    }
    module.load_state_dict(own)
    return module.eval()
