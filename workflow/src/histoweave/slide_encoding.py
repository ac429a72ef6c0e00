"""Encoding one slide: reads its tiles' pixels, or a feature file made elsewhere, and writes its features."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from histoweave import steps
from histoweave.errors import InputError
from histoweave.formats import slides as files
from histoweave.formats.feature_files import read_given
from histoweave.formats.files import fingerprint
from histoweave.slide_runs import Row, blank, digest
from histoweave.slides.cut import read_tiles
from histoweave.slides.encoders import Encoder, EncoderSettings, encode_all, make_encoder
from histoweave.slides.opening import open_slide
from histoweave.slides.tiling import Grid, TileSettings

_BATCH = 32


@dataclass(frozen=True)
class EncodingSettings:
    """Tiles as they were cut, and what encodes them."""

    tiles: TileSettings
    encoder: EncoderSettings


@dataclass(frozen=True)
class EncodingJob:
    """What is the same for all slides: results `folder`, `settings`, hash of the `code`."""

    folder: Path
    settings: EncodingSettings
    code: str


def encode_slide(row: Row, *, job: EncodingJob) -> Row:
    """Write the features of one slide: a row of slides.tsv joined with its manifest row of the tiling."""
    if row.get("features"):
        return import_slide(row, job=job)
    if row["status"] != "ok":
        return row
    paths = files.slide_files(job.folder, row["slide"])
    print_ = digest(files.remembered(paths["tiles"])[0], asdict(job.settings), job.code)
    before, count = files.remembered_features(paths["features"])
    if before == print_:
        return row | {"n_tiles": count}
    tiles, meta = files.TILES.read(paths["tiles"]), files.TILES.metadata(paths["tiles"])
    tiles, grid = tiles[tiles["status"] == "ok"].reset_index(drop=True), Grid(**meta["grid"])
    wanted = job.settings.tiles
    encoder = make_encoder(job.settings.encoder, mpp=wanted.mpp, tile_px=wanted.tile_px)
    features, there = _encode(encoder, Path(row["path"]), grid, tiles)
    place = {"mpp": float(grid.mpp), "tile_um": grid.tile_um, "tile_level0_px": grid.side}
    meta = {"encoder": encoder.name, "encoder_hash": encoder.hash, "fingerprint": print_, **place}
    _write(paths["features"], features, tiles[there], encoder.names, meta, job, paths["tiles"])
    return row | {"n_tiles": len(features)}


def _encode(encoder: Encoder, path: Path, grid: Grid, tiles: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    slide = open_slide(path)
    try:
        return encode_all(encoder, read_tiles(slide, grid, tiles), batch=_BATCH)
    finally:
        slide.close()


def import_slide(row: Row, *, job: EncodingJob) -> Row:
    """Convert the feature file that slides.tsv gives for a slide."""
    source, target = Path(row["features"]), files.slide_files(job.folder, row["slide"])["features"]
    print_ = digest(fingerprint(source), row.get("mpp"), job.code)
    before, count = files.remembered_features(target)
    done = blank(row) | {"status": "ok", "reader": "features"}
    given = read_given(source, mpp=row.get("mpp"))
    if not len(given.features):
        return done | {"status": "empty", "reason": f"{source.name} holds no tiles"}
    done |= {"n_tiles": len(given.features), "mpp": given.mpp, "tile_um": given.tile_um}
    done["mpp_source"] = "table" if row.get("mpp") else "features" if np.isfinite(given.mpp) else ""
    if (before, count) != (print_, len(given.features)):
        tiles = pd.DataFrame(
            {"tile": np.arange(len(given.features)), "x": given.spatial[:, 0], "y": given.spatial[:, 1]}
        )
        meta = {"encoder": given.encoder, "encoder_hash": digest(given.encoder, given.names), "fingerprint": print_}
        meta |= {"mpp": given.mpp, "tile_um": given.tile_um}
        _write(target, given.features, tiles, given.names, meta, job, source)
    return done


def _write(
    path: Path,
    features: np.ndarray,
    tiles: pd.DataFrame,
    names: list[str],
    meta: Mapping,
    job: EncodingJob,
    source: Path,
) -> None:
    if not len(features):
        msg = "not one of its tiles could be read"
        raise InputError(msg)
    record = steps.provenance("slides/encode_tiles", settings=job.settings, seed=0, inputs={"source": source})
    files.write_features(features, tiles, path, names=names, meta=meta, provenance=record)
