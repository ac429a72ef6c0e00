"""Cut the slides of the heatmap cases into pieces that a browser opens from disk, and write the page around them."""

from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.files import replacing
from histoweave.formats.report import read_pseudonyms, read_results, read_slide_paths, write_jpeg, write_png
from histoweave.plots.heatmap import overlay
from histoweave.report.derived import derived
from histoweave.report.pseudonyms import Pseudonyms
from histoweave.report.pyramid import ViewerSettings, finest_level, pieces, whole_image
from histoweave.report.viewer import Case, render_viewer
from histoweave.slides.opening import open_slide


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="results folder of the run")
    parser.add_argument("--models", nargs="*", default=[], help="survival models in the order of the config")
    parser.add_argument("--slides", type=Path, nargs="?", help="table of slides (TSV)")
    parser.add_argument("--pseudonyms", type=Path, nargs="?", help="what to call patients and slides (Parquet)")
    parser.add_argument("--templates", type=Path, required=True, help="folder of the report's pages")
    parser.add_argument("--title", required=True, help="heading of the page")
    parser.add_argument("--out", type=Path, required=True, help="folder of the viewer")
    args = parser.parse_args(argv)
    settings = steps.settings_of(ViewerSettings, args.settings)
    tables = derived(read_results(args.results, args.models).tables, args.models)
    found, note = read_slide_paths(args.slides, tables)
    hide = Pseudonyms(read_pseudonyms(args.pseudonyms))
    found = [row | {"slide": hide.name("slide", row["slide"])} for row in found]
    cases = [_cut(row, args.out, settings) for row in steps.progress(found, what="slides")]
    page = render_viewer(cases, templates=args.templates, title=args.title, note=hide.text(note))
    with replacing(args.out / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def _cut(row: dict, out: Path, settings: ViewerSettings) -> Case:
    """Write the pieces and the picture of attention of one case."""
    slide = open_slide(row["path"])
    image, downsample = whole_image(slide, longest_px=settings.longest_px)
    slide.close()
    folder = out / row["case"]
    for level, column, line, pixels in pieces(image, tile_px=settings.tile_px):
        write_jpeg(pixels, folder / str(level) / f"{column}_{line}.jpg", quality=settings.jpeg_quality)
    height, width = image.shape[:2]
    shrunk = max(1.0, max(width, height) / 1024)
    colours = overlay(row["tiles"], (width, height), downsample=downsample, shrunk=shrunk, tile_px0=row["tile_px0"])
    write_png(colours, folder / "attention.png")
    told = {name: row[name] for name in ("case", "slide", "model")}
    size = {"width": width, "height": height, "finest": finest_level(width, height), "tile_px": settings.tile_px}
    return Case(**told, **size, mpp=row["mpp"] * downsample, overlay_width=colours.shape[1] * shrunk / width)


if __name__ == "__main__":
    steps.run(main)
