"""G-HANet: slides alone predict, genomics teaches where to look.

Source: Wang et al. 2025, "Histo-genomic knowledge association for cancer prognosis from histopathology whole slide
images", IEEE TMI 44(5):2170-2181 (doi:10.1109/TMI.2025.3526816, arXiv:2403.10040).

| symbol | name here | axes | meaning |
|---|---|---|---|
| X | tiles | (patient, tile, feature) | bag of tile features |
| Z | z | (patient, tile, hidden) | tile embedding of the associating branch (CAB) |
| T | tokens | (group, hidden) | one learned query per gene group |
| R | r | (patient, group, hidden) | group embeddings, from which expression is reconstructed |
| S, M | scores, m | (patient, group, head, tile), mean over heads | logits of CAB's second attention |
| ghat_i | reconstruction | (patient, gene) | predicted expression of group i's gated genes |
| w, E1 | morphology, e1 | (patient, tile) | gated attention of the survival branch (HSB) |
| E2 | e2 | (patient, group, tile) | attention of CAB on each group's top tiles, without gradient |
| G | hyper | (patient, group, tile) | hyper-attention (E1 + E2) / 2 |
| h | sigmoid(logits) | (patient, bin) | hazards of the time bins |

Deviations, each for a reason:
* keys and values are never formed for all tiles: queries take up the key matrix, values are projected after pooling.
  The result is the same (both are linear without bias); time and memory are about halved.
* the gene gate ranks genes over unique training patients and always keeps some per group; the published one tests
  resampled patients and may keep none. It stands in the bundle.
* time bins are quantiles of the training part's events only; the published ones saw the test patients.
* bags of fewer than 5 tiles keep one tile per hyperedge; expression is clipped, since public z-scores reach 36,893.
* every training patient counts once per epoch; the epoch is picked on an inner part, never on the test fold.
* groups may be any number and from any source; patients without expression train the survival branch only.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from histoweave.rng import generator
from histoweave.survival.attention import FeedForward, FoldedAttention
from histoweave.survival.bags import Batch, BatchSource, FeatureScale, GatedAttention, masked_softmax
from histoweave.survival.discrete import TimeBins
from histoweave.survival.gene_groups import GateSettings, gate, group_columns
from histoweave.survival.interface import SLIDE, Context, Patients
from histoweave.survival.losses import discrete_loss
from histoweave.survival.network import (
    BinCurve,
    NetworkFitted,
    load_network,
    no_vectors,
    restored_curve,
    restored_scale,
    seeded,
)
from histoweave.survival.profiles import ProfileScale
from histoweave.survival.tile_layers import embedded_and_normed, fused, pooled_hidden
from histoweave.survival.train import Outputs, TrainSettings, train_network

NAME = "ghanet"
RESUMES = True
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({SLIDE})
USES = frozenset({"gene_groups"})


@dataclass(frozen=True)
class GhanetSettings:
    """Sizes as in `GhanetShape`, and what is trained.

    bins : time bins; top_share : share of tiles per hyperedge; hyper_attention : off = morphology attention alone
    reconstruction_weight : 0 = the ablation without genomics; permute_genomics : the ablation with others' genomics
    clip, expression_clip : bounds of standardised features and expression, in SDs
    """

    section: ClassVar[str] = "survival.ghanet"
    bins: int
    hidden: int
    heads: int
    feed_forward: int
    dropout: float
    top_share: float
    hyper_attention: bool
    reconstruction_weight: float
    permute_genomics: bool
    clip: float
    expression_clip: float
    gate: GateSettings
    training: TrainSettings


Settings = GhanetSettings


@dataclass(frozen=True)
class GhanetShape:
    """Sizes of the network; group_sizes : genes predicted per group."""

    n_features: int
    group_sizes: tuple[int, ...]
    bins: int
    hidden: int
    heads: int
    feed_forward: int
    dropout: float
    top_share: float
    hyper_attention: bool


class AssociatingBranch(nn.Module):
    """CAB: which tiles speak of which gene group; forward: tiles, mask -> r, reconstruction, m."""

    def __init__(self, shape: GhanetShape) -> None:
        super().__init__()
        hidden, groups = shape.hidden, len(shape.group_sizes)
        self.embed = nn.Sequential(nn.Linear(shape.n_features, hidden), nn.ReLU(), nn.Dropout(shape.dropout))
        self.tokens = nn.Parameter(torch.randn(groups, hidden))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(6))
        self.attend = FoldedAttention(hidden, shape.heads, dropout=shape.dropout)  # one for both layers, as published
        self.forwards = nn.ModuleList(FeedForward(hidden, shape.feed_forward, dropout=shape.dropout) for _ in range(2))
        self.decoders = nn.ModuleList(
            nn.Sequential(
                nn.Linear(hidden, hidden),
                nn.LayerNorm(hidden),
                nn.ELU(),
                nn.Dropout(shape.dropout),
                nn.Linear(hidden, size),
            )
            for size in shape.group_sizes
        )

    def forward(self, tiles: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return r (patient, group, hidden), reconstruction (patient, gene), m (patient, group, tile)."""
        norm = self.norms
        if fused(tiles):  # LN2(Z), the same in both layers
            queries = len(self.tokens) * self.attend.heads
            context = embedded_and_normed(self.embed, norm[1], tiles, queries=queries, times=2)
        else:
            context = norm[1](self.embed(tiles))
        first, _ = self.attend(norm[0](self.tokens)[None], context, mask)  # no residual from T in layer 1
        first = self.forwards[0](norm[2](first)) + first
        second, scores = self.attend(norm[3](self.tokens + first), context, mask)
        r = norm[5](self.forwards[1](norm[4](second)) + second)
        reconstruction = torch.cat([decode(r[:, group]) for group, decode in enumerate(self.decoders)], dim=1)
        return r, reconstruction, scores.mean(dim=2)


class SurvivalBranch(nn.Module):
    """HSB: hyper-attention over tiles, joined with the group embeddings."""

    def __init__(self, shape: GhanetShape) -> None:
        super().__init__()
        hidden, groups = shape.hidden, len(shape.group_sizes)
        self.top_share, self.hyper_attention = shape.top_share, shape.hyper_attention
        self.embed = nn.Sequential(
            nn.Linear(shape.n_features, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Dropout(shape.dropout)
        )
        self.morphology = GatedAttention(hidden, hidden // 2, dropout=0.0)
        layers = [[nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.ReLU()] for _ in range(2)]
        self.edge = nn.Sequential(*layers[0], *layers[1])
        self.between = FoldedAttention(hidden, shape.heads, dropout=shape.dropout)
        self.norm = nn.LayerNorm(hidden)
        self.forwards = FeedForward(hidden, shape.feed_forward, dropout=shape.dropout)
        self.squeeze = nn.Sequential(
            nn.Linear(hidden, hidden // 2), nn.LayerNorm(hidden // 2), nn.ReLU(), nn.Dropout(shape.dropout)
        )
        self.hazards = nn.Linear(groups * (hidden // 2), shape.bins)

    def forward(
        self, tiles: torch.Tensor, mask: torch.Tensor, r: torch.Tensor, m: torch.Tensor, top: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (patient, bin) and hyper-attention (patient, group, tile); `top`: given hyperedges."""
        p, hyper = self.pooled(tiles, mask, m, top)
        return self.logits(p, r), hyper

    def pooled(
        self, tiles: torch.Tensor, mask: torch.Tensor, m: torch.Tensor, top: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return p (patient, group, hidden), tiles pooled under the hyper-attention, and the hyper-attention."""
        e2 = m[:, :0]  # (patient, group, tile); no group without hyper-attention
        if self.hyper_attention:
            m = m.detach() if self.training else m  # no gradient in training, as published; whole for attributions
            top = top_tiles(m.detach(), mask, share=self.top_share) if top is None else top
            e2 = masked_softmax(m, top)
        h = None
        if fused(tiles):
            by_e1, by_e2, w = pooled_hidden(self.embed, self.morphology, tiles, mask, e2)
        else:
            h = self.embed(tiles)
            w = self.morphology(h)
        e1 = masked_softmax(w, mask)[:, None]
        hyper = (e1 + e2) / 2 if self.hyper_attention else e1.expand_as(m)
        if h is not None:
            p = hyper @ h  # (patient, group, hidden)
        elif self.hyper_attention:
            p = (by_e1[:, None] + by_e2) / 2
        else:
            p = by_e1[:, None].expand(-1, m.shape[1], -1)
        return p, hyper

    def logits(self, p: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        """(patient, bin) from pooled tiles and group embeddings, both (patient, group, hidden)."""
        o = self.edge(p) + p
        f = (o + r) / 2
        f = self.between(f, f, torch.ones(f.shape[:2], dtype=torch.bool, device=f.device))[0] + f
        f = self.forwards(self.norm(f)) + f
        return self.hazards(self.squeeze(f).flatten(1))


def top_tiles(m: torch.Tensor, mask: torch.Tensor, *, share: float) -> torch.Tensor:
    """(patient, group, tile) True for the floor(share * N) tiles, one at least, with the largest `m` of each row."""
    count = (mask.sum(dim=1) * share).floor().long().clamp(min=1)  # k per patient
    values = m.masked_fill(~mask[:, None], -torch.inf)
    ranked = values.sort(dim=2, descending=True).values
    threshold = ranked.gather(2, (count - 1)[:, None, None].expand(-1, m.shape[1], 1))  # k-th largest
    return (values >= threshold) & mask[:, None]


class Ghanet(nn.Module):
    """Both branches."""

    def __init__(self, shape: GhanetShape) -> None:
        super().__init__()
        self.cab = AssociatingBranch(shape)
        self.hsb = SurvivalBranch(shape)

    def forward(self, batch: Batch, top: torch.Tensor | None = None) -> Outputs:
        """Return ``risk`` (patient,), ``logits`` (patient, bin) and ``reconstruction`` (patient, gene)."""
        r, reconstruction, m = self.cab(batch.tiles, batch.mask)
        logits, _ = self.hsb(batch.tiles, batch.mask, r, m, top)
        return {"risk": risk_of(logits), "logits": logits, "reconstruction": reconstruction}

    def explained(self, batch: Batch) -> Callable[[Batch], Outputs]:
        """Return the network with the hyperedges of `batch` held: a choice of tiles has no gradient to integrate."""
        with torch.no_grad():
            top = top_tiles(self.cab(batch.tiles, batch.mask)[2], batch.mask, share=self.hsb.top_share)
        return lambda other: self(other, top.expand(len(other), -1, -1))

    def from_groups(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
        """Group embeddings r (1, group, hidden) of a batch of one patient, and what they make of its pooled tiles.

        Returns r of tiles that are all the training mean, r of the batch, and r (point, group, hidden) -> risk (point,)
        """
        start = self.cab(torch.zeros_like(batch.tiles), batch.mask)[0]
        r, _, m = self.cab(batch.tiles, batch.mask)
        p, _ = self.hsb.pooled(batch.tiles, batch.mask, m, None)
        return start, r, lambda points: risk_of(self.hsb.logits(p.expand_as(points), points))

    def attention(self, batch: Batch) -> torch.Tensor:
        """(patient, tile) hyper-attention, mean over groups."""
        r, _, m = self.cab(batch.tiles, batch.mask)
        return self.hsb(batch.tiles, batch.mask, r, m)[1].mean(dim=1)


def risk_of(logits: torch.Tensor) -> torch.Tensor:
    """(patient,) -sum_t S_t of the hazards' logits (patient, bin)."""
    return -torch.cumprod(1 - torch.sigmoid(logits), dim=1).sum(dim=1)


@dataclass(frozen=True)
class GhanetLoss:
    """L = L_surv + weight * sum_i [ (1 - cos(ghat_i, g_i))^3 + MSE(ghat_i, g_i) ], over patients with expression.

    group_sizes : genes per group, in the order of the reconstruction
    """

    weight: float
    group_sizes: tuple[int, ...]

    def __call__(self, outputs: Outputs, targets: Batch) -> torch.Tensor:
        """Return the mean loss over patients."""
        survival = discrete_loss(outputs["logits"], targets.vectors["time_bin"], targets.event)
        if self.weight == 0:
            return survival
        truth = targets.vectors["expression"]
        known = ~torch.isnan(truth).any(dim=1)
        if not known.any():
            return survival
        pairs = zip(
            outputs["reconstruction"][known].split(self.group_sizes, dim=1),
            truth[known].split(self.group_sizes, dim=1),
            strict=True,
        )
        parts = [(1 - cosine_similarity(a, b, dim=1)) ** 3 + ((a - b) ** 2).mean(dim=1) for a, b in pairs]
        return survival + self.weight * torch.stack(parts).sum(dim=0).mean()


@dataclass(frozen=True)
class Targets:
    """What the training part teaches about the targets.

    bins : of time; profile : scale of all genes; columns : (gene,) gated columns of it, group after group
    group_sizes : genes per group; groups : their names
    """

    bins: TimeBins
    profile: ProfileScale
    columns: np.ndarray
    group_sizes: tuple[int, ...]
    groups: tuple[str, ...]

    @property
    def chosen(self) -> ProfileScale:
        """Scale of the gated genes alone, group after group."""
        genes = tuple(self.profile.genes[column] for column in self.columns)
        mean, sd = self.profile.mean[self.columns], self.profile.sd[self.columns]
        return replace(self.profile, genes=genes, mean=mean, sd=sd)

    def vectors(self, patients: Patients) -> dict[str, np.ndarray]:
        """``time_bin`` (patient,) and ``expression`` (patient, gene); rows of NaN without expression."""
        return {"time_bin": self.bins.assign(patients.time_days), "expression": expression_of(self.chosen, patients)}


def expression_of(scale: ProfileScale, patients: Patients) -> np.ndarray:
    """(patient, gene) of the genes of `scale`, standardised and clipped; rows of NaN without expression."""
    if patients.expression is None:
        return np.full((len(patients), len(scale.genes)), np.nan)
    return scale(patients.expression, patients.genes, patients.expression_scale)


def learned_targets(train: Patients, *, settings: GhanetSettings, context: Context) -> Targets:
    """Time bins, gene scale and gene gate from the training part."""
    bins = TimeBins.fitted(train.time_days, train.event, bins=settings.bins)
    profile, members = group_columns(train, context.gene_groups, clip=settings.expression_clip, method=NAME)
    known = train.subset(train.has("expression"))
    values = profile(known.expression, known.genes, known.expression_scale)
    chosen = gate(values, known.time_days, known.event, list(members.values()), settings.gate)
    return Targets(bins, profile, np.concatenate(chosen), tuple(map(len, chosen)), tuple(members))


def fit(train: Patients, validation: Patients, *, settings: GhanetSettings, context: Context) -> NetworkFitted:
    """Train both branches at once; the inner validation part picks the epoch by its survival loss."""
    for part in (train, validation):
        part.require(NEEDS_TRAIN, method=NAME)
    targets = learned_targets(train, settings=settings, context=context)
    scale = FeatureScale.fitted(train.bags, clip=settings.clip)
    shape = GhanetShape(
        n_features=len(train.feature_names),
        group_sizes=targets.group_sizes,
        bins=targets.bins.count,
        **{name: getattr(settings, name) for name in _SHARED},
    )
    sources = []
    for number, part in enumerate((train, validation)):
        vectors = targets.vectors(part)
        if settings.permute_genomics:
            rng = generator(context.seed, *context.names, "permuted genomics", number)
            vectors["expression"] = vectors["expression"][rng.permutation(len(part))]
        sources.append(BatchSource(part, scale=scale, vectors=vectors, device=context.device))
    network = seeded(Ghanet, context, shape)
    loss = GhanetLoss(settings.reconstruction_weight, targets.group_sizes)
    judge = GhanetLoss(0.0, targets.group_sizes)
    history = train_network(network, *sources, loss=loss, judge=judge, settings=settings.training, context=context)
    arrays, profile = targets.chosen.state("targets")
    meta = {
        "shape": asdict(shape),
        "groups": list(targets.groups),
        "targets": profile,
        "training": asdict(settings.training),
    }
    curve = BinCurve(targets.bins)
    return _fitted(network, scale, settings.training, curve, meta, arrays, device=context.device, history=history)


_SHARED = ("hidden", "heads", "feed_forward", "dropout", "top_share", "hyper_attention")


def _fitted(
    network: Ghanet,
    scale: FeatureScale,
    training: TrainSettings,
    curve: BinCurve,
    meta: dict,
    arrays: dict[str, np.ndarray],
    *,
    device: object,
    history: list[dict],
) -> NetworkFitted:
    chosen = ProfileScale.restored(arrays, meta["targets"], "targets")
    shown = {"arrays": arrays, "more": ("reconstruction",), "history": history}
    shown["truth"] = partial(expression_of, chosen)
    return NetworkFitted(NAME, NEEDS_PREDICT, network, scale, no_vectors, training, curve, device, meta, **shown)


def restore(tensors: dict[str, np.ndarray], meta: dict) -> NetworkFitted:
    """Inverse of ``state``."""
    shape = GhanetShape(**{**meta["shape"], "group_sizes": tuple(meta["shape"]["group_sizes"])})
    network = load_network(Ghanet(shape), tensors, method=NAME)
    arrays = {name: tensors[name] for name in ("targets.mean", "targets.sd")}
    curve, scale = restored_curve(tensors, meta), restored_scale(tensors, meta)
    return _fitted(network, scale, TrainSettings(**meta["training"]), curve, meta, arrays, device="cpu", history=[])
