"""Join the batches' manifests: one row per slide, and the ledger of slides that were left out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from histoweave import steps
from histoweave.formats.ledger import Account
from histoweave.formats.slides import ENCODING, QC, read_picture, slide_files, write_picture
from histoweave.slides.qc_page import PANEL, contact_sheet
from histoweave.slides.resample import reduce_whole


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="manifests of the encoded batches")
    parser.add_argument("--folder", type=Path, required=True, help="results folder of the stage")
    parser.add_argument("--sheet", type=Path, required=True, help="picture of all slides")
    parser.add_argument("--ledger", type=Path, required=True, help="slides left out")
    parser.add_argument("--out", type=Path, required=True, help="one row per slide")
    args = parser.parse_args(argv)
    parts = [ENCODING.read(path) for path in args.manifests]
    frame = pd.concat(parts, ignore_index=True).sort_values("slide", kind="stable")
    record = steps.provenance("slides/summarise_slides", settings={}, seed=args.seed, inputs={})
    QC.write(frame, args.out, provenance=record)
    pictures = ((row.slide, row.status, read_page(args.folder, row)) for row in frame.itertuples())
    write_picture(contact_sheet(list(pictures), cell=180, columns=10), args.sheet)
    account = Account("slides")
    account.items("slide", "cohort", n_in=len(frame), n_out=int((frame["status"] == "ok").sum()))
    for row in frame[frame["status"] != "ok"].itertuples():
        account.leave_out("slide", "cohort", [row.slide], f"{row.status}: {row.reason}")
    account.write(args.ledger, provenance=record)


def read_page(folder: Path, row: Any) -> np.ndarray | None:
    """Small picture of a slide's page without its words; None where there is no page."""
    page = None if row.status == "failed" else read_picture(slide_files(folder, row.slide)["page"])
    return None if page is None else reduce_whole(page[:, :-PANEL], max(max(page.shape) // 360, 1))


if __name__ == "__main__":
    steps.run(main)
