"""Named features of a tile, computed from its pixels without any trained weights.

Source of the parts: stain separation, Ruifrok and Johnston 2001 (Anal Quant Cytol Histol 23:291); local binary
patterns, Ojala 2002 (doi:10.1109/TPAMI.2002.1017623); co-occurrence, Haralick 1973 (doi:10.1109/TSMC.1973.4309314);
threshold, Otsu 1979 (doi:10.1109/TSMC.1979.4310076).

| symbol | name here | axes | meaning |
|---|---|---|---|
| M^-1 | `_unmix` | (rgb, stain) | optical density to haematoxylin, eosin, residual |
| LBP8,1 riu2 | `lbp` | 10 | share of pixels per rotation-invariant uniform pattern |
| J | structure tensor | (2, 2) | mean outer product of the gradient; coherence = (l1-l2)/(l1+l2) |
| P(i,j;d) | `glcm` | (16, 16) | grey levels of pixels d apart, both directions |

Deviations: every image is first brought to 256 grey levels, so that all counts are exact and a feature has the same
value on every machine; nuclei are the connected parts above Otsu's threshold of smoothed haematoxylin (no watershed,
which costs more than all else together and gains nothing in the size of nuclei).
"""

import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

from histoweave.slides.nuclei import NUCLEUS_NAMES, nucleus_features

VERSION = 1
_STAINS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])
_DENSEST = 2.0  # optical density of grey level 255
_LEVELS = 4
_GLCM_STEPS = (1, 4)
_MOMENTS = ("mean", "sd", "skew", "kurtosis", "q05", "q25", "q50", "q75", "q95")
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_HARALICK = ("contrast", "homogeneity", "energy", "entropy", "correlation")
_COLOURS = ("red", "green", "blue")
_TEXTURES = ("gradient", "coherence", "laplacian", "sd")


def feature_names() -> list[str]:
    """Name of each of the 187 features, in order."""
    names = [f"{stain}_{m}" for stain in ("haematoxylin", "eosin", "residual") for m in _MOMENTS]
    names += [f"{c}_mean" for c in _COLOURS] + [f"{c}_sd" for c in _COLOURS]
    names += [f"saturation_{m}" for m in ("mean", "sd", "q10", "q90")]
    for image in ("grey", "haematoxylin"):
        for level in range(_LEVELS):
            names += [f"{image}_scale{2**level}_lbp{k}" for k in range(10)]
            names += [f"{image}_scale{2**level}_{t}" for t in _TEXTURES]
    names += [f"{image}_glcm{d}_{h}" for image in ("grey", "haematoxylin") for d in _GLCM_STEPS for h in _HARALICK]
    return names + [f"nuclei_{name}" for name in NUCLEUS_NAMES]


def encoder_hash(*, mpp: float, tile_px: int) -> str:
    """Name of what the features mean: changes with the method's version, its names and the tiles' size."""
    text = "\n".join([f"handcrafted {VERSION} {mpp:.6g} {tile_px}", *feature_names()])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def encode(tiles: Sequence[np.ndarray] | np.ndarray, *, mpp: float) -> np.ndarray:
    """Features (tile, feature) float32 of `tiles` (tile, row, column, rgb) uint8 at `mpp` um/px."""
    return np.stack([encode_tile(tile, mpp=mpp) for tile in tiles]).astype(np.float32)


def encode_tile(tile: np.ndarray, *, mpp: float) -> np.ndarray:
    """Features (feature,) float64 of one tile (row, column, rgb) uint8 at `mpp` um/px; see `feature_names`."""
    stains = separate_stains(tile)  # (stain, row, column) uint8
    grey = tile_grey(tile)
    values: list = [_moments(stain) for stain in stains]
    values += [_colours(tile)]
    for image in (grey, stains[0]):
        values += [_pyramid(image)]
    values += [glcm(image, step) for image in (grey, stains[0]) for step in _GLCM_STEPS]
    values += [nucleus_features(stains[0], mpp=mpp)]
    return np.concatenate(values)


def separate_stains(tile: np.ndarray) -> np.ndarray:
    """Haematoxylin, eosin and residual, (stain, row, column) uint8: 0 to 255 is an optical density of 0 to 2."""
    table = (-np.log10(np.maximum(np.arange(256), 1) / 255)).astype(np.float32)
    density = table[tile.reshape(-1, 3).T]  # (rgb, pixel)
    scaled = (_unmix() * (255 / _DENSEST)).astype(np.float32)
    amounts = scaled @ density
    amounts[2] += 128  # the residual has both signs
    np.clip(amounts, 0, 255, out=amounts)
    return (amounts + np.float32(0.5)).astype(np.uint8).reshape(3, *tile.shape[:2])


def _unmix() -> np.ndarray:
    unit = _STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)
    return np.linalg.inv(unit).T  # (stain, rgb)


def tile_grey(tile: np.ndarray) -> np.ndarray:
    """Luma (row, column) uint8 with the weights of ITU-R BT.601 in 256ths."""
    wide = tile.astype(np.uint16)
    return ((wide[..., 0] * 77 + wide[..., 1] * 150 + wide[..., 2] * 29) >> 8).astype(np.uint8)


def _histogram(image: np.ndarray) -> np.ndarray:
    # Pillow counts twice as fast as np.bincount, which first widens every pixel to 64 bits
    return np.array(Image.fromarray(image).histogram()[:256])


def _mean_sd(counts: np.ndarray) -> tuple[float, float]:
    level = np.arange(counts.size)
    mean = (counts @ level) / counts.sum()
    return mean, float(np.sqrt(max((counts @ (level - mean) ** 2) / counts.sum(), 0.0)))


def _quantiles(counts: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    total = counts.cumsum()
    return np.searchsorted(total, np.asarray(shares) * total[-1]).astype(np.float64)


def _moments(stain: np.ndarray) -> np.ndarray:
    counts = _histogram(stain)
    mean, sd = _mean_sd(counts)
    z = (np.arange(256) - mean) / max(sd, 1e-6)
    share = counts / counts.sum()
    cube = z * z * z
    return np.array([mean, sd, share @ cube, share @ (cube * z), *_quantiles(counts, _QUANTILES)])


def _colours(tile: np.ndarray) -> np.ndarray:
    pairs = [_mean_sd(counts) for counts in np.array(Image.fromarray(tile).histogram()).reshape(3, 256)]
    top = np.maximum(np.maximum(tile[..., 0], tile[..., 1]), tile[..., 2]).astype(np.uint16)
    low = np.minimum(np.minimum(tile[..., 0], tile[..., 1]), tile[..., 2])
    counts = _histogram(((top - low) * np.uint16(255) // np.maximum(top, 1)).astype(np.uint8))
    return np.array(
        [m for m, _ in pairs] + [s for _, s in pairs] + [*_mean_sd(counts), *_quantiles(counts, (0.1, 0.9))]
    )


def _pyramid(image: np.ndarray) -> np.ndarray:
    values = []
    for level in range(_LEVELS):
        if level:
            image = _halve(image)
        values += [lbp(image), _textures(image)]
    return np.concatenate(values)


def _halve(image: np.ndarray) -> np.ndarray:
    rows, columns = (side // 2 * 2 for side in image.shape)
    wide = image[:rows, :columns].astype(np.uint16)
    lines = wide[::2] + wide[1::2]
    return ((lines[:, ::2] + lines[:, 1::2] + 2) >> 2).astype(np.uint8)


@cache
def _uniform_table() -> np.ndarray:
    """Pattern of 8 neighbours (256,) -> 0..8 set neighbours if uniform, otherwise 9."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    changes = (bits != np.roll(bits, 1, axis=1)).sum(axis=1)
    return np.where(changes <= 2, bits.sum(axis=1), 9)


_RING = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))


def lbp(image: np.ndarray) -> np.ndarray:
    """Share (10,) of rotation-invariant uniform patterns in an image (row, column) uint8."""
    rows, columns = image.shape[0] - 2, image.shape[1] - 2
    centre = image[1:-1, 1:-1]
    code = np.zeros((rows, columns), dtype=np.uint8)
    for bit, (row, column) in enumerate(_RING):
        above = image[row : row + rows, column : column + columns] >= centre
        code |= above.view(np.uint8) << np.uint8(bit)
    return np.bincount(_uniform_table(), weights=_histogram(code), minlength=10) / code.size


def _textures(image: np.ndarray) -> np.ndarray:
    """Gradient energy, coherence, Laplacian energy and standard deviation of an image (row, column) uint8."""
    wide = image.astype(np.float32)
    centre = wide[1:-1, 1:-1]
    down = (wide[2:, 1:-1] - wide[:-2, 1:-1]).ravel()
    right = (wide[1:-1, 2:] - wide[1:-1, :-2]).ravel()
    around = (wide[2:, 1:-1] + wide[:-2, 1:-1] + wide[1:-1, 2:] + wide[1:-1, :-2] - 4 * centre).ravel()
    yy, xx, xy = (float(a @ b) / down.size for a, b in ((down, down), (right, right), (down, right)))
    coherence = np.hypot(yy - xx, 2 * xy) / (yy + xx + 1e-6)
    _, sd = _mean_sd(_histogram(image))
    return np.array([np.log1p(yy + xx), coherence, np.log1p(float(around @ around) / around.size), sd])


def glcm(image: np.ndarray, step: int) -> np.ndarray:
    """Five Haralick measures of an image (row, column) uint8: pixels `step` apart, right and down, 16 levels."""
    coarse = image >> 4
    right = _histogram((coarse[:, :-step] << 4) | coarse[:, step:])
    down = _histogram((coarse[:-step] << 4) | coarse[step:])
    counts = (right + down).reshape(16, 16)
    share = (counts + counts.T) / (2 * counts.sum())
    i, j = np.indices((16, 16))
    apart = (i - j) ** 2
    mean = (share * i).sum()
    variance = (share * (i - mean) ** 2).sum()
    covariance = (share * (i - mean) * (j - mean)).sum()
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum()
    correlation = covariance / variance if variance > 1e-12 else 1.0
    return np.array([(share * apart).sum(), (share / (1 + apart)).sum(), (share**2).sum(), entropy, correlation])
