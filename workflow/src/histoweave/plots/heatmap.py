"""What a model looked at on a slide."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from histoweave.plots.style import describe, figure_of


@figure_of
def slide_heatmap(
    tiles: pd.DataFrame,
    thumbnail: np.ndarray,
    *,
    title: str,
    quantity: str,
    downsample: float,
    tile_px0: float,
    mpp: float,
) -> Figure:
    """The slide's thumbnail, and beside it the same with each tile coloured by the rank of its value.

    tiles : ``x``, ``y`` (top left, level-0 px) and ``value`` per tile
    thumbnail : (row, column, channel) RGB; downsample : level-0 px per thumbnail px
    tile_px0 : side of a tile in level-0 px; mpp : micrometres per level-0 px
    """
    figure = Figure(figsize=(7.2, 0.5 + _height(thumbnail)), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.imshow(thumbnail, interpolation="nearest")
        axes.set_axis_off()
    left.set_title(title)
    _scale_bar(left, thumbnail.shape[1], um_per_px=downsample * mpp)
    overlay = rank_image(tiles, thumbnail.shape[:2], downsample=downsample, tile_px0=tile_px0)
    drawn = right.imshow(overlay, cmap="cividis", vmin=0, vmax=1, alpha=0.75, interpolation="nearest")
    right.set_title(f"rank of {quantity}")
    bar = figure.colorbar(drawn, ax=right, fraction=0.05, pad=0.02, ticks=[0, 0.5, 1])
    bar.set_ticklabels(["lowest", "middle", "highest"], fontsize=7)
    top = tiles.loc[tiles["value"].idxmax()]
    text = (
        f"{title}: thumbnail, and the same with {len(tiles)} tiles coloured by the rank of {quantity}; the highest"
        f" is the tile at x={top['x']:.0f}, y={top['y']:.0f} (level-0 pixels)."
    )
    return describe(figure, text)


def rank_image(tiles: pd.DataFrame, shape: tuple[int, int], *, downsample: float, tile_px0: float) -> np.ma.MaskedArray:
    """Paint each tile's rank (0 lowest, 1 highest; ties share their mean) on an image of `shape`; masked elsewhere.

    Returns (row, column).
    """
    ranks = tiles["value"].rank().to_numpy()
    ranks = (ranks - 1) / max(1, len(ranks) - 1)
    image = np.full(shape, np.nan)
    edges = np.stack([tiles["y"], tiles["y"] + tile_px0, tiles["x"], tiles["x"] + tile_px0], axis=1) / downsample
    for (top, bottom, left, right), rank in zip(np.rint(edges).astype(int), ranks, strict=True):
        image[top : max(bottom, top + 1), left : max(right, left + 1)] = rank
    return np.ma.masked_invalid(image)


def _height(thumbnail: np.ndarray) -> float:
    rows, columns = thumbnail.shape[:2]
    return min(6.0, 3.3 * rows / columns)


def _scale_bar(axes: Axes, columns: int, *, um_per_px: float) -> None:
    """Draw a bar of a round length near a fifth of the width."""
    wish = columns * um_per_px / 5
    power = 10.0 ** np.floor(np.log10(wish))
    length = max(step * power for step in (1, 2, 5) if step * power <= wish)
    label = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    width, low = length / um_per_px, -0.035
    axes.add_patch(Rectangle((0, low), width / columns, 0.012, transform=axes.transAxes, color="black", clip_on=False))
    axes.text(width / columns + 0.02, low, label, transform=axes.transAxes, fontsize=7.5, va="center")


def overlay(
    tiles: pd.DataFrame, size: tuple[int, int], *, downsample: float, shrunk: float, tile_px0: float
) -> np.ndarray:
    """Tiles coloured by the rank of their value, transparent elsewhere, for laying over an image of `size`.

    size : width and height of the image, px; downsample : level-0 px per pixel of it; shrunk : how much smaller the
        overlay is. Returns (row, column, rgba) uint8.
    """
    width, height = (int(np.ceil(side / shrunk)) for side in size)
    ranks = rank_image(tiles, (height, width), downsample=downsample * shrunk, tile_px0=tile_px0)
    colours = colormaps["cividis"](ranks.filled(0.0), bytes=True)
    colours[..., 3] = np.where(np.ma.getmaskarray(ranks), 0, 255)
    return colours
