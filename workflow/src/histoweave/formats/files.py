"""Writing a file whole or not at all, and naming its content."""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from histoweave.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_WHOLE = 64 * 2**20
_ENDS = 2**20


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    A failed or killed block leaves `path` as it was; a failed one also removes the
    temporary file. The suffix is kept, since some writers look at it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
    """Short name of a file's content: SHA-256 of all of it, or of its size and both ends above 64 MB."""
    path = Path(path)
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
