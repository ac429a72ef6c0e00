"""Join what every step left out into one table, and check that all counts add up."""

from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.ledger import LEDGER
from histoweave.formats.report import join_ledgers


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="results folder of the run")
    parser.add_argument("--parts", nargs="*", default=[], help="parts below ledger/ that this run may write")
    parser.add_argument("--out", type=Path, required=True, help="the joined ledger (Parquet)")
    args = parser.parse_args(argv)
    parts = [path for part in sorted(args.parts) if (path := args.results / "ledger" / part).is_file()]
    joined, counts = join_ledgers(parts)
    steps.log.info("%d parts, %d counts add up, %d items left out", len(parts), len(counts), len(joined))
    provenance = steps.provenance("report/join_ledgers", settings={}, seed=args.seed, inputs={"parts": parts})
    LEDGER.write(joined, args.out, provenance=provenance, counts=counts)


if __name__ == "__main__":
    steps.run(main)
