"""Cutting one slide: reads it, writes its outline, thumbnail and tile table, and returns its manifest row."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from histoweave import steps
from histoweave.formats import slides as files
from histoweave.slide_runs import Row, blank, digest, table_part
from histoweave.slides.cut import Cut, CutSettings, cut_slide
from histoweave.slides.opening import open_slide
from histoweave.slides.outline import from_geojson, to_geojson, to_polygons
from histoweave.slides.qc_page import draw_page
from histoweave.slides.reader import Slide


@dataclass(frozen=True)
class TilingJob:
    """What is the same for all slides: results `folder`, `settings`, side of thumbnails, hash of the `code`."""

    folder: Path
    settings: CutSettings
    thumbnail_px: int
    code: str


def tile_slide(row: Row, *, job: TilingJob) -> Row:
    """Cut the slide of `row` (slides.tsv), unless its files say that nothing changed; return its manifest row."""
    paths = files.slide_files(job.folder, row["slide"])
    content, outline = files.fingerprint_slide(row["path"]), _outline(row["slide"], job.settings.tissue.outlines)
    drawn = None if outline is None else [[ring.tolist() for ring in rings] for rings in outline]
    print_ = digest(content, row["slide"], row.get("mpp"), asdict(job.settings), job.thumbnail_px, job.code, drawn)
    before, done = files.remembered(paths["tiles"])
    if before == print_ and paths["tissue"].is_file() and paths["thumbnail"].is_file():
        return done | table_part(row)
    slide = open_slide(row["path"], halves=job.settings.tiles.decode == "half")
    try:
        cut = cut_slide(
            slide,
            given_mpp=row.get("mpp"),
            name=row["slide"],
            thumbnail_px=job.thumbnail_px,
            settings=job.settings,
            outline=outline,
        )
        done = blank(row) | _summary(cut, slide) | {"outline": "found" if outline is None else "drawn"}
    finally:
        slide.close()
    _write(cut, done, paths, fingerprint=print_, settings=job.settings, slide=Path(row["path"]))
    return done


def _outline(slide: str, folder: str | None) -> list | None:
    """Outline drawn by hand for a slide, None where there is none."""
    path = None if folder is None else Path(folder) / f"{slide}.geojson"
    if path is None or not path.is_file():
        return None
    return from_geojson(files.read_geojson(path), name=path.name)


def _write(
    cut: Cut, done: Row, paths: dict[str, Path], *, fingerprint: str, settings: CutSettings, slide: Path
) -> None:
    polygons = to_polygons(cut.masks.tissue, downsample=cut.overview.downsample)
    files.write_geojson(to_geojson(polygons, name="Tissue"), paths["tissue"])
    files.write_picture(cut.thumbnail.pixels, paths["thumbnail"])
    page = draw_page(
        cut.thumbnail.pixels,
        downsample=cut.thumbnail.downsample,
        polygons=polygons,
        tiles=cut.tiles,
        side=cut.grid.side,
        facts=_facts(done, cut),
    )
    files.write_picture(page, paths["page"])
    files.TILES.write(
        cut.tiles,
        paths["tiles"],
        provenance=steps.provenance("slides/tile_slides", settings=settings, seed=0, inputs={"slide": slide}),
        fingerprint=fingerprint,
        row=done,
        mpp=cut.grid.mpp,
        tile_um=cut.grid.tile_um,
        tile_px=cut.grid.tile_px,
        tile_level0_px=cut.grid.side,
        level=done["level"],
        decode=done["decode"],
        grid=asdict(cut.grid),
    )


def _facts(done: Row, cut: Cut) -> dict[str, str]:
    """What the page of a slide says in words."""
    return {
        "slide": done["slide"],
        "status": done["status"],
        "um/px": f"{done['mpp']:.4g} ({done['mpp_source']})",
        "size, px": f"{done['width_px']} x {done['height_px']}",
        "tissue, mm2": f"{done['tissue_um2'] / 1e6:.3g} ({done['outline']})",
        "ink, mm2": f"{done['ink_um2'] / 1e6:.3g}",
        "tile, um": f"{done['tile_um']:.4g}",
        "sharpness, median": f"{cut.tiles['sharpness'].median():.3g}",
        "folds, mean share": f"{cut.tiles['fold_fraction'].mean():.3g}",
    }


def _summary(cut: Cut, slide: Slide) -> Row:
    """Part of the manifest row that the slide and its tiles decide."""
    good = int((cut.tiles["status"] == "ok").sum())
    pixel_um2 = (cut.overview.downsample * cut.resolution.mpp) ** 2
    none = "no tissue was found" if cut.tiles.empty else f"none of its {len(cut.tiles)} tiles is fit for use"
    in_file = cut.resolution.in_file
    return {
        "status": "ok" if good else "empty",
        "reason": "" if good else none,
        "n_tiles": good,
        "mpp": float(cut.resolution.mpp),
        "mpp_source": cut.resolution.source,
        "mpp_in_file": math.nan if in_file is None else in_file,
        "width_px": slide.levels[0].width,
        "height_px": slide.levels[0].height,
        "tissue_um2": float(np.count_nonzero(cut.masks.tissue) * pixel_um2),
        "ink_um2": float(np.count_nonzero(cut.masks.ink) * pixel_um2),
        "tile_um": cut.grid.tile_um,
        "level": _stored_level(slide, cut.grid.level),
        "decode": "half" if slide.levels[cut.grid.level].halved else "full",
        "reader": slide.reader,
        "thumbnail_downsample": cut.thumbnail.downsample,
    }


def _stored_level(slide: Slide, number: int) -> int:
    """Level of the file that level `number` is decoded from."""
    level = slide.levels[number]
    if not level.halved:
        return number
    return next(n for n, other in enumerate(slide.levels) if other.downsample * 2 == level.downsample)
