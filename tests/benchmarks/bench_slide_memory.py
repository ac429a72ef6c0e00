"""A slide of 60,000 x 60,000 px from file to features, by the functions that the scripts call: memory, time, tiles.

The slide is one painted block of 4,096 px laid side by side on glass, so that its stored tiles are encoded once.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
import yaml
from bench_slide_truth import nuclei_of

from histoweave.formats.slides import ENCODING
from histoweave.rng import generator
from histoweave.simulate import picture
from histoweave.slides.resample import reduce_whole

SIDE, BLOCK, TILE, MPP = 60_000, 4096, 256, 0.5
TISSUE_BLOCKS = range(4, 10)  # of 15 a side: 36 blocks, 9,216 tiles
REPOSITORY = Path(__file__).parents[2]


def encoded(pixels: np.ndarray) -> bytes:
    return imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=80, colorspace="RGB", outcolorspace="YCBCR")


def stored_tiles(block: np.ndarray, side: int) -> Iterator[bytes]:
    """Stored tiles, row by row, of a level `side` px wide whose part of tissue repeats `block`."""
    count = len(block) // TILE
    own = {
        (r, c): encoded(block[r * TILE : (r + 1) * TILE, c * TILE : (c + 1) * TILE])
        for r in range(count)
        for c in range(count)
    }
    glass = encoded(np.full((TILE, TILE, 3), 243, dtype=np.uint8))
    number = -(-side // TILE)
    for row in range(number):
        for column in range(number):
            tissue = row // count in TISSUE_BLOCKS and column // count in TISSUE_BLOCKS
            yield own[row % count, column % count] if tissue else glass


def write_large(path: Path) -> None:
    """Write the slide: levels by 4, JPEG tiles of 256 px, its resolution as Aperio gives it."""
    rng = generator(1, "large")
    kinds = picture.tissue_kinds((BLOCK // picture.COARSE,) * 2, tumour_share=0.5, rng=rng)
    kinds[kinds < 0] = picture.STROMA
    nuclei = dict(nuclei_of(name, rng) for name in ("stroma", "tumour", "lymphoid", "fat"))
    block = picture.paint(kinds, mpp=MPP, nuclei=nuclei, stain=picture.site_stain(rng), rng=rng)
    text = f"Aperio Image Library v12\r\n{SIDE}x{SIDE} ({TILE}x{TILE}) JPEG|AppMag = 20|MPP = {MPP}"
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for factor in (1, 4, 16):
            side = SIDE // factor
            file.write(
                stored_tiles(reduce_whole(block, factor), side),
                shape=(side, side, 3),
                dtype=np.uint8,
                photometric="ycbcr",
                compression="jpeg",
                tile=(TILE, TILE),
                description=text,
                metadata=None,
            )


def defaults(schema: dict) -> object:
    """What a schema fills in where nothing is said."""
    if schema.get("type") == "object":
        return {name: defaults(part) for name, part in schema["properties"].items()}
    return schema["default"]


def run_script(name: str, arguments: dict[str, object]) -> tuple[float, float]:
    """Run a script of the stage with `arguments`; CPU seconds, and GB of its largest resident memory."""
    flags = [text for key, value in arguments.items() for text in (f"--{key}", str(value))]
    script = REPOSITORY / f"workflow/scripts/slides/{name}.py"
    child = subprocess.Popen([sys.executable, "-P", script, *flags], stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{name} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


def main() -> None:
    slides = defaults(yaml.safe_load((REPOSITORY / "workflow/schemas/slides.schema.yaml").read_text()))
    cut = {name: slides[name] for name in ("resolution", "tissue", "tiles", "quality")}
    encode = {name: slides[name] for name in ("tiles", "encoder")}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_large(folder / "large.svs")
        print(f"slide of {SIDE} x {SIDE} px, {(folder / 'large.svs').stat().st_size / 1e6:.0f} MB")
        rows = json.dumps([{"slide": "large", "patient": "P", "path": str(folder / "large.svs")}])
        common = {"rows": rows, "folder": folder / "slides", "code": "0", "threads": 1, "seed": 1}
        tiling, features = folder / "tiling.parquet", folder / "encoding.parquet"
        seconds, peak = run_script(
            "tile_slides", common | {"thumbnail-px": slides["thumbnail_px"], "settings": json.dumps(cut), "out": tiling}
        )
        print(f"tile_slides: {seconds:.0f} CPU s, {peak:.2f} GB")
        own = {"tiling": tiling, "registry": REPOSITORY / "resources/encoders.yaml", "export": "none", "out": features}
        seconds, peak = run_script("encode_tiles", common | own | {"settings": json.dumps(encode)})
        row = ENCODING.read(features).iloc[0]
        print(f"encode_tiles: {seconds:.0f} CPU s, {peak:.2f} GB; {row['n_tiles']} tiles, {row['status']}")


if __name__ == "__main__":
    main()
