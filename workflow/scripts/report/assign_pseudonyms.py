"""Draw a pseudonym for every patient and slide that the report may name."""

from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.report import PSEUDONYMS, read_results
from histoweave.report.pseudonyms import assign
from histoweave.rng import generator


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="results folder of the run")
    parser.add_argument("--out", type=Path, required=True, help="names and pseudonyms (Parquet)")
    args = parser.parse_args(argv)
    results = read_results(args.results, [])
    table = assign(results.tables, generator(args.seed, "report/assign_pseudonyms"))
    used = {name: args.results / results.files[name] for name in results.records}
    provenance = steps.provenance("report/assign_pseudonyms", settings={}, seed=args.seed, inputs=used)
    PSEUDONYMS.write(table, args.out, provenance=provenance)


if __name__ == "__main__":
    steps.run(main)
