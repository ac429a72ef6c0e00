"""The features of `handcrafted`, for a whole batch of tiles at once on a GPU.

Same definitions, names and numbers: pixels are counted in whole numbers on both sides, so that only the last digits
of the statistics differ. Names here: `counts` (tile, level), `share` (tile, level) sums to 1 over levels.
"""

import numpy as np
import torch
from torch import Tensor

from histoweave.slides import handcrafted
from histoweave.slides.nuclei_torch import nucleus_features

_SHIFTS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


def encode(tiles: np.ndarray, *, mpp: float, device: torch.device) -> np.ndarray:
    """Features (tile, feature) float32 of `tiles` (tile, row, column, rgb) uint8 at `mpp` um/px."""
    with torch.inference_mode():
        pixels = torch.from_numpy(np.ascontiguousarray(tiles)).to(device).long()
        planes = _split(pixels)  # haematoxylin, eosin, residual, grey, saturation: each (tile, row, column)
        images = planes[3], planes[0]
        parts = [_moments(count_levels(plane)) for plane in planes[:3]]
        parts.append(_colours(pixels, planes[4]))
        parts += [_pyramid(image) for image in images]
        parts += [_glcm(image, step) for image in images for step in handcrafted.GLCM_STEPS]
        parts.append(nucleus_features(planes[0], mpp=mpp))
        return torch.cat(parts, dim=1).float().cpu().numpy()


def _split(pixels: Tensor) -> list[Tensor]:
    amounts, saturation = (torch.from_numpy(t.astype(np.int64)).to(pixels.device) for t in handcrafted.tables())
    red, green, blue = pixels.unbind(dim=-1)
    total = amounts[0][red] + amounts[1][green] + amounts[2][blue]  # (tile, row, column, plane)
    planes = list((total >> 16).clamp(0, 255).unbind(dim=-1))
    return [*planes, saturation[pixels.amax(dim=-1), pixels.amin(dim=-1)]]


def count_levels(image: Tensor, levels: int = 256) -> Tensor:
    """Pixels of each level (tile, level) of images (tile, row, column) of whole numbers below `levels`."""
    flat = image.reshape(len(image), -1) + levels * torch.arange(len(image), device=image.device)[:, None]
    return torch.bincount(flat.ravel(), minlength=levels * len(image)).reshape(len(image), levels)


def _mean_sd(counts: Tensor) -> tuple[Tensor, Tensor]:
    level = torch.arange(counts.shape[1], device=counts.device, dtype=torch.float64)
    share = counts.double() / counts.sum(dim=1, keepdim=True)
    mean = share @ level
    variance = (share * (level - mean[:, None]) ** 2).sum(dim=1)
    return mean, variance.clamp(min=0).sqrt()


def _quantiles(counts: Tensor, shares: tuple[float, ...]) -> Tensor:
    total = counts.cumsum(dim=1).double()
    wanted = torch.tensor(shares, device=counts.device, dtype=torch.float64) * total[:, -1:]
    return torch.searchsorted(total, wanted).double()


def _moments(counts: Tensor) -> Tensor:
    mean, sd = _mean_sd(counts)
    level = torch.arange(256, device=counts.device, dtype=torch.float64)
    z = (level - mean[:, None]) / sd.clamp(min=1e-6)[:, None]
    share = counts.double() / counts.sum(dim=1, keepdim=True)
    higher = [(share * z**power).sum(dim=1) for power in (3, 4)]
    return torch.cat([torch.stack([mean, sd, *higher], dim=1), _quantiles(counts, handcrafted.QUANTILES)], dim=1)


def _colours(pixels: Tensor, saturation: Tensor) -> Tensor:
    pairs = [_mean_sd(count_levels(channel)) for channel in pixels.unbind(dim=-1)]
    counts = count_levels(saturation)
    columns = [mean for mean, _ in pairs] + [sd for _, sd in pairs] + list(_mean_sd(counts))
    return torch.cat([torch.stack(columns, dim=1), _quantiles(counts, (0.1, 0.9))], dim=1)


def _pyramid(image: Tensor) -> Tensor:
    parts = []
    for level in range(handcrafted.LEVELS):
        if level:
            rows, columns = (side // 2 * 2 for side in image.shape[1:])
            image = image[:, :rows, :columns]
            image = (image[:, ::2, ::2] + image[:, 1::2, ::2] + image[:, ::2, 1::2] + image[:, 1::2, 1::2] + 2) >> 2
        parts += [_lbp(image), _textures(image)]
    return torch.cat(parts, dim=1)


def _shifted(image: Tensor, row: int, column: int) -> Tensor:
    """Inner pixels of images (tile, row, column), each replaced by its neighbour."""
    rows, columns = image.shape[1:]
    return image[:, 1 + row : rows - 1 + row, 1 + column : columns - 1 + column]


def _lbp(image: Tensor) -> Tensor:
    centre = _shifted(image, 0, 0)
    code = sum(((_shifted(image, *shift) >= centre).long() << bit) for bit, shift in enumerate(_SHIFTS))
    table = torch.from_numpy(handcrafted.uniform_table()).to(image.device)
    return count_levels(table[code], 10).double() / centre[0].numel()


def _textures(image: Tensor) -> Tensor:
    down = _shifted(image, 1, 0) - _shifted(image, -1, 0)
    right = _shifted(image, 0, 1) - _shifted(image, 0, -1)
    around = _shifted(image, 1, 0) + _shifted(image, -1, 0) + _shifted(image, 0, 1) + _shifted(image, 0, -1)
    around = around - 4 * _shifted(image, 0, 0)
    pairs = ((down, down), (right, right), (down, right), (around, around))
    yy, xx, xy, ll = ((a * b).sum(dim=(1, 2)).double() / a[0].numel() for a, b in pairs)
    coherence = torch.hypot(yy - xx, 2 * xy) / (yy + xx + 1e-6)
    return torch.stack([torch.log1p(yy + xx), coherence, torch.log1p(ll), _mean_sd(count_levels(image))[1]], dim=1)


def _glcm(image: Tensor, step: int) -> Tensor:
    coarse = image >> 4
    right, down = (coarse[:, :, :-step] << 4) | coarse[:, :, step:], (coarse[:, :-step] << 4) | coarse[:, step:]
    counts = (count_levels(right) + count_levels(down)).reshape(-1, 16, 16).double()
    share = (counts + counts.transpose(1, 2)) / (2 * counts.sum(dim=(1, 2), keepdim=True))
    level = torch.arange(16, device=image.device, dtype=torch.float64)
    apart = (level[:, None] - level) ** 2
    single = share.sum(dim=1)
    centred = level - (single @ level)[:, None]
    variance = (single * centred**2).sum(dim=1)
    covariance = torch.einsum("ti,tij,tj->t", centred, share, centred)
    entropy = -torch.special.xlogy(share, share).sum(dim=(1, 2))
    correlation = torch.where(variance > 1e-12, covariance / variance.clamp(min=1e-12), 1.0)
    sums = [(share * weight).sum(dim=(1, 2)) for weight in (apart, 1 / (1 + apart))]
    return torch.stack([*sums, (share**2).sum(dim=(1, 2)), entropy, correlation], dim=1)
