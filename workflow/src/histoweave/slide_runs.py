"""What the scripts of the slides stage share: many slides in processes, each with a status of its own."""

import errno
import hashlib
import json
import logging
import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import Any

from histoweave import steps
from histoweave.errors import InputError
from histoweave.formats.slides import QC

log = logging.getLogger("histoweave")
Row = dict[str, Any]


def over_slides(work: Callable[[Row], Row], rows: Sequence[Row], *, threads: int) -> list[Row]:
    """Results of `work` for each of `rows`, in their order, from `threads` processes.

    A slide that kills its process (a fault in a decoder) is tried once more alone, and then fails alone.
    """
    if threads <= 1 or len(rows) <= 1:
        return [work(row) for row in steps.progress(rows, what="slides")]
    results: dict[int, Row] = {}
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(min(threads, len(rows)), mp_context=context) as pool:
        waiting = [pool.submit(work, row) for row in rows]
        for number in steps.progress(range(len(rows)), what="slides"):
            try:
                results[number] = waiting[number].result()
            except BrokenProcessPool:
                continue
    for number in sorted(set(range(len(rows))) - set(results)):
        results[number] = _alone(work, rows[number], context)
    return [results[number] for number in range(len(rows))]


def _alone(work: Callable[[Row], Row], row: Row, context: BaseContext) -> Row:
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(work, row).result()
        except BrokenProcessPool:
            reason = f"slide {row['slide']}: the process that read it died; the file is damaged or memory ran out"
            log.warning("%s", reason)
            return blank(row) | {"status": "failed", "reason": reason}


def guarded(row: Row, *, work: Callable[[Row], Row]) -> Row:
    """Result of `work` for one slide; what goes wrong with the slide becomes its status."""
    begin = time.process_time()
    try:
        done = work(row)
    except InputError as error:
        done = blank(row) | {"status": "failed", "reason": _of_slide(row, str(error))}
    except Exception as error:  # noqa: BLE001 a slide fails alone, whatever its decoder raises; the reason is kept
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise  # not the slide's fault, and the next one would fail as well
        log.debug("slide %s", row["slide"], exc_info=True)
        done = blank(row) | {"status": "failed", "reason": _of_slide(row, f"{type(error).__name__}: {error}")}
    if done["status"] != "ok":
        log.warning("%s: %s", done["status"], done["reason"])
    return done | {"seconds": round(time.process_time() - begin, 2)}


def _of_slide(row: Row, text: str) -> str:
    own = f"slide {row['slide']}: "
    return text if text.startswith(own) else own + text


def blank(row: Row) -> Row:
    """Manifest row with what `row` says and nothing more."""
    zero = {"float": math.nan, "int": 0, "str": ""}
    known = {name: row[name] for name in QC.columns if row.get(name) is not None}
    return {name: zero[kind] for name, kind in QC.columns.items()} | {"level": -1} | known


def table_part(row: Row) -> Row:
    """`slide`, `patient` and `site` of a row of slides.tsv, empty where it has none."""
    return {name: row.get(name) or "" for name in ("slide", "patient", "site")}


def digest(*parts: object) -> str:
    """Short hash of `parts` that JSON can say."""
    text = "\n".join(json.dumps(part, sort_keys=True) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
