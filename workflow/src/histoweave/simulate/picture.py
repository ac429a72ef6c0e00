"""A picture of H&E tissue whose tumour nuclei carry the planted trait.

Two stain maps (haematoxylin, eosin) are painted by kind of tissue, then one table of 65,536
entries turns each pair into RGB by Beer and Lambert's law: light = glass * 10^-(H h + E e).
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

STROMA, TUMOUR, LYMPHOID, FAT = range(4)
HAEMATOXYLIN = np.array([0.60, 0.76, 0.30])  # optical density per unit of stain: red, green, blue
EOSIN = np.array([0.12, 0.90, 0.34])
COARSE = 4  # tissue kinds are drawn on a grid this many times coarser
H_MAX, E_MAX = 2.0, 1.0  # stain at grey level 255
INKS = {"pen_green": (0.10, 0.55, 0.25), "pen_blue": (0.12, 0.22, 0.70)}  # light that the ink lets through


@dataclass(frozen=True)
class Stain:
    """How a site stains and scans: (3,) densities of both stains, their strength, (3,) colour of the glass."""

    haematoxylin: np.ndarray
    eosin: np.ndarray
    h_gain: float
    e_gain: float
    glass: np.ndarray


@dataclass(frozen=True)
class Nuclei:
    """Nuclei of one kind: `per_mm2`, `radius_um`, ratio of the axes, darkness (0..1)."""

    per_mm2: float
    radius_um: float
    axes: float
    darkness: float


def site_stain(rng: np.random.Generator) -> Stain:
    """Stain of one site: colours, strength and glass vary between sites."""
    return Stain(
        haematoxylin=HAEMATOXYLIN * rng.uniform(0.93, 1.07, 3),
        eosin=EOSIN * rng.uniform(0.9, 1.1, 3),
        h_gain=rng.uniform(0.75, 1.1),
        e_gain=rng.uniform(0.75, 1.25),
        glass=rng.uniform(236, 246) + rng.uniform(-2, 2, 3),
    )


def field(shape: tuple[int, int], *, waves: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth random field (row, column), about normal, with `waves` bumps along the longer side."""
    longer = max(shape)
    grid = [max(3, round(waves * side / longer) + 2) for side in shape]
    small = Image.fromarray(rng.normal(size=grid).astype(np.float32))
    return np.asarray(small.resize(shape[::-1], Image.Resampling.BICUBIC))


def tissue_kinds(shape: tuple[int, int], *, tumour_share: float, rng: np.random.Generator) -> np.ndarray:
    """Kind of tissue (row, column) on the coarse grid, -1 on glass: a ragged piece with nests of tumour."""
    row, column = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    row, column = row / shape[0] - 0.5, column / shape[1] - 0.5
    turn = rng.uniform(0, np.pi)
    along, across = row * np.cos(turn) + column * np.sin(turn), column * np.cos(turn) - row * np.sin(turn)
    ragged = 0.035 * field(shape, waves=6, rng=rng) + 0.008 * field(shape, waves=40, rng=rng)
    inside = np.hypot(along / rng.uniform(0.40, 0.44), across / rng.uniform(0.36, 0.42)) + ragged < 1
    nests = field(shape, waves=7, rng=rng) + 0.3 * field(shape, waves=25, rng=rng)
    kinds = np.where(nests > np.quantile(nests[inside], 1 - tumour_share), TUMOUR, STROMA)
    kinds[(field(shape, waves=9, rng=rng) > 1.5) & (kinds == STROMA)] = LYMPHOID
    kinds[(field(shape, waves=5, rng=rng) > 1.6) & (kinds == STROMA)] = FAT
    kinds[~inside] = -1
    return kinds


def paint(
    kinds: np.ndarray, *, mpp: float, nuclei: dict[int, Nuclei], stain: Stain, rng: np.random.Generator
) -> np.ndarray:
    """RGB picture (row, column, 3) uint8, `COARSE` times as large as `kinds`, at `mpp` um per pixel."""
    shape = (kinds.shape[0] * COARSE, kinds.shape[1] * COARSE)
    eosin = np.choose(kinds + 1, [0, 0.42, 0.30, 0.20, 0.04])
    veil = np.choose(kinds + 1, [0, 0.04, 0.12, 0.14, 0.0])  # haematoxylin outside the nuclei
    smooth = [_enlarge(part, shape) for part in (eosin, veil)]
    half = (shape[0] // 2, shape[1] // 2)  # fine enough for fibres, and a quarter of the work
    fibres = _enlarge(1 + 0.10 * field(half, waves=160, rng=rng) + 0.08 * field(half, waves=45, rng=rng), shape)
    e_map = smooth[0] * fibres
    h_map = smooth[1] * fibres
    for kind, cells in nuclei.items():
        stamp_nuclei(h_map, np.argwhere(kinds == kind), cells=cells, mpp=mpp, rng=rng)
    return colour(h_map, e_map, stain)


def _enlarge(coarse: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(coarse.astype(np.float32)).resize(shape[::-1], Image.Resampling.BILINEAR))


def stamp_nuclei(h_map: np.ndarray, places: np.ndarray, *, cells: Nuclei, mpp: float, rng: np.random.Generator) -> None:
    """Stamp nuclei into the haematoxylin map (row, column) at random `places` (place, 2) of the coarse grid."""
    area_mm2 = len(places) * (COARSE * mpp / 1000) ** 2
    number = rng.poisson(cells.per_mm2 * area_mm2)
    if number == 0:
        return
    stamps = [nucleus(cells, mpp=mpp, rng=rng) for _ in range(min(48, number))]
    half = stamps[0].shape[0] // 2
    corner = places[rng.integers(len(places), size=number)] * COARSE + rng.integers(0, COARSE, (number, 2)) - half
    corner = np.clip(corner, 0, np.array(h_map.shape) - 2 * half - 1)
    for (row, column), which in zip(corner.tolist(), rng.integers(len(stamps), size=number).tolist(), strict=True):
        part = h_map[row : row + 2 * half + 1, column : column + 2 * half + 1]
        np.maximum(part, stamps[which], out=part)


def nucleus(cells: Nuclei, *, mpp: float, rng: np.random.Generator) -> np.ndarray:
    """One nucleus (row, column): a soft ellipse with grainy chromatin; all of one kind have stamps of one size."""
    reach = int(np.ceil(1.5 * cells.radius_um * cells.axes**0.5 / mpp))
    row, column = np.mgrid[-reach : reach + 1, -reach : reach + 1] * mpp
    radius = cells.radius_um * rng.lognormal(0, 0.10)
    longer, shorter = radius * cells.axes**0.5, radius / cells.axes**0.5
    turn = rng.uniform(0, np.pi)
    along, across = row * np.cos(turn) + column * np.sin(turn), column * np.cos(turn) - row * np.sin(turn)
    distance = np.hypot(along / longer, across / shorter)
    edge = np.clip((1 - distance) * radius / mpp / 1.5 + 0.5, 0, 1)
    grain = 1 + 0.12 * rng.normal(size=edge.shape)
    return (edge * cells.darkness * rng.uniform(0.85, 1.1) * grain).astype(np.float32)


def colour(h_map: np.ndarray, e_map: np.ndarray, stain: Stain) -> np.ndarray:
    """RGB (row, column, 3) uint8 of both stain maps (row, column)."""
    level = np.arange(256)[:, None]
    h_density = level / 255 * H_MAX * stain.h_gain * stain.haematoxylin  # (level, 3)
    e_density = level / 255 * E_MAX * stain.e_gain * stain.eosin
    table = stain.glass * 10 ** -(h_density[:, None] + e_density[None])  # (h level, e level, 3)
    table = np.clip(np.round(table), 0, 255).astype(np.uint8).reshape(-1, 3)
    h_level = np.clip(h_map * (255 / H_MAX), 0, 255).astype(np.uint16)
    e_level = np.clip(e_map * (255 / E_MAX), 0, 255).astype(np.uint16)
    return table[h_level * 256 + e_level]


def draw_pen(picture: np.ndarray, *, ink: str, width: int, rng: np.random.Generator) -> np.ndarray:
    """Picture (row, column, 3) with a bent pen stroke of `width` pixels around a part of the tissue."""
    rows, columns = picture.shape[:2]
    turn = np.linspace(0, rng.uniform(3.5, 5), 400) + rng.uniform(0, 6)
    reach = 0.40 + 0.02 * np.sin(3 * turn)
    row = np.clip((0.5 + reach * np.sin(turn)) * rows, 0, rows - 1)
    column = np.clip((0.5 + reach * np.cos(turn)) * columns, 0, columns - 1)
    covered = np.zeros((rows, columns), dtype=bool)
    half = width // 2
    y, x = np.ogrid[-half : half + 1, -half : half + 1]
    disc = np.hypot(y, x) <= half
    for r, c in zip(row.astype(int), column.astype(int), strict=True):
        top, left = max(0, r - half), max(0, c - half)
        part = covered[top : r + half + 1, left : c + half + 1]
        part |= disc[top - r + half :, left - c + half :][: part.shape[0], : part.shape[1]]
    marked = picture.copy()
    marked[covered] = np.round(picture[covered] * np.array(INKS[ink])).astype(np.uint8)
    return marked
