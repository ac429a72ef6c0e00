"""Draw every figure of the report as SVG, from the run's tables."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histoweave import steps
from histoweave.formats.files import replacing
from histoweave.formats.report import FIGURES, read_pseudonyms, read_results, read_slides
from histoweave.plots.atlas import Drawn, FigureSettings, Slide, draw_all
from histoweave.plots.style import note_svg
from histoweave.report.derived import derived
from histoweave.report.pseudonyms import Pseudonyms


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="results folder of the run")
    parser.add_argument("--models", nargs="*", default=[], help="survival models in the order of the config")
    parser.add_argument("--pseudonyms", type=Path, nargs="?", help="what to call patients and slides (Parquet)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--table", type=Path, required=True, help="list of the figures (Parquet)")
    args = parser.parse_args(argv)
    settings = steps.settings_of(FigureSettings, args.settings)
    results = read_results(args.results, args.models)
    tables = derived(results.tables, args.models)
    slides = {case: Slide(**found) for case, found in read_slides(args.results, tables).items()}
    tables = Pseudonyms(read_pseudonyms(args.pseudonyms)).tables(tables)  # the slides' files are found by their own
    rows = []
    for drawn in steps.progress(draw_all(tables, settings, models=tuple(args.models), slides=slides), what="figures"):
        file = f"{drawn.name}.svg"
        _save(drawn, args.out / file)
        rows.append({"figure": drawn.name, "file": file, "drawn": bool(drawn.svg), "alt": drawn.alt})
    used = {name: args.results / results.files[name] for name in results.records}
    provenance = steps.provenance("report/draw_figures", settings=settings, seed=args.seed, inputs=used)
    FIGURES.write(pd.DataFrame(rows), args.table, provenance=provenance)


def _save(drawn: Drawn, path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(drawn.svg or note_svg(drawn.alt), encoding="utf-8")


if __name__ == "__main__":
    steps.run(main)
