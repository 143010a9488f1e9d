"""The lines from color to value of `vidhair.imaging.matting.ColorLines`, tile by tile.

What a tile takes lies in the cache. Sums over windows are direct, as windows are small: every
pixel's result is the same whatever the tiles and the threads. At the border windows go on with the
outermost values, and beyond it so do lines.
"""

import numpy as np
from numba import prange

from vidhair.kernels.simd import compiled

ROWS, COLUMNS = 32, 256  # of a tile
MATRIX = ((0, 1, 2), (1, 3, 4), (2, 4, 5))  # where the inverse's rows lie among its six planes
VALUES = 4  # the value and its products with the color; the line's factors and its offset


# Loops name few arrays each: compilers make vectors of a loop only if they can check that none of
# its arrays overlap.


@compiled
def _multiply(a, b, result):
    for i in range(len(result)):
        result[i] = a[i] * b[i]


@compiled
def _add_both(a, b, total):
    for i in range(len(total)):
        total[i] += a[i] + b[i]


@compiled
def _covary(mean, value_mean, share, sums):
    """Sums of products become covariances."""
    for i in range(len(sums)):
        sums[i] = sums[i] * share - mean[i] * value_mean[i]


@compiled
def _weigh(red, green, blue, covariances, factors):
    """One row of the inverse matrix times covariances [1 … 3]."""
    x, y, z = covariances[1], covariances[2], covariances[3]
    for i in range(len(factors)):
        factors[i] = red[i] * x[i] + green[i] * y[i] + blue[i] * z[i]


@compiled
def _start(red, green, blue, value_mean, line):
    """The offset: what the line says of black."""
    x, y, z, offset = line[0], line[1], line[2], line[3]
    for i in range(len(offset)):
        offset[i] = value_mean[i] - (red[i] * x[i] + green[i] * y[i] + blue[i] * z[i])


@compiled
def _evaluate(red, green, blue, line, share, result):
    x, y, z, offset = line[0], line[1], line[2], line[3]
    for i in range(len(result)):
        result[i] = share * (x[i] * red[i] + y[i] * green[i] + z[i] * blue[i] + offset[i])


@compiled
def _add_five(a, b, c, d, e, total):
    """What windows of radius two come to: as they are the usual ones, in one go."""
    for i in range(len(total)):
        total[i] = (c[i] + (a[i] + e[i])) + (b[i] + d[i])


@compiled
def _sums_along(padded, radius, sums):
    """sums[i] = padded[i] + … + padded[i + 2·radius]."""
    count = len(sums)
    if radius == 2:
        _add_five(padded[:count], padded[1 : count + 1], padded[2 : count + 2],
                  padded[3 : count + 3], padded[4 : count + 4], sums)  # fmt: skip
        return
    sums[:] = padded[radius : radius + count]
    for tap in range(radius):
        other = 2 * radius - tap
        _add_both(padded[tap : tap + count], padded[other : other + count], sums)


@compiled
def _continue(row, low, high):
    """Fill what lies before and after row[low:high] with its ends."""
    row[:low] = row[low]
    row[high:] = row[high - 1]


@compiled
def _fit(picture, mean, inverse, values, radius, box, sums, lines):
    """Lines [rows, VALUES, columns] of the windows in a box (first row and column, and behind the
    last). sums: [rows + 2·radius, VALUES, columns], scratch."""
    height, width = values.shape
    top, left, bottom, right = box
    share = np.float32(1 / (2 * radius + 1) ** 2)
    columns = right - left
    padded = np.empty((VALUES, columns + 2 * radius), np.float32)
    first, last = max(0, left - radius), min(width, right + radius)
    low = first - (left - radius)
    high = low + last - first
    for i in range(bottom - top + 2 * radius):
        y = min(max(top - radius + i, 0), height - 1)
        value = values[y, first:last]
        padded[0, low:high] = value
        for channel in range(3):
            _multiply(picture[channel, y, first:last], value, padded[channel + 1, low:high])
        for k in range(VALUES):
            _continue(padded[k], low, high)
            _sums_along(padded[k], radius, sums[i, k])
    total = np.empty((VALUES, columns), np.float32)
    for i in range(bottom - top):
        if radius == 2:
            for k in range(VALUES):
                _add_five(sums[i, k], sums[i + 1, k], sums[i + 2, k], sums[i + 3, k],
                          sums[i + 4, k], total[k])  # fmt: skip
        else:
            total[:] = sums[i + radius]
            for tap in range(radius):
                for k in range(VALUES):
                    _add_both(sums[i + tap, k], sums[i + 2 * radius - tap, k], total[k])
        y = top + i
        value = total[0]
        for j in range(columns):
            value[j] *= share
        for channel in range(3):
            _covary(mean[channel, y, left:right], value, share, total[channel + 1])
        for channel in range(3):
            of = MATRIX[channel]
            _weigh(
                inverse[of[0], y, left:right], inverse[of[1], y, left:right],
                inverse[of[2], y, left:right], total, lines[i, channel]
            )  # fmt: skip
        _start(mean[0, y, left:right], mean[1, y, left:right], mean[2, y, left:right], value,
               lines[i])  # fmt: skip


@compiled(parallel=True)
def smooth(picture, mean, inverse, values, radius, tiles, result):
    """result [h, w] = what all lines through a pixel say of it on average, in some tiles.

    picture, mean: [3, h, w]; inverse: [6, h, w]; values: [h, w], all float32. tiles: int64 [n, 2],
    their first rows and columns.
    """
    height, width = values.shape
    share = np.float32(1 / (2 * radius + 1) ** 2)
    for task in prange(len(tiles)):
        y0, x0 = tiles[task, 0], tiles[task, 1]
        y1, x1 = min(y0 + ROWS, height), min(x0 + COLUMNS, width)
        top, left = max(0, y0 - radius), max(0, x0 - radius)
        bottom, right = min(height, y1 + radius), min(width, x1 + radius)
        rows, columns = bottom - top, right - left
        lines = np.empty((rows, VALUES, columns), np.float32)
        scratch = np.empty((rows + 2 * radius, VALUES, columns), np.float32)
        _fit(picture, mean, inverse, values, radius, (top, left, bottom, right), scratch, lines)
        padded = np.empty((VALUES, x1 - x0 + 2 * radius), np.float32)
        low = left - (x0 - radius)
        high = low + columns
        sums = np.empty((VALUES, x1 - x0), np.float32)
        for y in range(y0, y1):
            inner = padded[:, low:high]
            inner[:] = lines[y - top]
            for tap in range(radius, 0, -1):
                above, below = max(y - tap, 0) - top, min(y + tap, height - 1) - top
                for k in range(VALUES):
                    _add_both(lines[above, k], lines[below, k], inner[k])
            for k in range(VALUES):
                _continue(padded[k], low, high)
                _sums_along(padded[k], radius, sums[k])
            _evaluate(picture[0, y, x0:x1], picture[1, y, x0:x1], picture[2, y, x0:x1], sums, share,
                      result[y, x0:x1])  # fmt: skip
