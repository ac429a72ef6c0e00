"""Encoding one slide: reads its tiles' pixels, or a feature file made elsewhere, and writes its features."""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from histoweave import steps
from histoweave.errors import InputError
from histoweave.formats import slides as files
from histoweave.formats.feature_files import read_given
from histoweave.formats.files import fingerprint, replacing
from histoweave.formats.slide_exports import Exported, write_exports
from histoweave.slide_runs import Row, blank, digest, guarded, over_slides
from histoweave.slides.cut import read_tiles
from histoweave.slides.encoders import Encoder, EncoderSettings, encode_all, make_encoder
from histoweave.slides.opening import open_slide
from histoweave.slides.tiling import Grid, TileSettings

_SHARD = 4096


@dataclass(frozen=True)
class EncodingSettings:
    """Tiles as they were cut, and what encodes them."""

    tiles: TileSettings
    encoder: EncoderSettings


@dataclass(frozen=True)
class EncodingJob:
    """What is the same for all slides: results `folder`, `settings`, hash of the `code`, export, encoders' cards."""

    folder: Path
    settings: EncodingSettings
    code: str
    export: str
    registry: Mapping[str, Mapping]


def encode_slides(rows: Sequence[Row], *, job: EncodingJob, threads: int) -> list[Row]:
    """Manifest row of each of `rows` (rows of slides.tsv joined with the tiling's manifest), features written.

    The built-in features run in `threads` processes. A network runs in one process, where `threads` slides are read
    at a time, so that the device does not wait for the next slide.
    """
    chosen, wanted = job.settings.encoder, job.settings.tiles
    encoder = None
    if any(not row.get("features") for row in rows):
        encoder = make_encoder(chosen, registry=job.registry, mpp=wanted.mpp, tile_px=wanted.tile_px)
    work = partial(guarded, work=partial(encode_slide, job=job, encoder=encoder))
    if chosen.name == "handcrafted" or encoder is None:
        return over_slides(work, rows, threads=threads)
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        return list(steps.progress(pool.map(work, rows), total=len(rows), what="slides"))


def encode_slide(row: Row, *, job: EncodingJob, encoder: Encoder | None) -> Row:
    """Write the features of one slide: a row of slides.tsv joined with its manifest row of the tiling."""
    if row.get("features"):
        return import_slide(row, job=job)
    if row["status"] != "ok" or encoder is None:
        return row
    paths = files.slide_files(job.folder, row["slide"])
    print_ = digest(files.remembered(paths["tiles"])[0], encoder.hash, asdict(job.settings.tiles), job.code)
    before, count = files.remembered_features(paths["features"])
    if before == print_:
        _export(row, paths["features"], job)
        return row | {"n_tiles": count}
    tiles, meta = files.TILES.read(paths["tiles"]), files.TILES.metadata(paths["tiles"])
    tiles, grid = tiles[tiles["status"] == "ok"].reset_index(drop=True), Grid(**meta["grid"])
    shards = Shards(job.folder / "shards" / row["slide"], print_)
    features, there = _encode(encoder, Path(row["path"]), grid, tiles, shards, job.settings)
    place = {"mpp": float(grid.mpp), "tile_um": grid.tile_um, "tile_level0_px": grid.side}
    meta = {
        "encoder": encoder.name,
        "encoder_hash": encoder.hash,
        "fingerprint": print_,
        "decode": row["decode"],
        **place,
    }
    _write(paths["features"], features, tiles[there], encoder.names, meta, job, paths["tiles"])
    shards.remove()
    _export(row, paths["features"], job)
    return row | {"n_tiles": len(features)}


def _export(row: Row, path: Path, job: EncodingJob) -> None:
    """Write a slide's features for other tools, if that is asked for."""
    if job.export == "none":
        return
    data, tiles = files.FEATURES.read(path), job.settings.tiles
    one = Exported(
        slide=row["slide"],
        features=np.asarray(data.X),
        xy=np.asarray(data.obsm["spatial"]),
        encoder=str(data.uns["encoder"]),
        encoder_hash=str(data.uns["encoder_hash"]),
        mpp_level0=row["mpp"],
        mpp_source=row["mpp_source"],
        tile_px=tiles.tile_px,
        side=float(data.uns["tile_level0_px"]),
        overlap=tiles.overlap,
        size=(row["width_px"], row["height_px"]),
    )
    write_exports(one, job.folder / "exports", kind=job.export)


@dataclass(frozen=True)
class Shards:
    """Finished parts of a slide, kept until all of it is done, so that a killed job goes on where it was."""

    folder: Path
    fingerprint: str

    def path(self, start: int) -> Path:
        """File of the part that begins with tile `start`; another fingerprint is another file."""
        return self.folder / f"{self.fingerprint}-{start}.npz"

    def read(self, start: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Features (tile, feature) and which tiles they are of, or None where the part is not done."""
        try:
            with np.load(self.path(start), allow_pickle=False) as file:
                return file["features"], file["there"]
        except (OSError, ValueError, KeyError):
            return None

    def write(self, start: int, features: np.ndarray, there: np.ndarray) -> None:
        """Keep a finished part."""
        with replacing(self.path(start)) as temporary:
            np.savez(temporary, features=features, there=there)

    def remove(self) -> None:
        """Forget all parts of this slide, those of earlier settings too."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)


def _encode(
    encoder: Encoder, path: Path, grid: Grid, tiles: pd.DataFrame, shards: Shards, settings: EncodingSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Features (tile, feature) of the tiles that could be read, and which those are."""
    slide = open_slide(path, halves=settings.tiles.decode == "half")
    parts = []
    try:
        for start in range(0, len(tiles), _SHARD):
            part = tiles[start : start + _SHARD]
            done = shards.read(start)
            if done is None:
                done = encode_all(encoder, read_tiles(slide, grid, part), batch=settings.encoder.batch_tiles)
                if len(tiles) > _SHARD:
                    shards.write(start, *done)
            parts.append(done)
    finally:
        slide.close()
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


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
        own = given.encoder_hash or digest(given.encoder, given.names)
        meta = {"encoder": given.encoder, "encoder_hash": own, "fingerprint": print_}
        meta |= {"mpp": given.mpp, "tile_um": given.tile_um, "tile_level0_px": given.side_px}
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
