"""Join the batches' manifests: one row per slide, and the ledger of slides that were left out."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histoweave import steps
from histoweave.formats.ledger import Account
from histoweave.formats.slides import ENCODING, QC


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="manifests of the encoded batches")
    parser.add_argument("--ledger", type=Path, required=True, help="slides left out")
    parser.add_argument("--out", type=Path, required=True, help="one row per slide")
    args = parser.parse_args(argv)
    parts = [ENCODING.read(path) for path in args.manifests]
    frame = pd.concat(parts, ignore_index=True).sort_values("slide", kind="stable")
    record = steps.provenance("slides/summarise_slides", settings={}, seed=args.seed, inputs={})
    QC.write(frame, args.out, provenance=record)
    account = Account("slides")
    account.items("slide", "cohort", n_in=len(frame), n_out=int((frame["status"] == "ok").sum()))
    for row in frame[frame["status"] != "ok"].itertuples():
        account.leave_out("slide", "cohort", [row.slide], f"{row.status}: {row.reason}")
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
