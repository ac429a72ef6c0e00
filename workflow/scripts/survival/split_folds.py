"""Split patients into outer folds with an inner validation part."""

from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.survival import COHORT, FOLDS, read_given_folds
from histoweave.survival.folds import FoldSettings, split


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    settings = steps.settings_of(FoldSettings, args.settings)
    given = read_given_folds(settings.given) if settings.scheme == "given" and settings.given else None
    folds = split(COHORT.read(args.cohort), settings=settings, seed=args.seed, given=given)
    record = steps.provenance(
        "survival/split_folds",
        settings=settings,
        seed=args.seed,
        inputs={"cohort": args.cohort, "given": settings.given if given is not None else None},
    )
    FOLDS.write(folds, args.out, provenance=record)


if __name__ == "__main__":
    steps.run(main)
