"""Loops over pixels, compiled by numba: one pass per image instead of one per operation.

All sums are of whole numbers, so that their order does not matter and results are equal on every machine.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def count_levels(image: np.ndarray) -> np.ndarray:
    """Pixels of each grey level (256,) of an image (row, column) uint8."""
    counts = np.zeros(256, dtype=np.int64)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            counts[image[row, column]] += 1
    return counts


@njit(cache=True)
def split_tile(tile: np.ndarray, amounts: np.ndarray, saturation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Planes (5, row, column) uint8 and histograms (8, 256) of a tile (row, column, rgb) uint8.

    Planes: haematoxylin, eosin, residual, grey, saturation; the histograms are theirs, then red, green, blue.
    amounts : (rgb, level, plane) int32, what a colour's level adds to each of the first four planes, in 65536ths
    saturation : (256, 256) uint8 of the largest and the smallest of the three colours
    """
    rows, columns = tile.shape[:2]
    flat = tile.reshape(-1)
    planes = np.empty((5, rows * columns), dtype=np.uint8)
    counts = np.zeros((8, 256), dtype=np.int64)
    for pixel in range(rows * columns):
        red, green, blue = flat[3 * pixel], flat[3 * pixel + 1], flat[3 * pixel + 2]
        for plane in range(4):
            total = amounts[0, red, plane] + amounts[1, green, plane] + amounts[2, blue, plane]
            planes[plane, pixel] = min(max(total >> np.int32(16), np.int32(0)), np.int32(255))
        planes[4, pixel] = saturation[max(red, green, blue), min(red, green, blue)]
        counts[5, red] += 1
        counts[6, green] += 1
        counts[7, blue] += 1
    split = planes.reshape(5, rows, columns)
    for plane in range(5):
        counts[plane] = count_levels(split[plane])
    return split, counts


@njit(cache=True)
def count_patterns(image: np.ndarray) -> np.ndarray:
    """Pixels of each local binary pattern (256,); bit k is set where neighbour k is at least the centre.

    Codes of a whole row come before they are counted, since the compiler can then compare 32 pixels at once.
    """
    rows, columns = image.shape
    counts = np.zeros(256, dtype=np.int64)
    code = np.empty(columns, dtype=np.uint8)
    for row in range(1, rows - 1):
        above, here, below = image[row - 1], image[row], image[row + 1]
        for c in range(1, columns - 1):
            level = here[c]
            code[c] = (
                np.uint8(above[c - 1] >= level)
                | np.uint8(above[c] >= level) << np.uint8(1)
                | np.uint8(above[c + 1] >= level) << np.uint8(2)
                | np.uint8(here[c + 1] >= level) << np.uint8(3)
                | np.uint8(below[c + 1] >= level) << np.uint8(4)
                | np.uint8(below[c] >= level) << np.uint8(5)
                | np.uint8(below[c - 1] >= level) << np.uint8(6)
                | np.uint8(here[c - 1] >= level) << np.uint8(7)
            )
        for c in range(1, columns - 1):
            counts[code[c]] += 1
    return counts


@njit(cache=True)
def sum_slopes(image: np.ndarray) -> tuple[int, int, int, int]:
    """Sums over the inner pixels: down^2, right^2, down*right (central differences), Laplacian^2."""
    yy = xx = xy = ll = 0
    for row in range(1, image.shape[0] - 1):
        for column in range(1, image.shape[1] - 1):
            above, below = np.int64(image[row - 1, column]), np.int64(image[row + 1, column])
            before, after = np.int64(image[row, column - 1]), np.int64(image[row, column + 1])
            down, right = below - above, after - before
            around = above + below + before + after - 4 * np.int64(image[row, column])
            yy += down * down
            xx += right * right
            xy += down * right
            ll += around * around
    return yy, xx, xy, ll


@njit(cache=True)
def count_pairs(image: np.ndarray, step: int) -> np.ndarray:
    """Pairs (16, 16) of grey levels, in 16 steps, of pixels `step` apart to the right and down."""
    counts = np.zeros((16, 16), dtype=np.int64)
    rows, columns = image.shape
    for row in range(rows):
        for column in range(columns):
            level = image[row, column] >> 4
            if column + step < columns:
                counts[level, image[row, column + step] >> 4] += 1
            if row + step < rows:
                counts[level, image[row + step, column] >> 4] += 1
    return counts


@njit(cache=True)
def halve(image: np.ndarray) -> np.ndarray:
    """Means of blocks of 2 x 2 of an image (row, column) uint8; an odd last row or column is dropped."""
    out = np.empty((image.shape[0] // 2, image.shape[1] // 2), dtype=np.uint8)
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            upper = np.int64(image[2 * row, 2 * column]) + np.int64(image[2 * row, 2 * column + 1])
            lower = np.int64(image[2 * row + 1, 2 * column]) + np.int64(image[2 * row + 1, 2 * column + 1])
            out[row, column] = (upper + lower + 2) >> 2
    return out


@njit(cache=True)
def sum_parts(labels: np.ndarray, image: np.ndarray, count: int) -> np.ndarray:
    """Per label 1 to `count` of (row, column) int32: pixels and sums of x, y, xx, yy, xy, v, vv, as (label, 8)."""
    sums = np.zeros((count + 1, 8), dtype=np.int64)
    for row in range(labels.shape[0]):
        for column in range(labels.shape[1]):
            part = labels[row, column]
            if part:
                value = np.int64(image[row, column])
                sums[part, 0] += 1
                sums[part, 1] += column
                sums[part, 2] += row
                sums[part, 3] += column * column
                sums[part, 4] += row * row
                sums[part, 5] += column * row
                sums[part, 6] += value
                sums[part, 7] += value * value
    return sums[1:]
