"""Small slide files with known content, written as scanners write them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage

from histoweave.slides.cut import CutSettings
from histoweave.slides.quality import QualitySettings
from histoweave.slides.reader import Level, Slide, UnreadablePart
from histoweave.slides.resolution import ResolutionSettings
from histoweave.slides.tiling import TileSettings
from histoweave.slides.tissue import TissueSettings

RESOLUTION = ResolutionSettings(minimum_mpp=0.05, maximum_mpp=4.0, use_power=False)
TISSUE = TissueSettings(
    mask_um=8.0,
    minimum_saturation=8,
    smallest_tissue_um2=2000,
    smallest_hole_um2=2000,
    ink_density=0.25,
    ink_red_green=0.95,
    ink_blue_green=0.74,
    smallest_ink_um2=2000,
    outlines=None,
)
TILES = TileSettings(
    mpp=0.5, tile_px=64, overlap=0.0, minimum_tissue=0.5, tolerance=0.005, most_enlarged=1.25, decode="full"
)
QUALITY = QualitySettings(minimum_sharpness=0.3, maximum_fold=0.5, most_bad_share=0.1)
CUT = CutSettings(RESOLUTION, TISSUE, TILES, QUALITY)

GLASS = np.array([243, 242, 245])
PINK = np.array([214, 138, 180])
PURPLE = np.array([96, 62, 138])


def tissue_picture(height: int, width: int, *, seed: int, margin: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    """Pink ellipse with purple nuclei on glass: pixels (row, column, rgb) uint8, and the ellipse (row, column) bool."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    inside = ((y / height - 0.5) ** 2 + (x / width - 0.5) ** 2) < (0.5 - margin) ** 2
    wave = ndimage.gaussian_filter(rng.standard_normal((height, width)), 3)
    nuclei = ndimage.gaussian_filter((rng.random((height, width)) < 0.004).astype(float), 2.5) > 0.012
    picture = np.where((inside & nuclei)[..., None], PURPLE, np.where(inside[..., None], PINK, GLASS)).astype(float)
    picture += (60 * wave * inside)[..., None] + rng.normal(0, 1.5, (height, width, 1))
    return picture.clip(0, 255).astype(np.uint8), inside


def halves(pixels: np.ndarray, *, up: bool = False) -> np.ndarray:
    """Every block of 2 x 2 averaged; an odd last row or column is dropped, or kept with `up`."""
    if up:
        pixels = np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge")
    rows, columns = (side // 2 * 2 for side in pixels.shape[:2])
    wide = pixels[:rows, :columns].astype(np.uint16)
    return ((wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2] + 2) // 4).astype(np.uint8)


def write_aperio(
    path: Path, pixels: np.ndarray, *, mpp: float | None, levels: int = 2, power: int | None = None, **options: object
) -> Path:
    """Write an Aperio slide; `options` go to tifffile (compression, tile)."""
    options = {"compression": "jpeg", "compressionargs": {"level": 90}, "tile": (256, 256)} | options
    height, width = pixels.shape[:2]
    text = f"Aperio Image Library v12\r\n{width}x{height} ({options['tile'][0]}x{options['tile'][1]}) JPEG"
    text += f"|AppMag = {power}" if power else ""
    text += f"|MPP = {mpp}" if mpp else ""
    with tifffile.TiffWriter(path) as file:
        for _ in range(levels):
            file.write(pixels, photometric="rgb", description=text, metadata=None, **options)
            pixels = halves(pixels)
    return path


def write_generic(
    path: Path, pixels: np.ndarray, *, mpp: float | None, levels: int = 2, up: bool = False, **options: object
) -> Path:
    """Write a tiled pyramidal TIFF whose resolution stands in the TIFF tags."""
    options = {"compression": "jpeg", "compressionargs": {"level": 90}, "tile": (256, 256)} | options
    with tifffile.TiffWriter(path) as file:
        for level in range(levels):
            if mpp:
                options |= {"resolution": (1e4 / mpp / 2**level,) * 2, "resolutionunit": "CENTIMETER"}
            file.write(pixels, photometric="rgb", metadata=None, subfiletype=int(level > 0), **options)
            pixels = halves(pixels, up=up)
    return path


def overwrite_tile(path: Path, number: int, damage: Callable[[int], bytes]) -> None:
    """Overwrite one stored tile of level 0 with what `damage` makes of its length."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        place, count = page.dataoffsets[number], page.databytecounts[number]
    with path.open("r+b") as file:
        file.seek(place)
        file.write(damage(count))


def zero_tile(path: Path, number: int) -> None:
    """Overwrite one stored tile of level 0 with zeros."""
    overwrite_tile(path, number, bytes)


class Array(Slide):
    """A slide in memory, for tests of what stands on the reader; levels by factors of 2."""

    reader = "array"

    def __init__(self, pixels: np.ndarray, *, mpp: float | None, levels: int = 1, broken: tuple = ()) -> None:
        self._pixels = [pixels]
        for _ in range(levels - 1):
            self._pixels.append(halves(self._pixels[-1]))
        self.levels = tuple(Level(p.shape[1], p.shape[0], float(2**n)) for n, p in enumerate(self._pixels))
        self.properties = {"openslide.mpp-x": str(mpp), "openslide.mpp-y": str(mpp)} if mpp else {}
        self._broken = broken
        self.largest = 0

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        self.largest = max(self.largest, width * height)
        if any(x <= bx < x + width and y <= by < y + height for bx, by in self._broken):
            raise UnreadablePart("zeroed")
        out = np.full((height, width, 3), 255, dtype=np.uint8)
        source = self._pixels[level]
        top, left = max(y, 0), max(x, 0)
        part = source[top : max(y + height, 0), left : max(x + width, 0)]
        out[top - y : top - y + part.shape[0], left - x : left - x + part.shape[1]] = part
        return out

    def close(self) -> None:
        pass
