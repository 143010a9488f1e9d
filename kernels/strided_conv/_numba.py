"""The compiled transforms of the strided convolutions; see `cpu` for the notation.

Pictures are flat arrays of memory [N, H, W, C'] of `vidhair.kernels.layout_cpu`, and transformed
ones of [81, tiles, C']. Tiles count from the top left, row by row.
"""

import numpy as np
from numba import prange

from vidhair.kernels._tiles import copy, patch_of
from vidhair.kernels.simd import LANES, compiled, microkernel

TILE, WINDOW = 4, 9  # of the smaller picture, and what it meets of the larger one
MIXED, PLAIN = 5, 4  # products along an axis of the two taps, and of the one
PLANES = (MIXED + PLAIN) ** 2
A, B = 0.5, 1.0  # points of interpolation: ±A, ±B and ∞


def plane_of(i: int, j: int) -> int:
    """Where the product of row i and column j is kept: those of the same weight side by side.

    Rows and columns 0 … 4 are the mixed products, 5 … 8 the plain ones.
    """
    if i < MIXED:
        return MIXED * i + j if j < MIXED else 25 + PLAIN * i + j - MIXED
    if j < MIXED:
        return 45 + PLAIN * j + i - MIXED
    return 65 + PLAIN * (i - MIXED) + j - MIXED


def _mixed(v, d):
    """Bᵀ d, of five vectors."""
    a, b = v.number(A), v.number(B)
    aa, bb = v.number(A * A), v.number(B * B)
    low_a, low_b = v.multiply_subtract(d[2], bb, d[0]), v.multiply_subtract(d[2], aa, d[0])
    odd_a, odd_b = v.multiply_subtract(d[3], bb, d[1]), v.multiply_subtract(d[3], aa, d[1])
    even_a, even_b = v.multiply(a, low_a), v.multiply(b, low_b)
    last = v.multiply_subtract(d[4], v.number(A * A + B * B), d[2])
    return [
        v.add(odd_a, even_a),
        v.subtract(odd_a, even_a),
        v.add(odd_b, even_b),
        v.subtract(odd_b, even_b),
        v.multiply_add(v.number(A * A * B * B), d[0], last),
    ]


def _results(v, m):
    """Aᵀ m, of five vectors."""
    a, b = v.number(A), v.number(B)
    aa, bb = v.number(A * A), v.number(B * B)
    sum_a, sum_b = v.add(m[0], m[1]), v.add(m[2], m[3])
    odd_a = v.multiply(a, v.subtract(m[0], m[1]))
    odd_b = v.multiply(b, v.subtract(m[2], m[3]))
    return [
        v.add(sum_a, sum_b),
        v.add(odd_a, odd_b),
        v.dot([aa, bb], [sum_a, sum_b]),
        v.dot([aa, bb], [odd_a, odd_b], m[4]),
    ]


def _apart(v, d):
    """Of nine vectors: every other one mixed, then those between."""
    return [*_mixed(v, d[::2]), *d[1::2]]


def _together(v, m):
    """Four results of nine products."""
    return [v.add(x, y) for x, y in zip(_results(v, m[:MIXED]), m[MIXED:], strict=True)]


@microkernel
def _downsampling_window(v, x, at, row, column, out, to, plane):
    """The products' factors of a window of x whose rows and columns are that far apart."""
    rows = []
    for i in range(WINDOW):
        start = v.sum(at, v.times(i, row))
        d = [v.load(x, v.sum(start, v.times(j, column))) for j in range(WINDOW)]
        rows.append(_apart(v, d))
    for j, values in enumerate(zip(*rows, strict=True)):
        for i, value in enumerate(_apart(v, list(values))):
            v.store(value, out, v.sum(to, v.times(plane_of(i, j), plane)))


@microkernel
def _downsampling_result(v, m, at, plane, bias, block, slope, y, to, row, column):
    """A tile of y from its products, with bias and leaky ReLU."""
    shift = v.load(bias, block)
    rows = []
    for i in range(WINDOW):
        products = [v.load(m, v.sum(at, v.times(plane_of(i, j), plane))) for j in range(WINDOW)]
        rows.append(_together(v, products))
    for j, values in enumerate(zip(*rows, strict=True)):
        for i, value in enumerate(_together(v, list(values))):
            value = v.add(value, shift)
            value = v.maximum(value, v.multiply(slope, value))
            v.store(value, y, v.sum(to, v.sum(v.times(i, row), v.times(j, column))))


@microkernel
def _upsampling_window(v, x, at, row, column, scale, block, out, to, plane):
    """The products' factors of a window of x, scaled."""
    s = v.load(scale, block)
    rows = []
    for i in range(MIXED):
        start = v.sum(at, v.times(i, row))
        d = [v.multiply(s, v.load(x, v.sum(start, v.times(j, column)))) for j in range(MIXED)]
        rows.append([*_mixed(v, d), *d[1:]])
    for j, values in enumerate(zip(*rows, strict=True)):
        for i, value in enumerate([*_mixed(v, values), *values[1:]]):
            v.store(value, out, v.sum(to, v.times(plane_of(i, j), plane)))


def _interleaved(v, m):
    """Eight results of nine products: one of the mixed, one of the plain, and so on."""
    pairs = zip(_results(v, m[:MIXED]), m[MIXED:], strict=True)
    return [value for pair in pairs for value in pair]


@microkernel
def _upsampling_result(v, m, at, plane, scale, block, y, to, row, column):
    """A tile of 8 × 8 from its products, scaled."""
    s = v.load(scale, block)
    rows = []
    for i in range(WINDOW):
        products = [v.load(m, v.sum(at, v.times(plane_of(i, j), plane))) for j in range(WINDOW)]
        rows.append(_interleaved(v, products))
    for j, values in enumerate(zip(*rows, strict=True)):
        for i, value in enumerate(_interleaved(v, list(values))):
            place = v.sum(to, v.sum(v.times(i, row), v.times(j, column)))
            v.store(v.multiply(s, value), y, place)


@microkernel
def _smooth_row(v, x, at, row, column, count, y, to, step):
    """A row of y [count, …] from four rows of x: [1, 3, 3, 1] / 4 along both axes."""
    outer, inner = v.number(0.25), v.number(0.75)

    def smoothed(a, b, c, d):
        return v.multiply_add(inner, v.add(b, c), v.multiply(outer, v.add(a, d)))

    def below(k):
        start = v.sum(at, v.product(k, column))
        return smoothed(*(v.load(x, v.sum(start, v.times(i, row))) for i in range(4)))

    def along(k, values):
        before, here, after = values
        last = below(v.sum(k, v.place(2)))
        v.store(smoothed(before, here, after, last), y, v.sum(to, v.product(k, step)))
        return [here, after, last]

    v.repeat(count, [v.number(0), below(v.place(0)), below(v.place(1))], along)


@compiled(parallel=True)
def downsampling_input(x, start, shape, first, columns, tiles, out):
    """What `tiles` tiles from row `first` on meet of x [H, W, C'] → [81, …, C']."""
    height, width, channels = shape
    plane, row = len(out) // PLANES, width * channels
    for tile in prange(tiles):
        top = 2 * TILE * (first + tile // columns) - 1
        left = 2 * TILE * (tile % columns) - 1
        inside = top >= 0 and left >= 0 and top + WINDOW <= height and left + WINDOW <= width
        at = start + (top * width + left) * channels
        patch = np.empty((PLANES, LANES), np.float32)
        for block in range(channels // LANES):
            offset = block * LANES
            to = tile * channels + offset
            if inside:
                _downsampling_window(x, at + offset, row, channels, out, to, plane)
            else:
                patch_of(x, start, shape, top, left, WINDOW, offset, patch)
                _downsampling_window(patch, 0, WINDOW, 1, out, to, plane)


@compiled(parallel=True)
def downsampling_output(m, bias, slope, first, columns, tiles, y, start, shape):
    """m [81, …, C'] → as many tiles from row `first` on of y [H, W, C']."""
    height, width, channels = shape
    plane, row = len(m) // PLANES, width * channels
    for tile in prange(tiles):
        top, left = TILE * (first + tile // columns), TILE * (tile % columns)
        inside = top + TILE <= height and left + TILE <= width
        to = start + (top * width + left) * channels
        patch = np.empty((TILE * TILE, LANES), np.float32)
        for block in range(channels // LANES):
            offset = block * LANES
            at = tile * channels + offset
            if inside:
                _downsampling_result(
                    m, at, plane, bias, block, slope, y, to + offset, row, channels
                )
                continue
            _downsampling_result(m, at, plane, bias, block, slope, patch, 0, TILE, 1)
            for i in range(min(TILE, height - top)):
                for j in range(min(TILE, width - left)):
                    place = to + (i * width + j) * channels + offset
                    copy(patch, TILE * i + j, y, place)


@compiled(parallel=True)
def upsampling_input(x, start, shape, scale, first, columns, tiles, out):
    """What `tiles` tiles from row `first` on meet of x [H, W, C'] times scale → [81, …, C']."""
    height, width, channels = shape
    plane, row = len(out) // PLANES, width * channels
    for tile in prange(tiles):
        top, left = TILE * (first + tile // columns) - 1, TILE * (tile % columns) - 1
        inside = top >= 0 and left >= 0 and top + MIXED <= height and left + MIXED <= width
        at = start + (top * width + left) * channels
        patch = np.empty((MIXED * MIXED, LANES), np.float32)
        for block in range(channels // LANES):
            offset = block * LANES
            to = tile * channels + offset
            if inside:
                _upsampling_window(x, at + offset, row, channels, scale, block, out, to, plane)
            else:
                patch_of(x, start, shape, top, left, MIXED, offset, patch)
                _upsampling_window(patch, 0, MIXED, 1, scale, block, out, to, plane)


@compiled(parallel=True)
def upsampling_output(m, scale, columns, tiles, channels, y, start):
    """m [81, …, C'] times scale → tiles of 8 × 8, row by row, in y from `start` on."""
    plane, row = len(m) // PLANES, 2 * TILE * columns * channels
    for tile in prange(tiles):
        top, left = 2 * TILE * (tile // columns), 2 * TILE * (tile % columns)
        to = start + top * row + left * channels
        for block in range(channels // LANES):
            at = tile * channels + block * LANES
            _upsampling_result(m, at, plane, scale, block, y, to + block * LANES, row, channels)


@compiled(parallel=True)
def smooth(x, x_row, channels, rows, columns, y, start):
    """y [rows, columns, C'] from `start` on: row r from rows r … r + 3 of x, the first of whose
    columns has nothing before it."""
    for r in prange(rows):
        for block in range(channels // LANES):
            offset = block * LANES
            to = start + r * columns * channels + offset
            _smooth_row(x, r * x_row + offset, x_row, channels, columns, y, to, channels)
