"""Writing a file whole or not at all, naming its content, and noticing when it has changed."""

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from histoweave.errors import InputError

PART = ".part-"
"""How the name of everything half-written begins; the next run removes what a killed job left of it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_WHOLE = 64 * 2**20
_ENDS = 2**20
_SEAL = b"\nHWSHA256"  # after the end that an HDF5 file states, where its readers do not look; then the digest
_DIGEST = 32


@contextmanager
def replacing(path: str | Path, *, seal: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    A failed or killed block leaves `path` as it was; a failed one also removes the
    temporary file. The suffix is kept, since some writers look at it. With `seal` a
    digest of the content is appended, which `check_seal` compares (HDF5 only).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{PART}{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if seal:
            _append_seal(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except Exception as error:
        if isinstance(error, OSError) or "No space left on device" not in str(error):
            raise
        # Writers in other languages (safetensors, HDF5 as it closes) have errors of their own for a full disk.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _append_seal(path: Path) -> None:
    with path.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        file.write(_SEAL + digest)


def check_seal(path: str | Path) -> None:
    """Raise InputError if a sealed file has changed since it was written; one without a seal passes."""
    path, tail = Path(path), len(_SEAL) + _DIGEST
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - tail))
        seal = file.read(tail)
        if not seal.startswith(_SEAL):
            return
        file.seek(0)
        digest, left = hashlib.sha256(), size - tail
        while left and (block := file.read(min(left, _ENDS))):
            digest.update(block)
            left -= len(block)
    if digest.digest() != seal[len(_SEAL) :]:
        msg = f"{path} is damaged: its checksum does not match its content. Remove it and run again."
        raise InputError(msg)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def safe_name(name: str) -> str:
    """Return `name` if it may become part of a path (letters, digits, ``. _ -``); else raise InputError."""
    if not _NAME.fullmatch(name) or ".." in name:
        msg = (
            f"'{name}' cannot name a file: use letters, digits, '.', '_' and '-' only, "
            "start with a letter or digit, at most 128 characters."
        )
        raise InputError(msg)
    return name


def fingerprint(path: str | Path) -> str:
    """Short name of a file's content: SHA-256 of all of it, or of its size and both ends above 64 MB.

    A table with measured columns (see `TableKind`) gives the name that stands in it.
    """
    path = Path(path)
    if path.suffix == ".parquet" and (named := _named_content(path)):
        return named
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _WHOLE:
            while block := file.read(_ENDS):
                digest.update(block)
        else:
            digest.update(file.read(_ENDS))
            file.seek(-_ENDS, os.SEEK_END)
            digest.update(file.read(_ENDS))
    return digest.hexdigest()[:24]


def _named_content(path: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return json.loads((pq.read_schema(path).metadata or {}).get(b"content", b'""'))
    except (OSError, ValueError, pa.ArrowException):
        return ""
