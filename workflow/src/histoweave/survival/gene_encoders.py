"""Bulk RNA profile in, vector out: three encoders behind one call.

| encoder     | frozen input per patient               | network                                              |
|-------------|----------------------------------------|------------------------------------------------------|
| `genegraph` | value of each panel gene (patient, gene) | tokens from gene-graph vectors, attention pooling    |
| `scgpt`     | cell embedding (patient, dim)          | none (Cui et al. 2024, see `scgpt`)                  |
| `raw`       | standardised expression (patient, gene) | none: the control                                   |

What a patient's profile becomes is fixed inside the training part: the panel, clipping, means. The genegraph token of
gene g is W_e e_g + MLP(v_g); e_g is the gene's vector from the gene graphs and stays as it is. v_g is one of

- ``rank``: scGPT's rank bin of the gene within the panel of that profile (`scgpt.rank_bins`), from 0 to 1. Needs a true
  zero, thus counts, TPM or log2 TPM; z-scores are refused.
- ``standardised``: the log-scaled, clipped value in standard deviations of the training part, a third. For z-scored
  public tables, where ranks within a profile do not exist any more.

Pooling: a = softmax over genes of Q tanh(K e_g) + U h(v_g), h the hidden layer of the MLP, one row of Q and U per
head; the heads' queries start at groups of similar genes, so that the encoder begins as "mean value of each group" and
learns from there (ours).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor, nn

from histoweave.errors import InputError, shorten
from histoweave.survival.cox import cox_score
from histoweave.survival.scgpt import rank_bins

KINDS = ("genegraph", "raw", "scgpt")
_OF_GENES = ("lower", "upper", "mean", "sd")
_KEY_RIDGE = 0.3
_HEAD_SHARPNESS = 1.5
_UNITS_SLOPE = 10.0  # of a value unit over the whole range of values: about a tenth of it is where a unit changes
_OWN_PANEL = {"counts": "variance", "tpm": "variance", "log2_tpm": "variance", "zscore": "cox"}
_OWN_VALUE_SCALE = {"counts": "rank", "tpm": "rank", "log2_tpm": "rank", "zscore": "standardised"}


@dataclass(frozen=True)
class ScgptSettings:
    """The checkpoint and how a profile is given to it.

    checkpoint : folder with args.json, vocab.json, best_model.pt; aliases : TSV with columns alias, symbol
    tokens : ``panel`` (the most variable genes of the training part), ``all`` genes, or ``draws``: the mean over
        `draws` seeded choices; most_tokens : with `<cls>`, for panel and draws
    batch : profiles at once; least_match : floor of the share of genes that the vocabulary knows
    """

    checkpoint: str | None
    aliases: str | None
    tokens: str
    most_tokens: int
    draws: int
    batch: int
    least_match: float


@dataclass(frozen=True)
class EncoderSettings:
    """Which encoder, and its sizes.

    kind : one of `KINDS`
    values : ``rank``, ``standardised`` or ``auto`` (by the declared scale: rank unless z-scores)
    panel_genes : genes in the panel, chosen in the training part by panel_by : ``variance``, ``cox`` (score tests) or
        ``auto`` (variance unless z-scores, whose variance says nothing)
    unknown_genes : genes without a gene vector ``beside`` the tokens (a panel of their own), or ``left_out``
    n_bins : rank bins, with the zero bin
    clip_sd : bound of standardised values
    token_dim, heads : of the genegraph encoder; scgpt : of the scgpt encoder
    """

    kind: str
    values: str
    panel_genes: int
    panel_by: str
    unknown_genes: str
    n_bins: int
    clip_sd: float
    token_dim: int
    heads: int
    scgpt: ScgptSettings


def log_expression(expression: np.ndarray, scale: str) -> np.ndarray:
    """Put expression on a scale where differences are comparable.

    expression : (sample, gene); scale : ``counts`` (scaled to 10,000 a sample, log1p), ``tpm`` (log1p), others as given
    """
    if scale == "counts":
        depth = np.maximum(expression.sum(axis=1, keepdims=True), 1.0)
        return np.log1p(expression * (1e4 / depth))
    return np.log1p(expression) if scale == "tpm" else np.asarray(expression, dtype=float)


def linear_expression(expression: np.ndarray, scale: str, *, floor: float) -> np.ndarray:
    """Expression with a true zero: log2 TPM is taken back, with `floor` as the value of an unexpressed gene."""
    if scale != "log2_tpm":
        return expression
    return np.exp2(np.maximum(expression, floor)) - np.exp2(floor)


def unexpressed(expression: np.ndarray) -> float:
    """Value of an unexpressed gene in log2 TPM: the smallest one, log2 of what was added before the logarithm."""
    return float(expression.min())


def check_expression(expression: np.ndarray, genes: Sequence[str], scale: str) -> None:
    """Raise InputError for missing values, and for negative ones where counts or TPM are declared."""
    bad = ~np.isfinite(expression).all(axis=0)
    if bad.any():
        names = [gene for gene, is_bad in zip(genes, bad, strict=True) if is_bad]
        msg = (
            f"{len(names)} of {len(genes)} genes have missing expression: {shorten(names)}. Remove or fill these "
            "columns in the file of inputs.expression.path."
        )
        raise InputError(msg)
    negative = (expression < 0).any(axis=0)
    if scale in ("counts", "tpm") and negative.any():
        names = [gene for gene, is_bad in zip(genes, negative, strict=True) if is_bad]
        msg = (
            f"{len(names)} of {len(genes)} genes have negative expression ({shorten(names)}), which '{scale}' cannot "
            "have. Set inputs.expression.scale to what the table holds (zscore, log2_tpm)."
        )
        raise InputError(msg)


@dataclass(frozen=True)
class ProfileInput:
    """What turns profiles into the encoder's frozen input; fitted on the training part.

    genes : (panel,) names; scale : of the expression; values : ``rank`` or ``standardised``
    floor : log2 TPM of an unexpressed gene; n_bins; clip_sd
    lower, upper, mean, sd : (panel,) clipping points and moments of the log-scaled training values
    """

    genes: tuple[str, ...]
    scale: str
    values: str
    floor: float
    n_bins: int
    clip_sd: float
    lower: np.ndarray
    upper: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    @property
    def width(self) -> int:
        """Length of a profile's input."""
        return len(self.genes)

    def for_mixtures(self, mixtures: np.ndarray) -> "ProfileInput":
        """Return the input that mixtures of cells (mixture, panel) go through: their own scale and moments."""
        logged = np.log1p(mixtures)
        sd = logged.std(axis=0)
        moments = {"lower": logged.min(axis=0), "upper": logged.max(axis=0), "mean": logged.mean(axis=0)}
        return replace(self, scale="tpm", sd=np.where(sd > 1e-8, sd, np.inf), **moments)

    def __call__(self, expression: np.ndarray, genes: Sequence[str]) -> np.ndarray:
        """Input of each profile: expression (sample, gene) named by `genes` -> (sample, panel) float32."""
        columns = columns_of(self.genes, genes)
        check_expression(expression[:, columns], self.genes, self.scale)
        if self.values == "rank":
            linear = linear_expression(expression[:, columns], self.scale, floor=self.floor)
            return (rank_bins(linear, n_bins=self.n_bins) / (self.n_bins - 1)).astype(np.float32)
        logged = log_expression(expression, self.scale)[:, columns]
        scaled = (np.clip(logged, self.lower, self.upper) - self.mean) / self.sd
        return np.clip(scaled, -self.clip_sd, self.clip_sd).astype(np.float32)

    def beside(self, other: "ProfileInput") -> "ProfileInput":
        """Return the input of both panels, this one's genes first; they share all but genes and moments."""
        both = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in _OF_GENES}
        return replace(self, genes=self.genes + other.genes, floor=min(self.floor, other.floor), **both)

    def only(self, genes: Collection[str]) -> "ProfileInput":
        """Return the input of those of its genes that are in `genes`, in its order."""
        kept = np.array([column for column, gene in enumerate(self.genes) if gene in genes], dtype=int)
        arrays = {name: getattr(self, name)[kept] for name in _OF_GENES}
        return replace(self, genes=tuple(self.genes[column] for column in kept), **arrays)

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays, and JSON-able rest, for `restored`."""
        arrays = {f"profile.{name}": getattr(self, name) for name in _OF_GENES}
        names = ("scale", "values", "floor", "n_bins", "clip_sd")
        return arrays, {"genes": list(self.genes)} | {name: getattr(self, name) for name in names}

    @classmethod
    def restored(cls, tensors: Mapping[str, np.ndarray], meta: Mapping) -> "ProfileInput":
        """Inverse of `state`."""
        arrays = {name: tensors[f"profile.{name}"] for name in _OF_GENES}
        return cls(**(dict(meta) | {"genes": tuple(meta["genes"])} | arrays))


def columns_of(wanted: Sequence[str], genes: Sequence[str]) -> np.ndarray:
    """Positions of the genes `wanted` among `genes`; raises InputError if one is absent."""
    place = {gene: column for column, gene in enumerate(genes)}
    missing = [gene for gene in wanted if gene not in place]
    if missing:
        msg = (
            f"{len(missing)} of {len(wanted)} genes that the model uses are not in the expression table: "
            f"{shorten(missing)}. Give a table with the genes that the model was trained on (inputs.expression.path)."
        )
        raise InputError(msg)
    return np.array([place[gene] for gene in wanted])


def fit_input(
    expression: np.ndarray,
    genes: Sequence[str],
    *,
    scale: str,
    usable: set[str] | None,
    outcome: tuple[np.ndarray, np.ndarray],
    markers: Mapping[str, float],
    settings: EncoderSettings,
) -> ProfileInput:
    """Choose the panel and the scaling on the training part.

    expression : (sample, gene) of training patients; usable : genes that may enter the panel, None = all
    outcome : time and event of the same samples, for ``panel_by: cox``
    markers : gene -> how well it tells cell types apart; half of the panel are the best of these, if there are any
    """
    may = np.array([usable is None or gene in usable for gene in genes])
    if not may.any():
        msg = (
            f"none of the {len(genes)} genes of inputs.expression.path can be used: the gene graphs or the cells lack "
            f"them (first: '{genes[0]}'). Use the same gene names in all inputs, or set "
            "survival.path_gptomic.encoder.kind to 'raw' and regulation.use to 'never'."
        )
        raise InputError(msg)
    names = [gene for gene, ok in zip(genes, may, strict=True) if ok]
    check_expression(expression[:, may], names, scale)
    logged = log_expression(expression, scale)[:, may]
    lower, upper = np.quantile(logged, [0.005, 0.995], axis=0)
    clipped = np.clip(logged, lower, upper)
    mean, sd = clipped.mean(axis=0), clipped.std(axis=0)
    varies = sd > 1e-8 * np.maximum(1.0, np.abs(mean))
    score = sd if panel_rule(scale, settings) == "variance" else cox_score(clipped, *outcome)
    score = np.where(varies, score, -1.0)
    marks = np.where(varies, [markers.get(name, 0.0) for name in names], 0.0)
    first = np.argsort(-marks, kind="stable")[: min(settings.panel_genes // 2, int((marks > 0).sum()))]
    score[first] = np.inf
    chosen = np.sort(np.argsort(-score, kind="stable")[: min(settings.panel_genes, int(varies.sum()))])
    return ProfileInput(
        genes=tuple(names[column] for column in chosen),
        scale=scale,
        values=_value_kind(scale, settings),
        floor=unexpressed(logged),
        n_bins=settings.n_bins,
        clip_sd=settings.clip_sd,
        lower=lower[chosen],
        upper=upper[chosen],
        mean=mean[chosen],
        sd=sd[chosen],
    )


def panel_rule(scale: str, settings: EncoderSettings) -> str:
    """How the panel is chosen for expression of `scale`: ``variance``, or ``cox``, which reads the outcome."""
    return _OWN_PANEL.get(scale, "variance") if settings.panel_by == "auto" else settings.panel_by


def _value_kind(scale: str, settings: EncoderSettings) -> str:
    if settings.kind == "raw":
        return "standardised"
    return _OWN_VALUE_SCALE[scale] if settings.values == "auto" else settings.values


class RawEncoder(nn.Module):
    """The control: the standardised panel itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, values: Tensor) -> Tensor:
        """Return `values` (sample, panel) as they are."""
        return values


class GeneGraphEncoder(nn.Module):
    """Tokens of genes, pooled by attention; genes that the gene graphs lack stand beside them as they are.

    vectors : (gene, e) frozen gene-graph vectors of the panel's first genes; beside : how many follow without one
    forward : values (sample, gene + beside) -> (sample, head * dim + beside)

    Gene and value enter token and score as sums, so that only the value's hidden layer is ever held per sample and
    gene: sum_g a_g (W_e e_g + W_2 h(v_g)) = (sum_g a_g W_e e_g) + W_2 (sum_g a_g h(v_g)).
    """

    def __init__(self, vectors: np.ndarray, *, dim: int, heads: int, beside: int = 0) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.as_tensor(vectors, dtype=torch.float32))  # (gene, e)
        self.gene = nn.Linear(vectors.shape[1], dim)
        self.value_in, self.value_out = nn.Linear(1, dim), nn.Linear(dim, dim)
        self.key = nn.Linear(vectors.shape[1], 2 * dim)
        self.query = nn.Linear(2 * dim, heads, bias=False)
        self.value_query = nn.Linear(dim, heads, bias=False)
        self.width = heads * dim + beside

    def forward(self, values: Tensor) -> Tensor:
        """Return the pooled vector of each sample."""
        values, beside = values[:, : len(self.vectors)], values[:, len(self.vectors) :]
        hidden = torch.tanh(self.value_in(values[..., None]))  # (sample, gene, dim)
        by_gene = self.query(torch.tanh(self.key(self.vectors)))  # (gene, head)
        weights = torch.softmax(by_gene + self.value_query(hidden), dim=1)  # (sample, gene, head)
        genes = torch.einsum("sgh,gd->shd", weights, self.gene(self.vectors))
        pooled = genes + self.value_out(torch.bmm(weights.transpose(1, 2), hidden))
        return torch.cat([pooled.flatten(1), beside], dim=1)

    @torch.no_grad()
    def start_at_groups(self, *, sharpness: float, seed: int) -> None:
        """Point each head's query at one group of similar genes (k-means of the panel's vectors)."""
        heads = len(self.query.weight)
        keys = torch.tanh(self.key(self.vectors))  # (gene, 2 dim)
        rng = np.random.default_rng(seed)
        _, group = kmeans2(self.vectors.double().numpy(), min(heads, len(keys)), minit="++", seed=rng)
        for head in range(heads):
            inside = torch.as_tensor(group == head)
            if inside.any() and not inside.all():
                towards = keys[inside].mean(0) - keys[~inside].mean(0)
                self.query.weight[head] = sharpness * towards / towards.square().sum().clamp_min(1e-6)

    @torch.no_grad()
    def start_at_types(self, marks: np.ndarray, values: Tensor) -> None:
        """Point the heads at the genes that mark cell types, and spread the value units over the values.

        marks : (gene, type) how much more of the gene a type has than the others, as a log ratio
        values : (sample, gene) inputs to come; the units' thresholds lie evenly over their range
        Each type gets a soft head, then, as far as heads reach, a sharp one.
        """
        keys = torch.tanh(self.key(self.vectors)).double()
        keys, wanted = keys - keys.mean(0), torch.as_tensor(marks).to(keys)
        gram = keys.T @ keys + _KEY_RIDGE * torch.eye(keys.shape[1]).to(keys)
        towards = torch.linalg.solve(gram, keys.T @ (wanted - wanted.mean(0))).T.float()  # (type, key)
        for head in range(min(len(self.query.weight), 2 * len(towards))):
            sharp = head // len(towards)
            self.query.weight[head] = _HEAD_SHARPNESS * (1 + sharp) * towards[head % len(towards)]
        low, high = np.quantile(values.cpu().numpy(), [0.005, 0.995])
        slope = _UNITS_SLOPE / max(high - low, 1e-6)
        thresholds = torch.linspace(float(low), float(high), len(self.value_in.bias)).to(self.value_in.bias)
        self.value_in.weight.fill_(slope)
        self.value_in.bias.copy_(-slope * thresholds)
        nn.init.orthogonal_(self.value_out.weight)


def panel_vectors(embedding: Mapping[str, np.ndarray], genes: Sequence[str]) -> np.ndarray:
    """Gene-graph vectors of the panel, (gene, e), each dimension with mean 0 and variance 1 over the panel."""
    vectors = np.stack([np.asarray(embedding[gene], dtype=float) for gene in genes])
    sd = vectors.std(axis=0)
    return ((vectors - vectors.mean(axis=0)) / np.where(sd > 1e-8, sd, np.inf)).astype(np.float32)
