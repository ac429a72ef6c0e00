"""Reducing pixels by area, so that each output pixel is the mean of the glass that it covers."""

import numpy as np
from scipy.sparse import csr_array


def reduce_whole(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Mean of blocks of `factor` x `factor`; (row, column, channel) uint8 in and out.

    Blocks that the right and lower edges cut are averaged over what is there.
    """
    if factor == 1:
        return pixels
    rows, columns = (-(-side // factor) for side in pixels.shape[:2])
    full_rows, full_columns = (side // factor for side in pixels.shape[:2])
    out = np.empty((rows, columns, pixels.shape[2]), dtype=np.uint8)
    whole = pixels[: full_rows * factor, : full_columns * factor]
    # sums in 16 bits where they fit are twice as fast as in 32
    kind = np.uint16 if 255 * factor * factor + factor * factor // 2 <= np.iinfo(np.uint16).max else np.uint32
    lines = np.zeros((full_rows, full_columns * factor, pixels.shape[2]), dtype=kind)
    for shift in range(factor):
        lines += whole[shift::factor]
    total = np.zeros((full_rows, full_columns, pixels.shape[2]), dtype=kind)
    for shift in range(factor):
        total += lines[:, shift::factor]
    out[:full_rows, :full_columns] = (total + kind(factor * factor // 2)) // kind(factor * factor)
    if rows > full_rows:
        out[full_rows:] = _strip(pixels[full_rows * factor :], factor, columns)
    if columns > full_columns:
        edge = pixels[:, full_columns * factor :].transpose(1, 0, 2)
        out[:, full_columns:] = _strip(edge, factor, rows).transpose(1, 0, 2)
    return out


def _strip(strip: np.ndarray, factor: int, count: int) -> np.ndarray:
    """Mean of blocks along axis 1 of a strip thinner than a block: (1, count, channel)."""
    means = [strip[:, i * factor : (i + 1) * factor].mean(axis=(0, 1)) for i in range(count)]
    return np.rint(np.stack(means)).astype(np.uint8)[None]


def area_weights(start: float, step: float, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Sources and weights of `count` output pixels, each `step` source pixels wide, from `start` on.

    Returns index (output, tap) into `length` source pixels, and weights (output, tap) that sum to 1. Taps are shares
    of the source pixels covered.
    """
    edges = start + step * np.arange(count + 1)
    first = np.floor(edges[:-1]).astype(np.int64)
    taps = int(np.ceil(step)) + 1
    index = first[:, None] + np.arange(taps)
    cover = np.minimum(index + 1, edges[1:, None]) - np.maximum(index, edges[:-1, None])
    cover = np.clip(cover, 0.0, None)
    return np.clip(index, 0, length - 1), (cover / cover.sum(axis=1, keepdims=True)).astype(np.float32)


def resample_area(pixels: np.ndarray, *, left: float, top: float, step: float, size: int) -> np.ndarray:
    """Square of `size` pixels, each the mean of `step` x `step` source pixels, from (`left`, `top`) on.

    pixels : (row, column, channel) uint8. Returns (size, size, channel) uint8.
    """
    height, width, channels = pixels.shape
    lines = _weight_matrix(top, step, size, height) @ pixels.reshape(height, -1).astype(np.float32)
    across = lines.reshape(size, width, channels).transpose(1, 0, 2)  # (column in, row out, channel)
    out = _weight_matrix(left, step, size, width) @ np.ascontiguousarray(across).reshape(width, -1)
    rounded = (out + np.float32(0.5)).astype(np.uint8)  # (column out, row out * channel)
    return np.ascontiguousarray(rounded.reshape(size, size, channels).transpose(1, 0, 2))


def _weight_matrix(start: float, step: float, count: int, length: int) -> csr_array:
    """Weights (output, source) of `area_weights`; sparse, as a dense product would cost a hundred times more."""
    index, weights = area_weights(start, step, count, length)
    pointers = np.arange(count + 1) * index.shape[1]
    return csr_array((weights.ravel(), index.ravel(), pointers), shape=(count, length))
