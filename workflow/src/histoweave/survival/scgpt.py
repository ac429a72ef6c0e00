"""scGPT in plain torch: reads its checkpoint folder, gives cell and gene embeddings.

Source: Cui et al., Nature Methods 2024, doi:10.1038/s41592-024-02201-0; file layout and arithmetic of
version 0.2.5, checked against that version's own output to 1e-5 (tests/golden/scgpt).

| symbol     | name here     | axes                 | meaning                                        |
|------------|---------------|----------------------|------------------------------------------------|
| t_g        | `gene_ids`    | (sample, token)      | row of the vocabulary; token 0 is `<cls>`      |
| x          | `values`      | (sample, token)      | value bin 1..n_bins-1; `pad_value` at `<cls>`  |
| h^(0)      | `tokens`      | (sample, token, dim) | gene plus value embedding                      |
| h^(n)      | `encode`      | (sample, token, dim) | output of the transformer                      |
| h_c        | `cell`        | (sample, dim)        | output at `<cls>`, scaled to length 1          |

Deviations: a value that equals several bin edges gets the middle bin instead of a random one, so that a profile
always gets the same bins; more genes than fit are chosen by a fixed panel or by seeded draws, not by unseeded chance;
attention never holds the (token, token) matrix, so the whole profile may be given. No dropout: the model is frozen.
"""

import hashlib
import json
import pickle  # noqa: S403 - only its error class: torch reports a refused object by it
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from histoweave.errors import InputError, shorten

_NEEDED = ("embsize", "nlayers", "nheads", "d_hid", "n_bins", "pad_token", "pad_value")
_HEADS = ("decoder.", "mvc_decoder.", "flag_encoder.", "cls_decoder.")
_BATCH_BOUND = ("bn.", "dsbn.", "batch_encoder.", "domain_spec_batchnorm.")
_LARGEST_VALUE = 512.0  # the value encoder cuts its input here
_TRAILING = "Give the folder as it was downloaded: args.json, vocab.json and best_model.pt of one model."


@dataclass(frozen=True)
class Shape:
    """Sizes that `args.json` gives: dim, layers, heads, hidden width, number of bins, value of padding."""

    dim: int
    layers: int
    heads: int
    hidden: int
    n_bins: int
    pad_value: float


def rank_bins(expression: np.ndarray, *, n_bins: int) -> np.ndarray:
    """Bin each profile's non-zero values by rank; zero stays 0, the rest gets 1..n_bins-1.

    expression : (sample, gene) counts, TPM or another scale with a true zero; >= 0
    n_bins : bins with the zero bin; edges are `n_bins` - 1 quantiles of the profile's non-zero values
    Returns (sample, gene) int64. Raises InputError for negative or missing values.
    """
    expression = np.asarray(expression)
    _refuse_unbinnable(expression)
    bins = np.zeros(expression.shape, dtype=np.int64)
    grid = np.linspace(0, 1, n_bins - 1)
    for row, out in zip(expression, bins, strict=True):
        held = row > 0
        if held.any():
            edges = np.quantile(row[held], grid)
            upper = np.searchsorted(edges, row[held], side="right")  # edges <= value
            lower = np.searchsorted(edges, row[held], side="left")  # edges < value
            out[held] = (upper + lower + 1) // 2  # the middle of lower+1..upper; `upper` where they agree
    return bins


def _refuse_unbinnable(expression: np.ndarray) -> None:
    missing = ~np.isfinite(expression).all(axis=0)
    if missing.any():
        msg = (
            f"{int(missing.sum())} of {expression.shape[1]} genes have missing or infinite expression (first: column "
            f"{int(missing.argmax())}). Remove or fill them in the file of inputs.expression."
        )
        raise InputError(msg)
    negative = (expression < 0).any(axis=1)
    if negative.any():
        msg = (
            f"{int(negative.sum())} of {len(expression)} profiles hold negative values (first: row "
            f"{int(negative.argmax())}), as z-scores and logarithms do; rank bins need counts or TPM. Give those in "
            "inputs.expression, or set survival.path_gptomic.encoder.values to 'standardised'."
        )
        raise InputError(msg)


class Attention(nn.Module):
    """Multi-head self-attention with the parameter names of torch's own."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * dim))
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Attend; x : (sample, token, dim); keep : (sample, 1, 1, token), False at padding. Returns the shape of x."""
        sample, token, dim = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(sample, token, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=keep)  # (sample, head, token, dim / head)
        return self.out_proj(mixed.transpose(1, 2).reshape(sample, token, dim))


class Layer(nn.Module):
    """One transformer layer, normalised after each sum."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = Attention(dim, heads)
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: Tensor, keep: Tensor | None) -> Tensor:
        """Apply to x : (sample, token, dim). Returns the same shape."""
        x = self.norm1(x + self.self_attn(x, keep))
        return self.norm2(x + self.linear2(F.relu(self.linear1(x))))


class ScGPT(nn.Module):
    """The frozen model; parameter names are those of the checkpoint after `rename_attention`."""

    def __init__(self, shape: Shape, *, n_tokens: int, heads: tuple[str, ...]) -> None:
        super().__init__()
        dim = shape.dim
        self.shape = shape
        self.encoder = nn.ModuleDict({"embedding": nn.Embedding(n_tokens, dim), "enc_norm": nn.LayerNorm(dim)})
        value = {"linear1": nn.Linear(1, dim), "linear2": nn.Linear(dim, dim), "norm": nn.LayerNorm(dim)}
        self.value_encoder = nn.ModuleDict(value)
        layers = [Layer(dim, shape.heads, shape.hidden) for _ in range(shape.layers)]
        self.transformer_encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})
        if "decoder." in heads:
            fc = [nn.Linear(dim, dim), nn.LeakyReLU(), nn.Linear(dim, dim), nn.LeakyReLU(), nn.Linear(dim, 1)]
            self.decoder = nn.ModuleDict({"fc": nn.Sequential(*fc)})
        if "mvc_decoder." in heads:
            query = {"gene2query": nn.Linear(dim, dim), "W": nn.Linear(dim, dim, bias=False)}
            self.mvc_decoder = nn.ModuleDict(query)

    def embed_genes(self, gene_ids: Tensor) -> Tensor:
        """Context-free gene embedding: gene_ids (...,) -> (..., dim)."""
        return self.encoder["enc_norm"](self.encoder["embedding"](gene_ids))

    def embed_values(self, values: Tensor) -> Tensor:
        """Embedding of value bins: values (...,) -> (..., dim)."""
        x = F.relu(self.value_encoder["linear1"](values.unsqueeze(-1).clamp(max=_LARGEST_VALUE)))
        return self.value_encoder["norm"](self.value_encoder["linear2"](x))

    def encode(self, gene_ids: Tensor, values: Tensor, padding: Tensor | None) -> Tensor:
        """Contextual embedding of each token.

        gene_ids, values : (sample, token); padding : (sample, token), True where there is no gene, or None
        Returns (sample, token, dim); without meaning at padding.
        """
        x = self.embed_genes(gene_ids) + self.embed_values(values)  # (sample, token, dim)
        keep = None if padding is None or not padding.any() else ~padding[:, None, None, :]
        for layer in self.transformer_encoder["layers"]:
            x = layer(x, keep)
        return x

    def decode_expression(self, encoded: Tensor) -> Tensor:
        """Expected value bin of each token from its own output: (sample, token, dim) -> (sample, token)."""
        return self.decoder["fc"](encoded).squeeze(-1)

    def decode_from_cell(self, cell: Tensor, gene_ids: Tensor) -> Tensor:
        """Expected value bin of each gene from the cell: cell (sample, dim), gene_ids (sample, token)."""
        query = torch.sigmoid(self.mvc_decoder["gene2query"](self.embed_genes(gene_ids)))
        return torch.einsum("std,sd->st", self.mvc_decoder["W"](query), cell)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory: the model (evaluation mode, frozen), token -> row, its padding token, its hash."""

    model: ScGPT
    vocabulary: dict[str, int]
    pad_token: str
    digest: str


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read `args.json`, `vocab.json` and `best_model.pt` from `folder`, in any of the three attention layouts.

    Raises InputError for a missing or unreadable file, missing or misshapen tensors, an object that is no tensor,
    a vocabulary without its special tokens, or a model bound to the batches it was fine-tuned on.
    """
    folder = Path(folder)
    arguments = _read_json(folder / "args.json")
    missing = [key for key in _NEEDED if key not in arguments]
    if missing:
        msg = f"{folder / 'args.json'}: {len(missing)} key(s) missing: {shorten(missing)}. {_TRAILING}"
        raise InputError(msg)
    state = rename_attention(_read_tensors(folder / "best_model.pt"))
    shape = Shape(
        dim=arguments["embsize"],
        layers=arguments["nlayers"],
        heads=arguments["nheads"],
        hidden=arguments["d_hid"],
        n_bins=arguments["n_bins"],
        pad_value=float(arguments["pad_value"]),
    )
    model = build(shape, state, where=str(folder / "best_model.pt"))
    rows = model.encoder["embedding"].num_embeddings
    vocabulary = _with_specials(_read_json(folder / "vocab.json"), rows, pad=arguments["pad_token"], folder=folder)
    return Checkpoint(model, vocabulary, arguments["pad_token"], digest=_digest(folder))


def _read_json(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read ({error}). {_TRAILING}"
        raise InputError(msg) from error
    if not isinstance(found, dict):
        msg = f"{path} holds no JSON object. {_TRAILING}"
        raise InputError(msg)
    return found


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = "it holds objects other than tensors" if isinstance(error, pickle.UnpicklingError) else "unreadable"
        msg = f"{path} is not loaded: {reason}. Only a flat dictionary of tensors is accepted. {_TRAILING}"
        raise InputError(msg) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        msg = f"{path} is no flat dictionary of tensors. {_TRAILING}"
        raise InputError(msg)
    return state


def rename_attention(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the attention tensors torch's names; layouts `Wqkv.*`, `_impl.Wqkv.*` and `in_proj_*` are known."""
    renamed = {}
    for key, tensor in state.items():
        name = key.removeprefix("module.").replace("self_attn._impl.", "self_attn.")
        renamed[name.replace("self_attn.Wqkv.", "self_attn.in_proj_")] = tensor
    return renamed


def build(shape: Shape, state: dict[str, Tensor], *, where: str) -> ScGPT:
    """Make the frozen model of `shape` that holds the tensors of `state` (named as by `rename_attention`)."""
    bound = [key for key in state if key.startswith(_BATCH_BOUND)]
    if bound:
        msg = (
            f"{where}: {len(bound)} tensor(s) belong to batches that it was fine-tuned on ({shorten(bound)}), which "
            "patients do not have. Use a checkpoint that was pre-trained, or fine-tuned without batch labels."
        )
        raise InputError(msg)
    heads = tuple(head for head in _HEADS if any(key.startswith(head) for key in state))
    rows = len(state.get("encoder.embedding.weight", ()))
    with torch.device("meta"):  # no memory and no time for weights that are replaced at once
        model = ScGPT(shape, n_tokens=rows, heads=heads)
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state]
    unknown = [key for key in state if key not in wanted and not key.startswith(_HEADS)]
    misshapen = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    if missing or unknown or misshapen:
        groups = {"missing": missing, "unknown": unknown, "of another shape than args.json says": misshapen}
        parts = [f"{len(keys)} tensor(s) {what}: {shorten(keys)}" for what, keys in groups.items() if keys]
        msg = f"{where}: {'; '.join(parts)}. {_TRAILING}"
        raise InputError(msg)
    model.load_state_dict({key: state[key].float() for key in wanted}, assign=True)
    return model.eval().requires_grad_(requires_grad=False)


def _with_specials(vocabulary: dict, rows: int, *, pad: str, folder: Path) -> dict[str, int]:
    absent = [token for token in (pad, "<cls>", "<eoc>") if token not in vocabulary]
    if absent and len(vocabulary) + len(absent) == rows:  # the official code appends them at the end, in this order
        vocabulary = vocabulary | {token: len(vocabulary) + i for i, token in enumerate(absent)}
    lacking = [token for token in (pad, "<cls>") if token not in vocabulary]
    outside = [token for token, row in vocabulary.items() if not (isinstance(row, int) and 0 <= row < rows)]
    if lacking or outside:
        what = f"lacks the special token(s) {shorten(lacking)}" if lacking else f"has no row for {shorten(outside)}"
        msg = f"{folder / 'vocab.json'} {what}; the model has {rows} rows. {_TRAILING}"
        raise InputError(msg)
    return vocabulary


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in ("args.json", "vocab.json", "best_model.pt"):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:24]


@dataclass(frozen=True)
class Match:
    """Genes of a profile found in the vocabulary: their columns, their rows there, and the names not found."""

    columns: np.ndarray
    gene_ids: np.ndarray
    missing: tuple[str, ...]


def match_genes(genes: Sequence[str], checkpoint: Checkpoint, *, aliases: Mapping[str, str], least: float) -> Match:
    """Find `genes` in the checkpoint's vocabulary, by their own name or else through `aliases` (name -> symbol).

    Two columns never get the same row: the gene's own name goes before an alias, the first alias before the next.
    Raises InputError if less than the share `least` of the genes is found.
    """
    known = checkpoint.vocabulary
    taken = {known[gene] for gene in genes if gene in known}
    rows: dict[int, int] = {}
    for column, gene in enumerate(genes):
        if gene in known:
            rows[column] = known[gene]
        elif (row := known.get(aliases.get(gene, ""))) is not None and row not in taken:
            rows[column] = row
            taken.add(row)
    missing = tuple(gene for column, gene in enumerate(genes) if column not in rows)
    if len(rows) < least * len(genes) or not rows:
        msg = (
            f"only {len(rows)} of {len(genes)} genes stand in the vocabulary, under the floor of {least:g} "
            f"(missing: {shorten(list(missing), most=10)}). Use gene symbols, give their new names in the file of "
            "survival.path_gptomic.encoder.aliases, or lower survival.path_gptomic.encoder.least_match."
        )
        raise InputError(msg)
    return Match(np.array(list(rows)), np.array(list(rows.values())), missing)


def draw_tokens(bins: np.ndarray, order: np.ndarray, *, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Keep each profile's first `most` non-zero genes in the given order.

    bins : (sample, gene) from `rank_bins`; order : (gene,) columns, most wanted first
    Returns the columns (sample, token) and whether a token holds a gene (sample, token).
    """
    held = bins[:, order] > 0
    first = np.argsort(~held, axis=1, kind="stable")[:, :most]  # non-zero genes first, otherwise as ordered
    width = max(1, int(held.sum(axis=1).clip(max=most).max()))
    return order[first[:, :width]], np.take_along_axis(held, first, axis=1)[:, :width]


def embed_profiles(
    checkpoint: Checkpoint,
    expression: np.ndarray,
    gene_ids: np.ndarray,
    *,
    orders: Sequence[np.ndarray],
    most_tokens: int,
    batch: int,
    device: torch.device,
) -> np.ndarray:
    """Cell embedding of each profile: mean over `orders` of the embedding of its first genes in that order.

    expression : (sample, gene) counts or TPM, all genes found in the vocabulary (bins are ranks among all of them)
    gene_ids : (gene,) rows of the vocabulary
    orders : one fixed panel, all genes, or several seeded permutations; columns of `expression`
    most_tokens : tokens with `<cls>`; Returns (sample, dim) float32, each draw of length 1
    """
    model = checkpoint.model.to(device)
    bins = rank_bins(expression, n_bins=model.shape.n_bins)
    found = np.zeros((len(bins), model.shape.dim), dtype=np.float32)
    for order in orders:
        for start in range(0, len(bins), batch):
            part = slice(start, start + batch)
            columns, held = draw_tokens(bins[part], order, most=most_tokens - 1)
            values = np.where(held, np.take_along_axis(bins[part], columns, axis=1), model.shape.pad_value)
            ids = np.where(held, gene_ids[columns], checkpoint.vocabulary[checkpoint.pad_token])
            cell = _embed_batch(checkpoint, ids, values, ~held, device=device)
            found[part] += cell / len(orders)
    return found


@torch.inference_mode()
def _embed_batch(
    checkpoint: Checkpoint, ids: np.ndarray, values: np.ndarray, padding: np.ndarray, *, device: torch.device
) -> np.ndarray:
    shape = checkpoint.model.shape
    front = ((0, 0), (1, 0))
    ids = np.pad(ids, front, constant_values=checkpoint.vocabulary["<cls>"])
    values = np.pad(values.astype(np.float32), front, constant_values=shape.pad_value)
    parts = (torch.from_numpy(part).to(device) for part in (ids, values, np.pad(padding, front)))
    encoded = checkpoint.model.encode(*parts)
    return F.normalize(encoded[:, 0], dim=1).cpu().numpy()
