"""Reading tiles against OpenSlide and against the bare decoder, and encoding them: ratios per CPU second, one run.

The slides are mosaics of real pixels where HISTOWEAVE_DATA has them, of simulated ones otherwise. BENCH_SIDE is their
side in pixels: that of a small biopsy, so that neither the border nor what a cache happens to hold decides.
`--lazyslide` names the Python of an environment with LazySlide, which is then timed on the same slide.
"""

import argparse
import dataclasses
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pandas as pd
import simplejpeg
import tifffile
from PIL import Image
from unit.slides.pretend import TISSUE, tissue_picture

from histoweave.slides import handcrafted
from histoweave.slides.cut import read_tiles
from histoweave.slides.opening import open_slide
from histoweave.slides.outline import to_polygons
from histoweave.slides.overview import read_overviews
from histoweave.slides.tiling import TileSettings, place_tiles, plan_grid
from histoweave.slides.tissue import find_tissue

SIDE = int(os.environ.get("BENCH_SIDE", "16384"))
TURNS = 5
TILES = TileSettings(
    mpp=0.5, tile_px=256, overlap=0.0, minimum_tissue=0.5, tolerance=0.005, most_enlarged=1.25, decode="full"
)


def cpu(**works: Callable[[], object]) -> dict[str, float]:
    """Least CPU seconds (user and system) of each of `works`, which take turns so that all meet the same machine."""
    least = dict.fromkeys(works, np.inf)
    for _ in range(TURNS):
        for name, work in works.items():
            begin = time.process_time()
            work()
            least[name] = min(least[name], time.process_time() - begin)
    return least


def source_pixels() -> np.ndarray:
    """Tissue (row, column, rgb) to build mosaics of."""
    folder = os.environ.get("HISTOWEAVE_DATA")
    path = Path(folder or ".") / "slides/real/CMU-1-Small-Region.svs"
    if path.is_file():
        slide = openslide.OpenSlide(str(path))
        return np.asarray(slide.read_region((700, 900), 0, (1024, 2048)).convert("RGB"))
    return tissue_picture(1024, 1024, seed=1, margin=-0.5)[0]


def mosaic(path: Path, *, mpp: float) -> Path:
    """Write an Aperio slide of SIDE x SIDE px, JPEG quality 75 with 4:2:0, levels by 4."""
    source = source_pixels()
    rows, columns = (-(-SIDE // side) for side in source.shape[:2])
    pixels = np.tile(source, (rows, columns, 1))[:SIDE, :SIDE]
    text = f"Aperio Image Library v12\r\n{SIDE}x{SIDE} (256x256) JPEG|AppMag = {round(10 / mpp)}|MPP = {mpp}"
    with tifffile.TiffWriter(path) as file:
        for factor in (1, 4, 16):
            level = np.ascontiguousarray(pixels[::factor, ::factor])
            file.write(
                level,
                photometric="rgb",
                tile=(256, 256),
                compression="jpeg",
                compressionargs={"level": 75},
                description=text,
                metadata=None,
            )
    return path


def coordinates(side: int, offset: int) -> pd.DataFrame:
    """Corners of all tiles of `side` level-0 px, from `offset` on, row by row."""
    places = np.arange(offset, SIDE - side + 1, side)
    y, x = (grid.ravel() for grid in np.meshgrid(places, places, indexing="ij"))
    return pd.DataFrame({"x": x, "y": y})


def raw_decode(path: Path, decode: Callable[[bytes], object]) -> None:
    """Decode every stored tile of level 0 once and drop it; `mosaic` writes whole JPEG streams."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        for place, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.filehandle.seek(place)
            decode(file.filehandle.read(count))


def by_imagecodecs(data: bytes) -> np.ndarray:
    return imagecodecs.jpeg8_decode(data, colorspace="YCBCR", outcolorspace="RGB")


def by_simplejpeg(data: bytes) -> np.ndarray:
    return simplejpeg.decode_jpeg(data, "RGB")


def openslide_loop(path: Path, tiles: pd.DataFrame, side: int) -> None:
    slide = openslide.OpenSlide(str(path))
    for x, y in zip(tiles["x"], tiles["y"], strict=True):
        region = slide.read_region((int(x), int(y)), 0, (side, side)).convert("RGB")
        np.asarray(region if side == 256 else region.resize((256, 256), Image.Resampling.BOX))


def ours(path: Path, tiles: pd.DataFrame, *, mpp: float, decode: str) -> None:
    slide = open_slide(path, halves=decode == "half")
    grid = plan_grid(slide.levels, mpp=mpp, settings=dataclasses.replace(TILES, decode=decode))
    for _ in read_tiles(slide, grid, tiles):
        pass
    slide.close()


def bench_reading(path: Path, mpp: float) -> None:
    side = round(256 * 0.5 / mpp)
    for offset in (0, 100):
        tiles = coordinates(side, offset)
        seconds = cpu(
            openslide=partial(openslide_loop, path, tiles, side),
            imagecodecs=partial(raw_decode, path, by_imagecodecs),
            simplejpeg=partial(raw_decode, path, by_simplejpeg),
            full=partial(ours, path, tiles, mpp=mpp, decode="full"),
            half=partial(ours, path, tiles, mpp=mpp, decode="half"),
        )
        plain = seconds["openslide"]
        for decode in ("full", "half") if side > 256 else ("full",):
            fast = seconds[decode]
            line = f"read {mpp} um/px, offset {offset}, {decode} size: {len(tiles) / fast:.0f} tiles per CPU s;"
            line += f" OpenSlide loop {len(tiles) / plain:.0f}: x{plain / fast:.2f}; of the raw decode"
            line += (
                f" {seconds['imagecodecs'] / fast:.0%} (imagecodecs), {seconds['simplejpeg'] / fast:.0%} (simplejpeg)"
            )
            print(line, flush=True)
    if side > 256:
        print(f"half size off by {half_error(path, coordinates(side, 0)):.2f} grey levels on average")


def half_error(path: Path, tiles: pd.DataFrame) -> float:
    """Mean absolute difference, in grey levels, between tiles decoded at half size and tiles averaged."""
    full, half = open_slide(path), open_slide(path, halves=True)
    grids = [plan_grid(slide.levels, mpp=0.25, settings=TILES) for slide in (full, half)]
    pairs = zip(read_tiles(full, grids[0], tiles), read_tiles(half, grids[1], tiles), strict=True)
    return float(np.mean([np.abs(one.astype(int) - other).mean() for one, other in pairs]))


LAZYSLIDE = """
import sys, time
import lazyslide as zs
from torch.utils.data import DataLoader
from wsidata import open_wsi
begin = time.process_time()
wsi = open_wsi(sys.argv[1], store=None)
zs.pp.find_tissues(wsi)
zs.pp.tile_tissues(wsi, 256, mpp=0.5)
count = sum(len(batch["image"]) for batch in DataLoader(wsi.ds.tile_images(), batch_size=32, num_workers=0))
print(count, time.process_time() - begin)
"""


def to_batches(path: Path) -> tuple[int, float]:
    """Tiles and CPU seconds from a slide file to uint8 batches, with mask, outline and grid."""
    begin = time.process_time()
    slide = open_slide(path)
    mpp = float(slide.properties["openslide.mpp-x"])
    grid = plan_grid(slide.levels, mpp=mpp, settings=TILES)
    view, _ = read_overviews(slide, mpp=mpp, mask_um=8.0, thumbnail_px=1024)
    masks = find_tissue(view.pixels, um=mpp * view.downsample, settings=TISSUE)
    to_polygons(masks.tissue, downsample=view.downsample)
    tiles = place_tiles(grid, size=(SIDE, SIDE), mask=masks.tissue, mask_downsample=view.downsample, minimum_tissue=0.5)
    batch, count = np.empty((32, 256, 256, 3), dtype=np.uint8), 0
    for number, tile in enumerate(read_tiles(slide, grid, tiles)):
        batch[number % 32] = tile
        count += 1
    return count, time.process_time() - begin


def bench_lazyslide(path: Path, python: str) -> None:
    to_batches(path)
    mine, theirs = [], []
    for _ in range(TURNS):
        mine.append(to_batches(path))
        done = subprocess.run([python, "-c", LAZYSLIDE, str(path)], capture_output=True, text=True, check=True)
        theirs.append(tuple(map(float, done.stdout.split()[-2:])))
    (count, seconds), (other_count, other_seconds) = (min(turns, key=lambda turn: turn[1]) for turns in (mine, theirs))
    ours_rate, other_rate = count / seconds, other_count / other_seconds
    line = f"{path.stem} um/px to uint8 batches: {ours_rate:.0f} tiles per CPU s ({count} tiles); LazySlide"
    print(f"{line} {other_rate:.0f} ({other_count:.0f} tiles): x{ours_rate / other_rate:.1f}")


def bench_handcrafted(path: Path) -> None:
    slide = open_slide(path)
    tiles = [slide.read(0, x, y, 256, 256) for x in range(0, 2048, 256) for y in range(0, 2048, 256)]
    handcrafted.encode(tiles[:2], mpp=0.5)
    seconds = cpu(handcrafted=partial(handcrafted.encode, tiles, mpp=0.5))
    print(f"handcrafted: {len(tiles) / seconds['handcrafted']:.0f} tiles per CPU s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lazyslide", help="Python of an environment with LazySlide")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for mpp in (0.5, 0.25):
            path = mosaic(Path(folder) / f"{mpp}.svs", mpp=mpp)
            bench_reading(path, mpp)
            if args.lazyslide:
                bench_lazyslide(path, args.lazyslide)
        bench_handcrafted(Path(folder) / "0.5.svs")


if __name__ == "__main__":
    main()
