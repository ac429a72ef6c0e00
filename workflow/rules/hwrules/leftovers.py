"""Removing what a killed job could not: the half-written file or folder beside its output."""

import os
import shutil
from pathlib import Path

PART = ".part-"
"""How the name of everything half-written begins (`histoweave.formats.files.PART`)."""


def only_run(locks: str | Path) -> bool:
    """Whether the run that holds a lock in the folder `locks` is alone; others may make other files beside it."""
    return len(list(Path(locks).glob("*.output.lock"))) == 1


def remove_leftovers(folder: str | Path) -> int:
    """Remove all that is half-written in `folder` and below, and return how many there were; no other run may write."""
    found = 0
    for here, folders, names in os.walk(folder):
        parts = [name for name in (*folders, *names) if name.startswith(PART)]
        folders[:] = [name for name in folders if name not in parts]
        for part in (Path(here, name) for name in parts):
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)
        found += len(parts)
    return found
