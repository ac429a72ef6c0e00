"""What every script shares: arguments, settings, logging, progress, errors and the run record."""

import argparse
import dataclasses
import errno
import json
import logging
import sys
import time
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from histoweave.errors import InputError, shorten
from histoweave.formats.files import fingerprint

log = logging.getLogger("histoweave")
T = TypeVar("T")


def parser(description: str | None) -> argparse.ArgumentParser:
    """Argument parser with what all scripts take: ``--settings``, ``--seed`` and ``--threads``."""
    made = argparse.ArgumentParser(description=description, allow_abbrev=False)
    made.add_argument("--settings", type=_json, default={}, help="JSON object of this step's config section")
    made.add_argument("--seed", type=int, default=0, help="the run's seed")
    made.add_argument("--threads", type=int, default=1, help="worker processes or threads; never changes a result")
    return made


def _json(text: str) -> dict:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def settings_of(kind: type[T], values: dict) -> T:
    """Fill the frozen dataclass `kind` (nested ones too) from `values`; unknown or missing keys raise InputError."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    where = getattr(kind, "section", kind.__name__)
    unknown, missing = sorted(set(values) - set(names)), sorted(set(names) - set(values))
    if unknown or missing:
        parts = [f"unknown: {shorten(unknown)}"] * bool(unknown) + [f"missing: {shorten(missing)}"] * bool(missing)
        msg = f"settings of {where}: {'; '.join(parts)}."
        raise InputError(msg)
    return kind(**{name: _convert(hints[name], values[name]) for name in names})


def _convert(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return settings_of(hint, value)
    if isinstance(hint, types.UnionType) and isinstance(value, dict):
        kinds = [kind for kind in typing.get_args(hint) if dataclasses.is_dataclass(kind)]
        return settings_of(kinds[0], value) if kinds else value
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        return tuple(value)
    return value


def provenance(step: str, *, settings: object, seed: int, inputs: dict[str, str | Path | Sequence]) -> dict:
    """Return the record that goes into every file written: step, settings, seed and content of the inputs.

    Holds neither times, paths nor machine names, so that equal runs write equal bytes.
    """
    values = dataclasses.asdict(settings) if dataclasses.is_dataclass(settings) else settings
    prints = {name: _prints(paths) for name, paths in inputs.items() if paths is not None}
    return {"step": step, "settings": values, "seed": seed, "inputs": prints}


def _prints(paths: str | Path | Sequence) -> str:
    if isinstance(paths, str | Path):
        return fingerprint(paths)
    return "+".join(fingerprint(path) for path in paths) if len(paths) <= 20 else f"{len(paths)} files"


def progress(items: Iterable[T], *, total: int | None = None, what: str, every: float = 10.0) -> Iterator[T]:
    """Yield `items` with a bar on a terminal, or with a plain line each `every` seconds in a log."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=what)
        return
    total = total if total is not None else len(items) if hasattr(items, "__len__") else None
    begin = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= every:
            log.info("%s: %d of %s, %.0f s", what, done, total if total is not None else "?", now - begin)
            last = now
        yield item
    log.info("%s: done, %.0f s", what, time.monotonic() - begin)


def run(main: Callable[[Sequence[str] | None], None]) -> None:
    """Run a script's `main`: one line and exit code 2 for InputError or a full disk, a traceback for a fault."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    try:
        main(None)
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _fail(f"the disk is full while writing {error.filename or 'a result'}. Free some space and run again.")


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
