"""The compiled transforms of the Winograd convolution; see `cpu` for the notation.

Pictures are flat arrays of memory [N, H, W, C'] of `vidhair.kernels.layout_cpu`, and transformed
ones of [36, tiles, C']. Tiles count from the top left, row by row.
"""

import numpy as np
from numba import prange

from vidhair.kernels._tiles import copy, patch_of
from vidhair.kernels.simd import LANES, compiled, microkernel

TILE, WINDOW, PRODUCTS = 4, 6, 36


def _input_taps(v, d, a, b):
    """Bᵀ d, of six vectors."""
    aa, bb = v.multiply(a, a), v.multiply(b, b)
    product, sum_ = v.multiply(aa, bb), v.add(aa, bb)
    even_a = v.multiply_subtract(d[4], bb, d[2])
    even_b = v.multiply_subtract(d[4], aa, d[2])
    odd_a = v.multiply(a, v.multiply_subtract(d[3], bb, d[1]))
    odd_b = v.multiply(b, v.multiply_subtract(d[3], aa, d[1]))
    return [
        v.multiply_add(product, d[0], v.multiply_subtract(d[4], sum_, d[2])),
        v.add(even_a, odd_a),
        v.subtract(even_a, odd_a),
        v.add(even_b, odd_b),
        v.subtract(even_b, odd_b),
        v.multiply_add(product, d[1], v.multiply_subtract(d[5], sum_, d[3])),
    ]


def _output_taps(v, m, a, b):
    """Aᵀ m, of six vectors."""
    aa, bb = v.multiply(a, a), v.multiply(b, b)
    sum_a, sum_b = v.add(m[1], m[2]), v.add(m[3], m[4])
    difference_a, difference_b = v.subtract(m[1], m[2]), v.subtract(m[3], m[4])
    odd_a, odd_b = v.multiply(a, difference_a), v.multiply(b, difference_b)
    return [
        v.add(m[0], v.add(sum_a, sum_b)),
        v.add(odd_a, odd_b),
        v.dot([aa, bb], [sum_a, sum_b]),
        v.dot([aa, bb], [odd_a, odd_b], m[5]),
    ]


def _spread_taps(v, y, a, b):
    """A y, of four vectors."""
    aa, bb = v.multiply(a, a), v.multiply(b, b)
    even_a, even_b = v.multiply_add(aa, y[2], y[0]), v.multiply_add(bb, y[2], y[0])
    odd_a = v.multiply(a, v.multiply_add(aa, y[3], y[1]))
    odd_b = v.multiply(b, v.multiply_add(bb, y[3], y[1]))
    return [
        y[0],
        v.add(even_a, odd_a),
        v.subtract(even_a, odd_a),
        v.add(even_b, odd_b),
        v.subtract(even_b, odd_b),
        y[3],
    ]


def _along_both(v, taps, d, a, b):
    """taps of the columns, then of the rows, of a square of vectors."""
    columns = [taps(v, list(column), a, b) for column in zip(*d, strict=True)]
    return [taps(v, list(row), a, b) for row in zip(*columns, strict=True)]


@microkernel
def _transform_window(v, x, at, row, column, scale, block, a, b, out, to, plane):
    """out[to + k·plane] = (Bᵀ d B)_k, d a window of x whose rows and columns are that far apart."""
    s = v.load(scale, block)
    d = [
        [
            v.multiply(s, v.load(x, v.sum(at, v.sum(v.times(i, row), v.times(j, column)))))
            for j in range(WINDOW)
        ]
        for i in range(WINDOW)
    ]
    for i, values in enumerate(_along_both(v, _input_taps, d, a, b)):
        for j, value in enumerate(values):
            v.store(value, out, v.sum(to, v.times(WINDOW * i + j, plane)))


@microkernel
def _spread_tile(v, x, at, row, column, scale, block, a, b, out, to, plane):
    """out[to + k·plane] = (A d Aᵀ)_k, d a tile of x."""
    s = v.load(scale, block)
    d = [
        [
            v.multiply(s, v.load(x, v.sum(at, v.sum(v.times(i, row), v.times(j, column)))))
            for j in range(TILE)
        ]
        for i in range(TILE)
    ]
    for i, values in enumerate(_along_both(v, _spread_taps, d, a, b)):
        for j, value in enumerate(values):
            v.store(value, out, v.sum(to, v.times(WINDOW * i + j, plane)))


@microkernel
def _collect_tile(v, m, at, plane, scale, block, a, b, y, to, row, column):
    """A tile of y: Aᵀ m A."""
    s = v.load(scale, block)
    square = [
        [v.load(m, v.sum(at, v.times(WINDOW * i + j, plane))) for j in range(WINDOW)]
        for i in range(WINDOW)
    ]
    for i, values in enumerate(_along_both(v, _output_taps, square, a, b)):
        for j, value in enumerate(values):
            place = v.sum(to, v.sum(v.times(i, row), v.times(j, column)))
            v.store(v.multiply(s, value), y, place)


def _weight_taps(v, w, g):
    """G w, of three vectors; g [6, 3]."""
    return [v.dot(row, w) for row in g]


@microkernel
def _transform_taps(v, w, at, tap, g, out, to, plane):
    """out[to + k·plane] = (G w Gᵀ)_k, the nine taps of w being `tap` apart."""
    square = [[v.load(w, v.sum(at, v.times(3 * i + j, tap))) for j in range(3)] for i in range(3)]
    columns = [_weight_taps(v, column, g) for column in zip(*square, strict=True)]
    for i, row in enumerate(zip(*columns, strict=True)):
        for j, value in enumerate(_weight_taps(v, row, g)):
            v.store(value, out, v.sum(to, v.times(WINDOW * i + j, plane)))


@compiled
def _window_at_border(x, start, shape, top, left, scale, a, b, out, to, plane):
    patch = np.empty((PRODUCTS, LANES), np.float32)
    for block in range(shape[2] // LANES):
        offset = block * LANES
        patch_of(x, start, shape, top, left, WINDOW, offset, patch)
        _transform_window(patch, 0, WINDOW, 1, scale, block, a, b, out, to + offset, plane)


@compiled
def _tile_at_border(y, start, shape, top, left, scale, a, b, out, to, plane):
    patch = np.empty((TILE * TILE, LANES), np.float32)
    for block in range(shape[2] // LANES):
        offset = block * LANES
        patch_of(y, start, shape, top, left, TILE, offset, patch)
        _spread_tile(patch, 0, TILE, 1, scale, block, a, b, out, to + offset, plane)


@compiled
def _result_at_border(m, at, plane, scale, a, b, y, start, shape, top, left):
    height, width, channels = shape
    patch = np.empty((TILE * TILE, LANES), np.float32)
    for block in range(channels // LANES):
        offset = block * LANES
        _collect_tile(m, at + offset, plane, scale, block, a, b, patch, 0, TILE, 1)
        for i in range(min(TILE, height - top)):
            for j in range(min(TILE, width - left)):
                place = start + ((top + i) * width + left + j) * channels + offset
                copy(patch, TILE * i + j, y, place)


@compiled(parallel=True)
def transform_input(x, start, shape, scale, pad, first, columns, tiles, a, b, out):
    """Windows of `tiles` tiles from row `first` on: x [H, W, C'] times scale → [36, …, C']."""
    height, width, channels = shape
    plane, row = len(out) // PRODUCTS, width * channels
    for tile in prange(tiles):
        top = TILE * (first + tile // columns) - pad
        left = TILE * (tile % columns) - pad
        to = tile * channels
        if top < 0 or left < 0 or top + WINDOW > height or left + WINDOW > width:
            _window_at_border(x, start, shape, top, left, scale, a, b, out, to, plane)
            continue
        at = start + (top * width + left) * channels
        for block in range(channels // LANES):
            offset = block * LANES
            _transform_window(
                x, at + offset, row, channels, scale, block, a, b, out, to + offset, plane
            )


@compiled(parallel=True)
def spread_output(y, start, shape, scale, first, columns, tiles, a, b, out):
    """As many tiles from row `first` on of a gradient y [H, W, C'] times scale → [36, …, C']."""
    height, width, channels = shape
    plane, row = len(out) // PRODUCTS, width * channels
    for tile in prange(tiles):
        top, left = TILE * (first + tile // columns), TILE * (tile % columns)
        to = tile * channels
        if top + TILE > height or left + TILE > width:
            _tile_at_border(y, start, shape, top, left, scale, a, b, out, to, plane)
            continue
        at = start + (top * width + left) * channels
        for block in range(channels // LANES):
            offset = block * LANES
            _spread_tile(y, at + offset, row, channels, scale, block, a, b, out, to + offset, plane)


@compiled(parallel=True)
def transform_output(m, scale, first, columns, tiles, a, b, y, start, shape):
    """m [36, …, C'] → as many tiles from row `first` on of y [H, W, C'], times scale."""
    height, width, channels = shape
    plane, row = len(m) // PRODUCTS, width * channels
    for tile in prange(tiles):
        top, left = TILE * (first + tile // columns), TILE * (tile % columns)
        at = tile * channels
        if top + TILE > height or left + TILE > width:
            _result_at_border(m, at, plane, scale, a, b, y, start, shape, top, left)
            continue
        to = start + (top * width + left) * channels
        for block in range(channels // LANES):
            offset = block * LANES
            _collect_tile(m, at + offset, plane, scale, block, a, b, y, to + offset, row, channels)


@compiled
def _rows(g):
    return (
        (g[0, 0], g[0, 1], g[0, 2]), (g[1, 0], g[1, 1], g[1, 2]), (g[2, 0], g[2, 1], g[2, 2]),
        (g[3, 0], g[3, 1], g[3, 2]), (g[4, 0], g[4, 1], g[4, 2]), (g[5, 0], g[5, 1], g[5, 2]),
    )  # fmt: skip


@compiled(parallel=True)
def transform_weight(w, shape, g, width, out):
    """w [9, C_in, C_out'] → G w Gᵀ in panels [36, C_out' / width, C_in, width], all flat.

    The last panel is as narrow as the columns that are left.
    """
    inputs, outputs = shape
    plane = inputs * outputs
    for i in prange(inputs):
        for first in range(0, outputs, width):
            wide = min(width, outputs - first)
            to = first * inputs + i * wide
            for j in range(0, wide, LANES):
                _transform_taps(w, i * outputs + first + j, plane, _rows(g), out, to + j, plane)


@microkernel
def _add_products(v, x, at, y, from_, step, count, sums, block):
    """sums[block] += Σ_k x[at + k·step]·y[from + k·step], k < count"""

    def follow(k, total):
        distance = v.product(k, step)
        factors = v.load(x, v.sum(at, distance)), v.load(y, v.sum(from_, distance))
        return [v.multiply_add(*factors, total[0])]

    (total,) = v.repeat(count, [v.number(0)], follow)
    v.store(v.add(v.load(sums, block), total), sums, block)


@compiled(parallel=True)
def products_of_channels(x, y, shape, sums):
    """Σ x·y over the pixels of [N, H, W, C']: sums [N · C' / LANES, LANES], given as zeros."""
    n, height, width, channels = shape
    blocks = channels // LANES
    for task in prange(n * blocks):
        at = task // blocks * height * width * channels + task % blocks * LANES
        # Row by row, as a sum of many numbers loses what is small beside it.
        for row in range(height):
            place = at + row * width * channels
            _add_products(x, place, y, place, channels, width, sums, task)
