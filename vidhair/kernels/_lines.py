"""The lines from color to value of `vidhair.imaging.matting.ColorLines`, tile by tile.

What a tile takes lies in the cache, and what a pixel's line takes in registers. Sums over windows
are direct, as windows are small: every pixel's result is the same whatever the tiles and the
threads. At the border windows go on with the outermost values, and beyond it so do lines. Arrays
are flat for the microkernels; those of a row hold one plane after the other.
"""

import numpy as np
from numba import prange

from vidhair.kernels.simd import LANES, compiled, microkernel

ROWS, COLUMNS = 32, 256  # of a tile
HIGH, WIDE = 64, 128  # of one of the guided filter
# Products of two channels, and where the rows of the inverse of their matrix lie among its planes.
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
MATRIX = ((0, 1, 2), (1, 3, 4), (2, 4, 5))
VALUES = 4  # the value and its products with the color; the line's factors and its offset
MOMENTS = 9 + VALUES  # and before those the color and the products of its channels


def _places(v, at, plane, count):
    """Of the same pixel in several planes."""
    return [v.sum(at, v.times(k, plane)) for k in range(count)]


@microkernel
def _add_values(v, row, at, plane, taps, sums, to, step):
    """Along a row [4, plane] of color and value: the value, and its products with the color."""

    def terms(k, sums):
        *color, value = (v.load(row, i) for i in _places(v, v.sum(at, k), plane, VALUES))
        products = [v.multiply_add(c, value, s) for c, s in zip(color, sums[1:], strict=True)]
        return [v.add(sums[0], value), *products]

    found = v.repeat(taps, [v.number(0)] * VALUES, terms)
    for place, total in zip(_places(v, to, step, VALUES), found, strict=True):
        v.store(total, sums, place)


@microkernel
def _add_moments(v, row, at, plane, taps, sums, to, step):
    """The same of color, products of its channels, value, and its products with the color."""

    def terms(k, sums):
        *color, value = (v.load(row, i) for i in _places(v, v.sum(at, k), plane, VALUES))
        products = [*((color[i], color[j]) for i, j in PAIRS), *((c, value) for c in color)]
        first, second = [*sums[:3], sums[9]], [*sums[3:9], *sums[10:]]
        first = [v.add(s, x) for s, x in zip(first, [*color, value], strict=True)]
        second = [v.multiply_add(*p, s) for p, s in zip(products, second, strict=True)]
        return [*first[:3], *second[:6], first[3], *second[6:]]

    found = v.repeat(taps, [v.number(0)] * MOMENTS, terms)
    for place, total in zip(_places(v, to, step, MOMENTS), found, strict=True):
        v.store(total, sums, place)


@microkernel
def _replace(v, new, old, total, at):
    """total += new − old, and old = new."""
    added = v.load(new, at)
    v.store(v.add(v.load(total, at), v.subtract(added, v.load(old, at))), total, at)
    v.store(added, old, at)


def _line(v, inverse, covariances, color, value):
    """Factors of the color and offset."""
    factors = [v.dot([inverse[k] for k in of], covariances) for of in MATRIX]
    return [*factors, v.subtract(value, v.dot(factors, color))]


@microkernel
def _fit(v, sums, at, row, plane, taps, mean, inverse, place, size, share, lines, to, step):
    """Lines of the sums of as many rows; mean and inverse: planes of that size."""

    def terms(k, total):
        places = _places(v, v.sum(at, v.product(k, row)), plane, VALUES)
        return [v.add(t, v.load(sums, i)) for t, i in zip(total, places, strict=True)]

    found = v.repeat(taps, [v.number(0)] * VALUES, terms)
    value, *products = (v.multiply(total, share) for total in found)
    color = [v.load(mean, i) for i in _places(v, place, size, 3)]
    planes = [v.load(inverse, i) for i in _places(v, place, size, 6)]
    covariances = [v.multiply_subtract(p, c, value) for p, c in zip(products, color, strict=True)]
    line = _line(v, planes, covariances, color, value)
    for i, number in zip(_places(v, to, step, VALUES), line, strict=True):
        v.store(number, lines, i)


@microkernel
def _fit_moments(v, sums, at, plane, share, eps, lines, to, step):
    """Lines of sums of moments. The matrix is inverted by cofactors."""
    means = [v.multiply(v.load(sums, i), share) for i in _places(v, at, plane, MOMENTS)]
    color, value = means[:3], means[9]
    xx, xy, xz, yy, yz, zz = (
        v.multiply_subtract(means[3 + k], color[i], color[j]) for k, (i, j) in enumerate(PAIRS)
    )
    xx, yy, zz = (v.add(x, eps) for x in (xx, yy, zz))
    covariances = [v.multiply_subtract(p, c, value) for p, c in zip(means[10:], color, strict=True)]
    cofactors = [
        v.multiply_subtract(v.multiply(a, b), c, d)
        for a, b, c, d in (
            (yy, zz, yz, yz), (xz, yz, xy, zz), (xy, yz, xz, yy),
            (xx, zz, xz, xz), (xy, xz, xx, yz), (xx, yy, xy, xy),
        )
    ]  # fmt: skip
    determinant = v.dot(cofactors[:3], [xx, xy, xz])
    inverse = [v.divide(c, determinant) for c in cofactors]
    line = _line(v, inverse, covariances, color, value)
    for i, number in zip(_places(v, to, step, VALUES), line, strict=True):
        v.store(number, lines, i)


@microkernel
def _add_rows(v, lines, at, row, plane, taps, sums, to, step):
    """Sums of lines over as many rows."""

    def terms(k, total):
        places = _places(v, v.sum(at, v.product(k, row)), plane, VALUES)
        return [v.add(t, v.load(lines, i)) for t, i in zip(total, places, strict=True)]

    found = v.repeat(taps, [v.number(0)] * VALUES, terms)
    for place, total in zip(_places(v, to, step, VALUES), found, strict=True):
        v.store(total, sums, place)


@microkernel
def _evaluate(v, sums, at, plane, taps, share, picture, place, size, result):
    """What lines say of the color on average, of sums [4, plane] that are added along the row."""

    def terms(k, total):
        places = _places(v, v.sum(at, k), plane, VALUES)
        return [v.add(t, v.load(sums, i)) for t, i in zip(total, places, strict=True)]

    *factors, offset = v.repeat(taps, [v.number(0)] * VALUES, terms)
    color = [v.load(picture, i) for i in _places(v, place, size, 3)]
    v.store(v.multiply(v.dot(factors, color, offset), share), result, place)


@compiled
def _take_row(picture, values, y, left, row, plane):
    """row [4, plane] = color and value from a column on; beyond the border it goes on."""
    height, width = values.shape
    y = min(max(y, 0), height - 1)
    first, last = max(left, 0), min(left + plane, width)
    for k in range(4):
        source = values[y] if k == 3 else picture[k, y]
        part = row[k * plane : (k + 1) * plane]
        part[first - left : last - left] = source[first:last]
        part[: first - left] = source[first]
        part[last - left :] = source[last - 1]


@compiled
def _continue(lines, corner, size, rows, columns):
    """Lines [rows, 4, columns] from a corner on, of which those beyond the border are missing."""
    top, left = corner
    height, width = size
    shaped = lines.reshape(rows, VALUES, columns)
    low, high = max(0, -left), min(columns, width - left)
    first, last = max(0, -top), min(rows, height - top)
    for i in range(first, last):
        for k in range(VALUES):
            shaped[i, k, :low] = shaped[i, k, low]
            shaped[i, k, high:] = shaped[i, k, high - 1]
    for i in range(first):
        shaped[i] = shaped[first]
    for i in range(last, rows):
        shaped[i] = shaped[last - 1]


@compiled
def _say(picture, lines, radius, tile, size, result):
    """What lines [rows + 2·radius, 4, columns + 2·radius] say of the pixels of a tile."""
    y0, x0, y1, x1 = tile
    height, width = size
    columns, taps = x1 - x0 + 2 * radius, 2 * radius + 1
    share = np.float32(1 / taps**2)
    sums = np.empty(VALUES * columns, np.float32)
    for y in range(y0, y1):
        at = (y - y0) * VALUES * columns
        for x in range(0, columns, LANES):
            i = min(x, columns - LANES)
            _add_rows(lines, at + i, VALUES * columns, columns, taps, sums, i, columns)
        for x in range(x0, x1, LANES):
            i = min(x, x1 - LANES)
            _evaluate(
                sums, i - x0, columns, taps, share, picture, y * width + i, height * width, result
            )


@compiled(parallel=True)
def smooth(picture, mean, inverse, values, radius, tiles, result):
    """result [h, w] = what all lines through a pixel say of it on average, in some tiles.

    picture, mean: [3, h, w]; inverse: [6, h, w]; values: [h, w], all float32; w is LANES at least.
    tiles: int64 [n, 2], their first rows and columns.
    """
    height, width = values.shape
    taps = 2 * radius + 1
    share = np.float32(1 / taps**2)
    for task in prange(len(tiles)):
        y0, y1 = tiles[task, 0], min(tiles[task, 0] + ROWS, height)
        # As wide as a vector at least.
        x0, x1 = min(tiles[task, 1], width - LANES), min(tiles[task, 1] + COLUMNS, width)
        rows, columns = y1 - y0 + 2 * radius, x1 - x0 + 2 * radius
        plane = columns + 2 * radius
        row = np.empty(VALUES * plane, np.float32)
        sums = np.empty((rows + 2 * radius) * VALUES * columns, np.float32)
        for i in range(rows + 2 * radius):
            _take_row(picture, values, y0 - 2 * radius + i, x0 - 2 * radius, row, plane)
            for x in range(0, columns, LANES):
                j = min(x, columns - LANES)
                _add_values(row, j, plane, taps, sums, i * VALUES * columns + j, columns)
        lines = np.empty(rows * VALUES * columns, np.float32)
        left, right = max(0, x0 - radius), min(width, x1 + radius)
        for y in range(max(0, y0 - radius), min(height, y1 + radius)):
            at = (y - y0 + radius) * VALUES * columns
            for x in range(left, right, LANES):
                j = min(x, right - LANES)
                to = at + j - x0 + radius
                _fit(
                    sums, to, VALUES * columns, columns, taps, mean.reshape(-1),
                    inverse.reshape(-1), y * width + j, height * width, share, lines, to, columns
                )  # fmt: skip
        _continue(lines, (y0 - radius, x0 - radius), (height, width), rows, columns)
        _say(
            picture.reshape(-1), lines, radius, (y0, x0, y1, x1), (height, width),
            result.reshape(-1)
        )  # fmt: skip


@compiled
def _is_flat(values, flat):
    low = high = values[0, 0]
    for y in range(values.shape[0]):
        for value in values[y]:
            low, high = min(low, value), max(high, value)
    return high - low <= flat


@compiled(parallel=True)
def filter_guided(guide, values, radius, eps, flat, result):
    """result [h, w] = the guided filter of values by a picture [3, h, w], in 0 … 1; w is LANES at
    least.

    Values stay where they differ by no more than `flat` as far as a tile reaches. Sums over rows
    are running, as windows may be larger.
    """
    height, width = values.shape
    # The last tile of a row takes the rest.
    across, down = max(1, width // WIDE), (height + HIGH - 1) // HIGH
    taps, reach = 2 * radius + 1, 2 * radius
    share = np.float32(1 / taps**2)
    for task in prange(across * down):
        # Neighbouring tasks lie far apart, as borders are in some places.
        y0, x0 = task % down * HIGH, task // down * WIDE
        y1, x1 = min(y0 + HIGH, height), width if x0 // WIDE + 1 == across else x0 + WIDE
        if _is_flat(values[max(0, y0 - reach) : y1 + reach, max(0, x0 - reach) : x1 + reach], flat):
            result[y0:y1, x0:x1] = values[y0:y1, x0:x1]
            continue
        rows, columns = y1 - y0 + 2 * radius, x1 - x0 + 2 * radius
        plane = columns + 2 * radius
        row = np.empty(VALUES * plane, np.float32)
        new, total = (
            np.empty(MOMENTS * columns, np.float32),
            np.zeros(MOMENTS * columns, np.float32),
        )
        seen = np.zeros((taps, MOMENTS * columns), np.float32)
        lines = np.empty(rows * VALUES * columns, np.float32)
        for i in range(rows + 2 * radius):
            _take_row(guide, values, y0 - reach + i, x0 - reach, row, plane)
            for x in range(0, columns, LANES):
                j = min(x, columns - LANES)
                _add_moments(row, j, plane, taps, new, j, columns)
            for x in range(MOMENTS * columns // LANES):
                _replace(new, seen[i % taps], total, x * LANES)
            for x in range(MOMENTS * columns // LANES * LANES, MOMENTS * columns):
                total[x] += new[x] - seen[i % taps, x]
                seen[i % taps, x] = new[x]
            at = (i - 2 * radius) * VALUES * columns
            if at >= 0:
                for x in range(0, columns, LANES):
                    j = min(x, columns - LANES)
                    _fit_moments(total, j, columns, share, eps, lines, at + j, columns)
        _continue(lines, (y0 - radius, x0 - radius), (height, width), rows, columns)
        _say(
            guide.reshape(-1), lines, radius, (y0, x0, y1, x1), (height, width),
            result.reshape(-1)
        )  # fmt: skip
        for y in range(y0, y1):
            for x in range(x0, x1):
                result[y, x] = min(max(result[y, x], np.float32(0)), np.float32(1))
