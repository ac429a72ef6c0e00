"""Named features of a tile, computed from its pixels without any trained weights.

Source of the parts: stain separation, Ruifrok and Johnston 2001 (Anal Quant Cytol Histol 23:291); local binary
patterns, Ojala 2002 (doi:10.1109/TPAMI.2002.1017623); co-occurrence, Haralick 1973 (doi:10.1109/TSMC.1973.4309314);
threshold, Otsu 1979 (doi:10.1109/TSMC.1979.4310076).

| symbol | name here | axes | meaning |
|---|---|---|---|
| M^-1 | `unmix` | (rgb, stain) | optical density to haematoxylin, eosin, residual |
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

from histoweave.slides.kernels import count_levels, count_pairs, count_patterns, halve, split_tile, sum_slopes
from histoweave.slides.nuclei import NUCLEUS_NAMES, nucleus_features

VERSION = 1
_STAINS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])
_DENSEST = 2.0  # optical density of grey level 255
LEVELS = 4
GLCM_STEPS = (1, 4)
_MOMENTS = ("mean", "sd", "skew", "kurtosis", "q05", "q25", "q50", "q75", "q95")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_HARALICK = ("contrast", "homogeneity", "energy", "entropy", "correlation")
_COLOURS = ("red", "green", "blue")
_TEXTURES = ("gradient", "coherence", "laplacian", "sd")


def feature_names() -> list[str]:
    """Name of each of the 187 features, in order."""
    names = [f"{stain}_{m}" for stain in ("haematoxylin", "eosin", "residual") for m in _MOMENTS]
    names += [f"{c}_mean" for c in _COLOURS] + [f"{c}_sd" for c in _COLOURS]
    names += [f"saturation_{m}" for m in ("mean", "sd", "q10", "q90")]
    for image in ("grey", "haematoxylin"):
        for level in range(LEVELS):
            names += [f"{image}_scale{2**level}_lbp{k}" for k in range(10)]
            names += [f"{image}_scale{2**level}_{t}" for t in _TEXTURES]
    names += [f"{image}_glcm{d}_{h}" for image in ("grey", "haematoxylin") for d in GLCM_STEPS for h in _HARALICK]
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
    planes, counts = split_tile(np.ascontiguousarray(tile), *tables())
    images = planes[3], planes[0]  # grey, haematoxylin
    values = [_moments(counts[stain]) for stain in range(3)]
    values += [_colours(counts)]
    values += [_pyramid(image) for image in images]
    values += [glcm(image, step) for image in images for step in GLCM_STEPS]
    values += [nucleus_features(planes[0], mpp=mpp)]
    return np.concatenate(values)


def separate_stains(tile: np.ndarray) -> np.ndarray:
    """Haematoxylin, eosin and residual, (stain, row, column) uint8: 255 levels are an optical density of 2.

    The residual has both signs; 128 is none.
    """
    return split_tile(np.ascontiguousarray(tile), *tables())[0][:3]


@cache
def tables() -> tuple[np.ndarray, np.ndarray]:
    """What `split_tile` needs: amounts (rgb, level, plane) int32 in 65536ths, saturation (256, 256) uint8."""
    level = np.arange(256)
    density = -np.log10(np.maximum(level, 1) / 255)
    unit = _STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)
    unmix = np.linalg.inv(unit) * (255 / _DENSEST)  # (rgb, stain)
    amounts = np.empty((3, 256, 4))
    amounts[..., :3] = unmix[:, None, :] * density[:, None]
    amounts[..., 3] = np.array([77, 150, 29])[:, None] / 256 * level  # luma of ITU-R BT.601
    amounts *= 65536
    amounts[0, :, :2] += 32768  # rounds
    amounts[0, :, 2] += 32768 + 128 * 65536
    top, low = np.maximum(level[:, None], 1), level[None, :]
    saturation = np.clip((top - low) * 255 // top, 0, 255)
    return np.rint(amounts).astype(np.int32), saturation.astype(np.uint8)


def _mean_sd(counts: np.ndarray) -> tuple[float, float]:
    level = np.arange(counts.size)
    mean = (counts @ level) / counts.sum()
    return mean, float(np.sqrt(max((counts @ (level - mean) ** 2) / counts.sum(), 0.0)))


def _quantiles(counts: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    total = counts.cumsum()
    return np.searchsorted(total, np.asarray(shares) * total[-1]).astype(np.float64)


def _moments(counts: np.ndarray) -> np.ndarray:
    mean, sd = _mean_sd(counts)
    z = (np.arange(256) - mean) / max(sd, 1e-6)
    share = counts / counts.sum()
    cube = z * z * z
    return np.array([mean, sd, share @ cube, share @ (cube * z), *_quantiles(counts, QUANTILES)])


def _colours(counts: np.ndarray) -> np.ndarray:
    pairs = [_mean_sd(counts[plane]) for plane in (5, 6, 7)]
    spread = [*_mean_sd(counts[4]), *_quantiles(counts[4], (0.1, 0.9))]
    return np.array([mean for mean, _ in pairs] + [sd for _, sd in pairs] + spread)


def _pyramid(image: np.ndarray) -> np.ndarray:
    values = []
    for level in range(LEVELS):
        if level:
            image = halve(image)
        values += [lbp(image), _textures(image)]
    return np.concatenate(values)


@cache
def uniform_table() -> np.ndarray:
    """Pattern of 8 neighbours (256,) -> 0..8 set neighbours if uniform, otherwise 9."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    changes = (bits != np.roll(bits, 1, axis=1)).sum(axis=1)
    return np.where(changes <= 2, bits.sum(axis=1), 9)


def lbp(image: np.ndarray) -> np.ndarray:
    """Share (10,) of rotation-invariant uniform patterns in an image (row, column) uint8."""
    counts = count_patterns(image)
    return np.bincount(uniform_table(), weights=counts, minlength=10) / counts.sum()


def _textures(image: np.ndarray) -> np.ndarray:
    """Gradient energy, coherence, Laplacian energy and standard deviation of an image (row, column) uint8."""
    inner = (image.shape[0] - 2) * (image.shape[1] - 2)
    yy, xx, xy, ll = (total / inner for total in sum_slopes(image))
    coherence = np.hypot(yy - xx, 2 * xy) / (yy + xx + 1e-6)
    _, sd = _mean_sd(count_levels(image))
    return np.array([np.log1p(yy + xx), coherence, np.log1p(ll), sd])


def glcm(image: np.ndarray, step: int) -> np.ndarray:
    """Five Haralick measures of an image (row, column) uint8: pixels `step` apart, right and down, 16 levels."""
    counts = count_pairs(image, step)
    share = (counts + counts.T) / (2 * counts.sum())
    level = np.arange(16)
    apart = (level[:, None] - level) ** 2
    single = share.sum(axis=0)
    mean = single @ level
    variance = single @ (level - mean) ** 2
    covariance = (level - mean) @ share @ (level - mean)
    found = share[share > 0]
    entropy = -(found @ np.log(found))
    correlation = covariance / variance if variance > 1e-12 else 1.0
    return np.array([(share * apart).sum(), (share / (1 + apart)).sum(), (share**2).sum(), entropy, correlation])
