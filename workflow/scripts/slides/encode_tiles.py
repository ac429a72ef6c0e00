"""Turn the tiles of some slides into features, or convert feature files that were made elsewhere."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

from histoweave import steps
from histoweave.formats.slide_exports import EXPORTS
from histoweave.formats.slides import ENCODING, TILING
from histoweave.slide_encoding import EncodingJob, EncodingSettings, encode_slides


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--rows", type=json.loads, required=True, help="JSON list of the batch's rows of slides.tsv")
    parser.add_argument("--tiling", type=Path, required=True, help="manifest of the batch's tiling")
    parser.add_argument("--registry", type=Path, required=True, help="cards of encoders (resources/encoders.yaml)")
    parser.add_argument("--folder", type=Path, required=True, help="results folder of the stage")
    parser.add_argument("--export", choices=EXPORTS, required=True, help="HDF5 for other tools")
    parser.add_argument("--code", required=True, help="hash of the code, for skipping what is done")
    parser.add_argument("--out", type=Path, required=True, help="manifest of the batch")
    args = parser.parse_args(argv)
    settings = steps.settings_of(EncodingSettings, args.settings)
    tiled = TILING.read(args.tiling).set_index("slide", drop=False).to_dict("index")
    rows = [row | tiled.get(row["slide"], {}) for row in args.rows]
    job = EncodingJob(args.folder, settings, args.code, args.export, yaml.safe_load(args.registry.read_text()))
    done = encode_slides(rows, job=job, threads=args.threads)
    for row, after in zip(rows, done, strict=True):
        after["seconds"] += row.get("seconds", 0.0)
    record = steps.provenance("slides/encode_tiles", settings=settings, seed=args.seed, inputs={})
    ENCODING.write(pd.DataFrame(done)[list(ENCODING.columns)], args.out, provenance=record)


if __name__ == "__main__":
    steps.run(main)
