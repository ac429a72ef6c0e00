"""The features of `nuclei`, for a whole batch of tiles at once on a GPU: same definitions and numbers."""

import torch
from torch import Tensor

from histoweave.slides import nuclei

Parts = tuple[Tensor, Tensor]


def nucleus_features(stain: Tensor, *, mpp: float) -> Tensor:
    """Features (tile, 18) of haematoxylin images (tile, row, column) of whole numbers at `mpp` um/px."""
    mask = _stands_out(stain)
    tile, sums = _kept(_label(mask), stain, mpp=mpp)
    count = torch.bincount(tile, minlength=len(stain)).double()
    shapes = _shapes(sums, mpp=mpp)
    tile_um2, pixels = stain[0].numel() * mpp**2, stain[0].numel()
    inside = _total(sums[:, 0], tile, len(stain)), _total(sums[:, 6], tile, len(stain))
    outside = (stain.sum(dim=(1, 2)).double() - inside[1]) / (pixels - inside[0]).clamp(min=1)
    area, apart = shapes["area"], _nearest(shapes["centre"], tile, len(stain))
    columns = [count / (tile_um2 / 1e6), _total(area, tile, len(stain)) / tile_um2, *_mean_sd(area, tile, count)]
    columns += [_quantile(area, tile, count, share) for share in (0.1, 0.5, 0.9)]
    columns += [*_mean_sd(shapes["extent"], tile, count), *_mean_sd(shapes["elongation"], tile, count)]
    columns += [_quantile(shapes["elongation"], tile, count, 0.9)]
    dark = _mean_sd(shapes["intensity"], tile, count)
    columns += [*dark, dark[0] - outside, _mean_sd(shapes["texture"], tile, count)[0], *apart]
    out = torch.stack(columns, dim=1)
    empty = torch.zeros_like(out[0])
    empty[-2] = nuclei.NO_NEIGHBOUR_UM
    return torch.where((count > 0)[:, None], out, empty)


def _stands_out(stain: Tensor) -> Tensor:
    """Pixels (tile, row, column) bool above Otsu's threshold of the smoothed image; none without contrast."""
    wide = torch.nn.functional.pad(stain.double(), (1, 1, 1, 1), mode="replicate").long()
    lines = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    smooth = (lines[:, :, :-2] + 2 * lines[:, :, 1:-1] + lines[:, :, 2:] + 8) >> 4
    offset = 256 * torch.arange(len(stain), device=stain.device)[:, None, None]
    counts = torch.bincount((smooth + offset).ravel(), minlength=256 * len(stain)).reshape(-1, 256).double()
    level = torch.arange(256, device=stain.device, dtype=torch.float64)
    below, sums = counts.cumsum(dim=1), (counts * level).cumsum(dim=1)
    above = below[:, -1:] - below
    gap = (sums[:, -1:] - sums) / above - sums / below
    between = torch.where((below > 0) & (above > 0), below * above * gap**2, -1.0)
    best = between.argmax(dim=1, keepdim=True)
    clear = (between.gather(1, best) > 0) & (gap.gather(1, best) >= nuclei.LEAST_CONTRAST)
    return (smooth > best[:, :, None]) & clear[:, :, None]


def _label(mask: Tensor) -> Tensor:
    """One number per connected part (4 neighbours) of masks (tile, row, column), 0 elsewhere.

    Each pixel takes the largest number among its neighbours and then the number of the pixel of that number, which
    doubles the reach each time.
    """
    labels = torch.arange(1, mask.numel() + 1, device=mask.device).reshape(mask.shape) * mask
    while True:
        before = labels
        padded = torch.nn.functional.pad(labels, (1, 1, 1, 1))
        near = torch.stack([padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]])
        labels = torch.maximum(labels, near.amax(dim=0)) * mask
        flat = torch.cat([labels.new_zeros(1), labels.ravel()])
        labels = flat[flat[labels]]
        if torch.equal(labels, before):
            return labels


def _kept(labels: Tensor, stain: Tensor, *, mpp: float) -> Parts:
    """Tile (nucleus,) and sums of 1, x, y, xx, yy, xy, v, vv (nucleus, 8) of the parts that are large enough."""
    tile, y, x = labels.nonzero(as_tuple=True)
    value = stain[tile, y, x]
    _, number = labels[tile, y, x].unique(return_inverse=True)
    columns = torch.stack([torch.ones_like(x), x, y, x * x, y * y, x * y, value, value * value], dim=1)
    total = int(number.max()) + 1 if len(number) else 0
    sums = columns.new_zeros((total, 8)).index_add_(0, number, columns)
    own = tile.new_zeros(total).index_copy_(0, number, tile)
    keep = sums[:, 0] * mpp**2 >= nuclei.SMALLEST_UM2
    return own[keep], sums[keep].double()


def _shapes(sums: Tensor, *, mpp: float) -> dict[str, Tensor]:
    pixels = sums[:, 0]
    x, y, xx, yy, xy, v, vv = (sums[:, 1:] / pixels[:, None]).T
    xx, yy, xy = xx - x**2 + 1 / 12, yy - y**2 + 1 / 12, xy - x * y
    root, middle = (((xx - yy) / 2) ** 2 + xy**2).sqrt(), (xx + yy) / 2
    small = (middle - root).clamp(min=1 / 12)
    return {
        "area": pixels * mpp**2,
        "centre": torch.stack([x, y], dim=1) * mpp,
        "elongation": ((middle + root) / small).sqrt(),
        "extent": pixels / (4 * torch.pi * ((middle + root) * small).sqrt()),
        "intensity": v,
        "texture": (vv - v**2).clamp(min=0).sqrt(),
    }


def _total(values: Tensor, tile: Tensor, tiles: int) -> Tensor:
    return values.new_zeros(tiles).index_add_(0, tile, values)


def _mean_sd(values: Tensor, tile: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    mean = _total(values, tile, len(count)) / count.clamp(min=1)
    square = _total((values - mean[tile]) ** 2, tile, len(count)) / count.clamp(min=1)
    return mean, square.sqrt()


def _quantile(values: Tensor, tile: Tensor, count: Tensor, share: float) -> Tensor:
    """Quantile per tile, linear between neighbours as numpy's."""
    if not len(values):
        return torch.zeros_like(count)
    order = values.argsort(stable=True)
    order = order[tile[order].argsort(stable=True)]
    place = (count - 1).clamp(min=0) * share
    first = count.long().cumsum(0) - count.long()
    lower, upper = ((first + edge.long()).clamp(max=len(values) - 1) for edge in (place.floor(), place.ceil()))
    low, high = values[order[lower]], values[order[upper]]
    return low + (high - low) * (place - place.floor())


def _nearest(centre: Tensor, tile: Tensor, tiles: int) -> tuple[Tensor, Tensor]:
    """Mean and sd (tile,) of the distance to the nearest other nucleus."""
    means = centre.new_full((tiles,), nuclei.NO_NEIGHBOUR_UM)
    spreads = centre.new_zeros(tiles)
    for number in range(tiles):
        own = centre[tile == number]
        if len(own) > 1:
            apart = torch.cdist(own, own, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf)
            nearest = apart.amin(dim=1)
            means[number], spreads[number] = nearest.mean(), nearest.std(correction=0)
    return means, spreads
