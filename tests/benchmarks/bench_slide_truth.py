"""What the slides stage finds where the truth is known: tissue classes on stains that were never seen, nuclear size,
the field of view at every scan resolution, ink on real pictures, and a planted outline.
"""

import dataclasses
import io
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from unit.slides.pretend import TISSUE, write_generic
from unit.slides.test_tissue import real_picture

from histoweave.rng import generator
from histoweave.simulate import picture
from histoweave.simulate.picture import COARSE, FAT, LYMPHOID, STROMA, TUMOUR, Nuclei
from histoweave.slides import handcrafted
from histoweave.slides.cut import read_tile
from histoweave.slides.opening import open_slide
from histoweave.slides.resample import reduce_whole
from histoweave.slides.tiling import TileSettings, plan_grid
from histoweave.slides.tissue import find_tissue, intersection_over_union

TILE, MPP, STAINS, SEED = 256, 0.5, 14, 4
CLASSES = ("tumour", "stroma", "lymphoid", "necrosis", "fat")


def nuclei_of(name: str, rng: np.random.Generator) -> tuple[int, Nuclei]:
    """Kind of ground and the nuclei on it; size and number vary within every class."""
    size, crowding = np.exp(0.16 * rng.normal()), np.exp(0.22 * rng.normal())
    return {
        "tumour": (TUMOUR, Nuclei(3500 * crowding, 3.4 * size, 1.25, 0.80)),
        "stroma": (STROMA, Nuclei(1100 * crowding, 3.0 * size, 2.8, 0.75)),
        "lymphoid": (LYMPHOID, Nuclei(7000 * crowding, 2.4 * size, 1.05, 1.05)),
        # ghosts and debris on the tumour's own ground
        "necrosis": (TUMOUR, Nuclei(2500 * crowding, 1.2 * size, 1.3, 0.45)),
        "fat": (FAT, Nuclei(80 * crowding, 2.5 * size, 2.5, 0.75)),
    }[name]


def scanned(pixels: np.ndarray, quality: int) -> np.ndarray:
    """`pixels` after a JPEG of that quality."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def draw_tiles(name: str, stain: int, *, draw: int) -> tuple[np.ndarray, float]:
    """Nine tiles (tile, row, column, rgb) of one class from the scanner `stain`, and their nuclei's radius in um."""
    site = generator(SEED, "stain", str(stain))
    look, quality = picture.site_stain(site), int(site.integers(70, 92))
    rng = generator(SEED, "tiles", name, str(stain), str(draw))
    kind, nuclei = nuclei_of(name, rng)
    kinds = np.full((3 * TILE // COARSE,) * 2, kind)
    pixels = scanned(picture.paint(kinds, mpp=MPP, nuclei={kind: nuclei}, stain=look, rng=rng), quality)
    blocks = pixels.reshape(3, TILE, 3, TILE, 3).swapaxes(1, 2).reshape(9, TILE, TILE, 3)
    return blocks, nuclei.radius_um


def bench_classes() -> None:
    tiles, classes, stains = [], [], []
    for stain in range(STAINS):
        for number, name in enumerate(CLASSES):
            tiles.append(draw_tiles(name, stain, draw=0)[0])
            classes += [number] * 9
            stains += [stain] * 9
    features = handcrafted.encode(np.concatenate(tiles), mpp=MPP)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    found = cross_val_predict(model, features, classes, groups=stains, cv=GroupKFold(7))
    wrong = confusion_matrix(classes, found)
    np.fill_diagonal(wrong, 0)
    accuracy = balanced_accuracy_score(classes, found)
    print(f"5 classes, {len(classes)} tiles, stains unseen: balanced accuracy {accuracy:.3f}")
    for a, b in np.argwhere(wrong):
        print(f"  {wrong[a, b]} {CLASSES[a]} taken for {CLASSES[b]}")


def bench_nuclear_size() -> None:
    tiles, sizes, stains = [], [], []
    for stain in range(STAINS):
        for draw in range(5):
            nine, radius = draw_tiles("tumour", stain, draw=draw)
            tiles.append(nine)
            sizes += [radius] * 9
            stains += [stain] * 9
    features = handcrafted.encode(np.concatenate(tiles), mpp=MPP)
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 4, 9)))
    found = cross_val_predict(model, features, sizes, groups=stains, cv=GroupKFold(7))
    print(f"nuclear size, {len(sizes)} tumour tiles, stains unseen: R2 {r2_score(sizes, found):.3f}")


def dots(mpp: float, *, side_um: float, pitch_um: float) -> np.ndarray:
    """Dark dots (row, column, rgb) every `pitch_um`, drawn at `mpp` to a fraction of a pixel."""
    place = (np.arange(round(side_um / mpp)) + 0.5) * mpp
    wave = np.exp(-(((place + pitch_um / 2) % pitch_um - pitch_um / 2) ** 2) / (2 * 1.5**2))
    dark = np.outer(wave, wave)[..., None] * np.array([150, 170, 110])
    return (np.array([243, 242, 245]) - dark).astype(np.uint8)


def field_um(tile: np.ndarray, *, pitch_um: float) -> float:
    """Side of the glass that `tile` shows, from the dots on it."""
    dark = 255.0 - tile.mean(axis=2)
    labels, count = ndimage.label(dark > 60)
    spots = np.array(ndimage.center_of_mass(dark - 12, labels, np.arange(1, count + 1)))
    inside = ((spots > 8) & (spots < len(tile) - 9)).all(axis=1)
    fields = []
    for axis in spots[inside].T:
        steps = np.rint((axis - axis.min()) / (pitch_um / MPP))
        fields.append(len(tile) * pitch_um / np.polyfit(steps, axis, 1)[0])
    return float(np.mean(fields))


def bench_field() -> None:
    base = TileSettings(
        mpp=MPP, tile_px=TILE, overlap=0, minimum_tissue=0.5, tolerance=0.005, most_enlarged=1.25, decode="full"
    )
    worst = {}
    for decode in ("full", "half"):
        settings = dataclasses.replace(base, decode=decode)
        for mpp in np.arange(0.22, 0.5901, 0.01):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "a.tiff"
                write_generic(path, dots(mpp, side_um=300, pitch_um=16), mpp=mpp, levels=1)
                slide = open_slide(path, halves=decode == "half")
                grid = plan_grid(slide.levels, mpp=mpp, settings=settings)
                x = round(grid.stride)
                error = field_um(read_tile(slide, grid, x, x), pitch_um=16) / 128 - 1
                slide.close()
            worst[decode] = max(worst.get(decode, (0, 0)), (abs(error), mpp))
        off, mpp = worst[decode]
        print(f"field of view, decoded at {decode} size, 0.22 to 0.59 um/px: off by {off:.2%} at most (at {mpp:.2f})")


def bench_ink() -> None:
    data = os.environ.get("HISTOWEAVE_DATA")
    if data is None:
        print("ink on real pictures: not measured, HISTOWEAVE_DATA is not set")
        return
    settings = dataclasses.replace(TISSUE, smallest_ink_um2=50_000, smallest_tissue_um2=20_000)
    for name, what in (("no-tissue-green-pen", "green"), ("tcga-red-pen", "red")):
        pixels = real_picture(Path(data), f"{name}.png")
        r, g, b = np.moveaxis(pixels.astype(int), 2, 0)
        ink = (g > r + 25) & (g > b) if what == "green" else (r > 150) & (g < 80) & (b < 80)
        kept = find_tissue(pixels, um=8.0, settings=settings).tissue[ink].mean()
        print(f"{what} ink kept as tissue: {kept:.2%} of {ink.sum()} pixels of {name}.png")


def bench_outline() -> None:
    found = []
    for seed in range(6):
        rng = generator(SEED, "outline", str(seed))
        kinds = picture.tissue_kinds((1024, 1024), tumour_share=0.5, rng=rng)
        nuclei = {
            kind: cells for kind, cells in (nuclei_of(name, rng) for name in ("stroma", "tumour", "lymphoid", "fat"))
        }
        pixels = picture.paint(kinds, mpp=MPP, nuclei=nuclei, stain=picture.site_stain(rng), rng=rng)
        inked = picture.draw_pen(pixels, ink="pen_green", width=160, rng=rng)
        truth = reduce_whole(np.repeat((kinds >= 0)[..., None], 3, axis=2).astype(np.uint8) * 255, 4)[..., 0] > 127
        covered = reduce_whole((inked != pixels).astype(np.uint8) * 255, 16).max(axis=2) > 127
        for view, visible in ((pixels, truth), (inked, truth & ~covered)):
            mask = find_tissue(reduce_whole(view, 16), um=MPP * 16, settings=TISSUE).tissue
            found.append(intersection_over_union(mask, visible))
    print(
        f"planted outline, 6 slides: IoU {min(found[::2]):.3f} to {max(found[::2]):.3f}; the tissue not under a pen",
        end="",
    )
    print(f" {min(found[1::2]):.3f} to {max(found[1::2]):.3f}")


def main() -> None:
    bench_field()
    bench_ink()
    bench_outline()
    bench_classes()
    bench_nuclear_size()


if __name__ == "__main__":
    main()
