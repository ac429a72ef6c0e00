"""Find the tissue of some slides and cut it into tiles of a fixed length in micrometres."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from histoweave import steps
from histoweave.formats.slides import TILING
from histoweave.slide_runs import guarded, over_slides
from histoweave.slide_tiling import TilingJob, tile_slide
from histoweave.slides.cut import CutSettings


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--rows", type=json.loads, required=True, help="JSON list of the batch's rows of slides.tsv")
    parser.add_argument("--folder", type=Path, required=True, help="results folder of the stage")
    parser.add_argument("--thumbnail-px", type=int, required=True, help="longest side of thumbnails")
    parser.add_argument("--code", required=True, help="hash of the code, for skipping what is done")
    parser.add_argument("--out", type=Path, required=True, help="manifest of the batch")
    args = parser.parse_args(argv)
    settings = steps.settings_of(CutSettings, args.settings)
    job = TilingJob(args.folder, settings, args.thumbnail_px, args.code)
    rows = [row for row in args.rows if row.get("path")]
    done = over_slides(partial(guarded, work=partial(tile_slide, job=job)), rows, threads=args.threads)
    record = steps.provenance("slides/tile_slides", settings=settings, seed=args.seed, inputs={})
    TILING.write(pd.DataFrame(done, columns=list(TILING.columns)), args.out, provenance=record)


if __name__ == "__main__":
    steps.run(main)
