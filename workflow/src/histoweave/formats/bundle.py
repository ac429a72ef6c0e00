"""Model bundles: a folder of JSON and safetensors that `predict` needs, and nothing that can run code.

``bundle.json``: format, version, method, what it needs, encoder of the slides, horizons, one entry per fold with the
median and the percentiles of its training risks; ``fold_<repeat>_<fold>.safetensors``: the arrays of one fold.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from histoweave.errors import InputError
from histoweave.formats.files import PART

FORMAT, VERSION = "survival_bundle", 2
_ENDINGS = (".json", ".safetensors")
_OURS = (".snakemake_timestamp",)  # Snakemake's mark in a folder that it made
_KEYS = ("method", "needs", "encoder", "horizons_days", "folds", "provenance")


@dataclass(frozen=True)
class FoldState:
    """One fitted fold: arrays, JSON-able meta, and the sorted risks of its training part."""

    repeat: int
    fold: int
    tensors: Mapping[str, np.ndarray]
    meta: Mapping
    train_risk: np.ndarray


def write_bundle(folder: str | Path, header: Mapping, folds: Sequence[FoldState], *, provenance: Mapping) -> None:
    """Write a bundle whole or not at all; `header` holds ``method, needs, encoder, horizons_days``."""
    from safetensors.numpy import save_file

    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{PART}bundle-"))
    try:
        entries = []
        for state in folds:
            name = f"fold_{state.repeat}_{state.fold}.safetensors"
            arrays = {key: np.ascontiguousarray(value) for key, value in state.tensors.items()}
            save_file(arrays | {"train_risk": np.ascontiguousarray(state.train_risk)}, temporary / name)
            digest = _sha256((temporary / name).read_bytes())
            entries.append(
                {"repeat": state.repeat, "fold": state.fold, "file": name, "sha256": digest, "meta": state.meta}
            )
        content = {"format": FORMAT, "format_version": VERSION, **header, "folds": entries, "provenance": provenance}
        content["sha256"] = _digest(json.loads(json.dumps(content)))
        (temporary / "bundle.json").write_text(json.dumps(content, sort_keys=True, indent=1) + "\n")
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest(content: Mapping) -> str:
    """Digest of what ``bundle.json`` says, whatever its line breaks."""
    return _sha256(json.dumps({k: v for k, v in content.items() if k != "sha256"}, sort_keys=True).encode())


def read_header(folder: str | Path) -> dict:
    """Content of ``bundle.json``; raises InputError if it is no bundle, or one of another version."""
    path = Path(folder) / "bundle.json"
    try:
        content = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        msg = f"{folder} is no readable bundle ({reason}). Give the 'bundle' folder of a trained model."
        raise InputError(msg) from error
    found = (content.get("format"), content.get("format_version"))
    if found != (FORMAT, VERSION):
        expected = f"'{FORMAT}' version {VERSION}"
        msg = f"{path}: expected {expected}, found '{found[0]}' version {found[1]}. Train the model again."
        raise InputError(msg)
    missing = [key for key in _KEYS if key not in content]
    if missing or not content["folds"]:
        msg = f"{path} is incomplete: '{(missing or ['folds'])[0]}' is missing. Copy the whole bundle again."
        raise InputError(msg)
    if content.get("sha256", _digest(content)) != _digest(content):
        msg = f"{path} is damaged: its checksum does not match what it says. Copy the whole bundle again."
        raise InputError(msg)
    strangers = sorted(p.name for p in Path(folder).iterdir() if p.suffix not in _ENDINGS and p.name not in _OURS)
    if strangers:
        msg = (
            f"{folder} holds '{strangers[0]}', which is no part of a bundle (JSON and safetensors only). "
            "A pickle can run code on loading; nothing was loaded. Take the bundle from where it was made."
        )
        raise InputError(msg)
    return content


def read_folds(folder: str | Path, header: Mapping) -> Iterator[FoldState]:
    """Folds of a bundle, one after the other; raises InputError for a damaged or missing file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    for entry in header["folds"]:
        path = Path(folder) / Path(entry["file"]).name
        try:
            raw = path.read_bytes()
            tensors, digest = load(raw), _sha256(raw)
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            msg = f"{path} cannot be read ({str(error).splitlines()[0]}): cut off or not safetensors. Copy it again."
            raise InputError(msg) from error
        if entry.get("sha256", digest) != digest:
            msg = f"{path} is damaged: its checksum is not the one in bundle.json. Copy it again."
            raise InputError(msg)
        risk = tensors.pop("train_risk")
        yield FoldState(entry["repeat"], entry["fold"], tensors, entry["meta"], risk)
