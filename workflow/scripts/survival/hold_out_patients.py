"""Hold patients out of training beside the folds: each site in turn, or the external cohorts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from histoweave import steps
from histoweave.formats.survival import COHORT, COHORTS, FOLDS
from histoweave.survival.folds import FoldSettings, SiteSettings, hold_out, without_each_site


@dataclass(frozen=True)
class Settings:
    """What this step needs of the config."""

    folds: FoldSettings
    one_site_out: SiteSettings


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--cohort", type=Path, required=True, help="cohort.parquet; of all cohorts for external")
    parser.add_argument("--who", choices=["one_site_out", "external"], required=True, help="whom to hold out")
    parser.add_argument("--out", type=Path, required=True, help="table to write: one fold for each time")
    args = parser.parse_args(argv)
    settings = steps.settings_of(Settings, args.settings)
    shared = {"settings": settings.folds, "seed": args.seed}
    if args.who == "external":
        cohort = COHORTS.read(args.cohort)
        folds = hold_out(cohort, (cohort["role"] == "external").to_numpy(), **shared)
    else:
        folds = without_each_site(COHORT.read(args.cohort), least_events=settings.one_site_out.least_events, **shared)
    inputs = {"cohort": args.cohort}
    record = steps.provenance("survival/hold_out_patients", settings=settings, seed=args.seed, inputs=inputs)
    FOLDS.write(folds, args.out, provenance=record)


if __name__ == "__main__":
    steps.run(main)
