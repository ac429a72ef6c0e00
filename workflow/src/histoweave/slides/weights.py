"""Weights of encoders: read from a local file, checked, and given timm's names whoever wrote them."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from histoweave.errors import InputError, shorten
from histoweave.slides.vit import VisionTransformer, resample_positions

_PREFIXES = ("module.", "model.", "visual.trunk.", "teacher.backbone.", "backbone.", "_orig_mod.", "dinov2.")
_UNUSED = re.compile(r"mask_token|head\.|head_drop|fc_norm|fc\.|layer4\.|classifier|num_batches_tracked|rope_embed")
# names of facebookresearch/dinov2, then of Hugging Face's Dinov2Model, in timm's words
_RENAMED = (
    (r"^register_tokens$", "reg_token"),
    (r"mlp\.w12\.", "mlp.fc1."),
    (r"mlp\.w3\.", "mlp.fc2."),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.", "blocks."),
    (r"attention\.output\.dense\.", "attn.proj."),
    (r"layer_scale([12])\.lambda1$", r"ls\1.gamma"),
    (r"mlp\.weights_in\.", "mlp.fc1."),
    (r"mlp\.weights_out\.", "mlp.fc2."),
    (r"^layernorm\.", "norm."),
)


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, or of a torch file that holds tensors alone; nothing in it is ever run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise InputError(_unreadable(path, error)) from error
    except Exception as error:  # torch raises pickle's own kinds of errors for anything but tensors
        if type(error).__name__ not in ("UnpicklingError", "SafetensorError"):
            raise
        raise InputError(_unreadable(path, error)) from error
    for key in ("state_dict", "model", "teacher"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _unreadable(path: Path, error: Exception) -> str:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{path.name} holds no weights that can be read safely ({first}). Set slides.encoder.weights to safetensors"


def timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with timm's names, without what an encoder does not use."""
    renamed = {}
    for name, value in state.items():
        short = name
        while any(short.startswith(prefix) for prefix in _PREFIXES):
            short = next(short[len(prefix) :] for prefix in _PREFIXES if short.startswith(prefix))
        if short.startswith("visual."):
            continue  # pooling heads of CONCH beside its trunk
        for pattern, target in _RENAMED:
            short = re.sub(pattern, target, short)
        if not _UNUSED.search(short):
            renamed[short] = value
    return _joined_attention(renamed)


def _joined_attention(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value of Hugging Face's names as one `qkv`."""
    out = {name: value for name, value in state.items() if "attention.attention." not in name}
    for name in [n for n in state if "attention.attention.query." in n]:
        parts = [state[name.replace("query", part)] for part in ("query", "key", "value")]
        out[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    return out


def fill(model: nn.Module, state: Mapping[str, Tensor], *, name: str) -> None:
    """Load `state` (any of the known names) into `model`; raises InputError unless every tensor finds its place."""
    renamed = timm_names(state)
    if isinstance(model, VisionTransformer) and "pos_embed" in renamed:
        renamed = _fitted_positions(model, renamed)
    own = model.state_dict()
    needed = [key for key in own if not key.endswith("num_batches_tracked")]
    missing, unknown = [k for k in needed if k not in renamed], [k for k in renamed if k not in own]
    wrong = [k for k in needed if k in renamed and renamed[k].shape != own[k].shape]
    if missing or unknown or wrong:
        parts = (("missing", missing), ("unknown", unknown), ("of another shape", wrong))
        what = "; ".join(f"{label}: {shorten(keys)}" for label, keys in parts if keys)
        msg = f"the weights do not fit encoder '{name}' ({what}). Set slides.encoder.name to the weights' encoder"
        raise InputError(msg)
    model.load_state_dict({key: renamed[key] for key in needed}, strict=False)


def _fitted_positions(model: VisionTransformer, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` with positions as the model has them: DINOv2 keeps one for the class token, timm may not."""
    table, embedded = state["pos_embed"], model.shape.embedded
    if not embedded and round(table.shape[1] ** 0.5) ** 2 != table.shape[1]:
        state = state | {"cls_token": state["cls_token"] + table[:, :1]}
        table = table[:, 1:]
    patches = table.shape[1] - embedded
    if round(max(patches, 0) ** 0.5) ** 2 != patches:
        return state | {"pos_embed": table}  # of no square; refused for its shape
    return state | {"pos_embed": resample_positions(table, places=model.pos_embed.shape[1], embedded=embedded)}
