"""Write the report: one HTML page that opens without a network."""

from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.files import replacing
from histoweave.formats.report import read_figures, read_pseudonyms, read_results, read_texts
from histoweave.report.derived import derived
from histoweave.report.methods import bibtex_of
from histoweave.report.page import pictures_of, render
from histoweave.report.pseudonyms import Pseudonyms
from histoweave.report.run import Run


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="results folder of the run")
    parser.add_argument("--project", type=Path, required=True, help="folder of the workflow's files")
    parser.add_argument("--datasets", type=Path, nargs="?", help="table of single-cell and spatial datasets (TSV)")
    parser.add_argument("--title", required=True, help="heading of the page")
    parser.add_argument("--viewer", nargs="?", help="address of the slide viewer as seen from the page")
    parser.add_argument("--pseudonyms", type=Path, nargs="?", help="what to call patients and slides (Parquet)")
    parser.add_argument("--out", type=Path, required=True, help="the report (HTML)")
    parser.add_argument("--bibtex", type=Path, required=True, help="references that the Methods cite (BibTeX)")
    args = parser.parse_args(argv)
    config = args.settings
    templates = args.project / "workflow/report"
    models = list(config["survival"].get("models", {}))
    results = read_results(args.results, models)
    hide = Pseudonyms(read_pseudonyms(args.pseudonyms))
    texts = read_texts(templates, args.project / "envs", args.datasets)
    pictures = pictures_of(read_figures(args.results / "report"), texts.captions)
    run = Run(
        tables=hide.tables(derived(results.tables, models)) | {"datasets": texts.datasets},
        files=results.files,
        config=config,
        pictures=pictures,
        records=results.records,
        texts=texts.others | {"viewer": args.viewer or ""},
    )
    page = render(run, templates=templates, title=args.title)
    for path, text in ((args.out, page), (args.bibtex, bibtex_of(run))):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    steps.log.info("report of %.1f MB", len(page.encode()) / 1e6)


if __name__ == "__main__":
    steps.run(main)
