"""Write the demo cohort's tables (kept under config/demo); run by hand after a change of the cohort."""

from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.files import replacing
from histoweave.simulate.cohort import permute_follow_up, simulate_cohort
from histoweave.simulate.settings import SimulateSettings
from histoweave.simulate.slide import plan_slides
from histoweave.simulate.tables import demo_tables


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the tables")
    args = parser.parse_args(argv)
    settings = steps.settings_of(SimulateSettings, args.settings)
    cohort = simulate_cohort(settings)
    plans = plan_slides(cohort, seed=settings.seed)
    permuted = permute_follow_up(cohort.patients, seed=settings.seed)
    for name, text in demo_tables(cohort, plans, permuted, folder=settings.folder).items():
        with replacing(args.out_dir / name) as temporary:
            temporary.write_text(text)


if __name__ == "__main__":
    steps.run(main)
