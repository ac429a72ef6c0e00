"""Reducing pixels by area, so that each output pixel is the mean of the glass that it covers."""

import numpy as np
from numba import njit


def reduce_whole(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Mean of blocks of `factor` x `factor`; (row, column, rgb) uint8 in and out.

    Blocks that the right and lower edges cut are averaged over what is there.
    """
    if factor == 1:
        return pixels
    pixels = np.ascontiguousarray(pixels)
    if factor == 2 and pixels.shape[0] % 2 == pixels.shape[1] % 2 == 0:
        return _halve(pixels)
    return _block_means(pixels, factor)


@njit(cache=True)
def _halve(pixels: np.ndarray) -> np.ndarray:
    """`_block_means` for blocks of 2 x 2 of an even image, in 16 bits: the common 40x to 20x."""
    rows, columns = pixels.shape[0] // 2, pixels.shape[1] // 2
    flat = pixels.reshape(pixels.shape[0], -1)
    out = np.empty((rows, columns, 3), dtype=np.uint8)
    means = np.empty(columns * 6, dtype=np.uint8)
    two = np.uint16(2)
    for row in range(rows):
        upper, lower, target = flat[2 * row], flat[2 * row + 1], out[row]
        # of every pixel and its right neighbour, twice as many as are wanted: without a stride the loop is vectorised
        for here in range(columns * 6 - 3):
            left = np.uint16(upper[here]) + np.uint16(lower[here])
            right = np.uint16(upper[here + 3]) + np.uint16(lower[here + 3])
            means[here] = (left + right + two) >> two
        for column in range(columns):
            target[column, 0] = means[6 * column]
            target[column, 1] = means[6 * column + 1]
            target[column, 2] = means[6 * column + 2]
    return out


@njit(cache=True)
def _block_means(pixels: np.ndarray, factor: int) -> np.ndarray:
    height, width = pixels.shape[0], pixels.shape[1]
    rows, columns = -(-height // factor), -(-width // factor)
    flat = pixels.reshape(height, -1)
    out = np.empty((rows, columns, 3), dtype=np.uint8)
    line = np.empty(width * 3, dtype=np.uint32)
    for row in range(rows):
        line[:] = 0
        bottom = min((row + 1) * factor, height)
        for source in range(row * factor, bottom):
            one = flat[source]
            for place in range(width * 3):
                line[place] += one[place]
        for column in range(columns):
            right = min((column + 1) * factor, width)
            count = (bottom - row * factor) * (right - column * factor)
            for channel in range(3):
                total = np.int64(0)
                for source in range(column * factor, right):
                    total += line[3 * source + channel]
                out[row, column, channel] = (total + count // 2) // count
    return out


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

    pixels : (row, column, rgb) uint8. Returns (size, size, rgb) uint8.
    """
    rows, row_weights = area_weights(top, step, size, pixels.shape[0])
    columns, column_weights = area_weights(left, step, size, pixels.shape[1])
    return _weighted(np.ascontiguousarray(pixels), rows, row_weights, columns, column_weights)


@njit(cache=True)
def _weighted(
    pixels: np.ndarray,
    rows: np.ndarray,
    row_weights: np.ndarray,
    columns: np.ndarray,
    column_weights: np.ndarray,
) -> np.ndarray:
    """Weighted means along the rows, then along the columns; weights (output, tap) as from `area_weights`."""
    width = pixels.shape[1] * 3
    flat = pixels.reshape(pixels.shape[0], -1)
    out = np.empty((rows.shape[0], columns.shape[0], 3), dtype=np.uint8)
    line = np.empty(width, dtype=np.float32)
    for row in range(rows.shape[0]):
        line[:] = np.float32(0.5)  # rounds, since all weights of an output pixel sum to 1
        for tap in range(rows.shape[1]):
            weight, source = row_weights[row, tap], flat[rows[row, tap]]
            if weight > 0:
                for place in range(width):
                    line[place] += weight * np.float32(source[place])
        for column in range(columns.shape[0]):
            red = green = blue = np.float32(0)
            for tap in range(columns.shape[1]):
                weight, place = column_weights[column, tap], 3 * columns[column, tap]
                red += weight * line[place]
                green += weight * line[place + 1]
                blue += weight * line[place + 2]
            out[row, column, 0], out[row, column, 1], out[row, column, 2] = red, green, blue
    return out
