"""Paint and write some slides of the demo cohort."""

from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.errors import InputError, shorten
from histoweave.formats.simulate import write_slide
from histoweave.simulate.cohort import simulate_cohort
from histoweave.simulate.settings import SimulateSettings
from histoweave.simulate.slide import plan_slides, pyramid, render


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--slides", nargs="+", required=True, help="names of the slides to write")
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the slide files")
    args = parser.parse_args(argv)
    settings = steps.settings_of(SimulateSettings, args.settings)
    plans = {plan.slide: plan for plan in plan_slides(simulate_cohort(settings), seed=settings.seed)}
    unknown = sorted(set(args.slides) - set(plans))
    if unknown:
        msg = f"{len(unknown)} slides are not in the demo cohort: {shorten(unknown)}. Use config/demo/slides.tsv."
        raise InputError(msg)
    for slide in steps.progress(args.slides, what="slides"):
        plan = plans[slide]
        mpp = None if plan.defect == "no_mpp" else plan.mpp
        levels = pyramid(render(plan, seed=settings.seed))
        write_slide(args.out_dir / f"{slide}.tiff", levels, mpp=mpp, damaged=plan.defect == "corrupt")


if __name__ == "__main__":
    steps.run(main)
