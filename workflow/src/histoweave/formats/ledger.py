"""The ledger: one row for each item that a step left out, and the step's count of items in and out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from histoweave.errors import InputError
from histoweave.formats.table import TableKind

LEDGER = TableKind(
    "ledger",
    1,
    {"stage": "str", "kind": "str", "context": "str", "item": "str", "reason": "str"},
)


class Account:
    """Collects what one step leaves out.

    ``account.items("cell", "pbmc", n_in=1000, n_out=998)`` states a count;
    ``account.leave_out("cell", "pbmc", ["c1", "c2"], "no counts")`` explains the difference.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.counts: list[dict] = []
        self.rows: list[tuple] = []

    def items(self, kind: str, context: str, *, n_in: int, n_out: int) -> None:
        """State that of `n_in` items of `kind` (slide, patient, cell, gene, gene set), `n_out` go on."""
        self.counts.append({"kind": kind, "context": context, "n_in": int(n_in), "n_out": int(n_out)})

    def leave_out(self, kind: str, context: str, items: Sequence[str], reason: str) -> None:
        """Name `items` of `kind` that do not go on, with the `reason`."""
        self.rows += [(self.stage, kind, context, str(item), reason) for item in items]

    def write(self, path: str | Path, *, provenance: Mapping) -> None:
        """Write the rows, with the counts in the metadata; raises InputError if they do not add up."""
        frame = pd.DataFrame(self.rows, columns=list(LEDGER.columns))
        check_counts(frame, self.counts)
        LEDGER.write(frame, path, provenance=provenance, counts=self.counts)


def check_counts(frame: pd.DataFrame, counts: Sequence[Mapping]) -> None:
    """Raise InputError unless items in = items out + ledger rows, for every stated count."""
    found = frame.groupby(["kind", "context"]).size() if len(frame) else {}
    for count in counts:
        left_out = int(found.get((count["kind"], count["context"]), 0))
        if count["n_in"] != count["n_out"] + left_out:
            msg = (
                f"{count['kind']}s of '{count['context']}': {count['n_in']} went in, {count['n_out']} came out and "
                f"{left_out} stand in the ledger. This is a fault of the step, not of your data."
            )
            raise InputError(msg)
