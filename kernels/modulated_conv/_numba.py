"""The compiled transforms of the Winograd convolution; see `cpu` for the notation."""

import numpy as np
from numba import njit, prange

_fast = njit(fastmath={"nsz", "arcp", "contract", "afn", "reassoc"}, inline="never", cache=True)


@_fast
def _scaled(row, n, scale, out):
    for i in range(n):
        out[i] = row[i] * scale


@_fast
def _input_taps(d0, d1, d2, d3, d4, d5, n, a, b, v0, v1, v2, v3, v4, v5):
    """Bᵀ d, along six rows of n samples."""
    aa, bb = a * a, b * b
    for i in range(n):
        even_a = d4[i] - bb * d2[i]
        odd_a = a * (d3[i] - bb * d1[i])
        even_b = d4[i] - aa * d2[i]
        odd_b = b * (d3[i] - aa * d1[i])
        v0[i] = aa * bb * d0[i] - (aa + bb) * d2[i] + d4[i]
        v1[i] = even_a + odd_a
        v2[i] = even_a - odd_a
        v3[i] = even_b + odd_b
        v4[i] = even_b - odd_b
        v5[i] = aa * bb * d1[i] - (aa + bb) * d3[i] + d5[i]


@_fast
def _output_taps(m0, m1, m2, m3, m4, m5, n, a, b, y0, y1, y2, y3):
    """Aᵀ m, along six rows of n samples."""
    aa, bb = a * a, b * b
    for i in range(n):
        even_a = m1[i] + m2[i]
        odd_a = a * (m1[i] - m2[i])
        even_b = m3[i] + m4[i]
        odd_b = b * (m3[i] - m4[i])
        y0[i] = m0[i] + even_a + even_b
        y1[i] = odd_a + odd_b
        y2[i] = aa * even_a + bb * even_b
        y3[i] = aa * odd_a + bb * odd_b + m5[i]


@_fast
def _unweave(row, n, p):
    """p[q, i] = row[4i + q]"""
    p0, p1, p2, p3 = p[0], p[1], p[2], p[3]
    for i in range(n):
        p0[i] = row[4 * i]
        p1[i] = row[4 * i + 1]
        p2[i] = row[4 * i + 2]
        p3[i] = row[4 * i + 3]


@_fast
def _weave(y0, y1, y2, y3, n, scale, row):
    for i in range(n):
        row[4 * i] = y0[i] * scale
        row[4 * i + 1] = y1[i] * scale
        row[4 * i + 2] = y2[i] * scale
        row[4 * i + 3] = y3[i] * scale


@njit(parallel=True, cache=True)
def transform_input(x, scale, pad, first, columns, a, b, v):
    """Rows of tiles from `first` on: x [C, H, W] times scale [C] → v [36, C, rows · columns]."""
    channels, height, width = x.shape
    rows = v.shape[2] // columns
    length = 4 * (columns + 1)
    for c in prange(channels):
        d = np.zeros((6, length), np.float32)
        t = np.empty((6, length), np.float32)
        p = np.empty((4, columns + 1), np.float32)
        for r in range(rows):
            top = 4 * (first + r) - pad
            for k in range(6):
                if 0 <= top + k < height:
                    _scaled(x[c, top + k], width, scale[c], d[k, pad:])
                else:
                    d[k] = 0
            _input_taps(
                d[0], d[1], d[2], d[3], d[4], d[5], length, a, b,
                t[0], t[1], t[2], t[3], t[4], t[5],
            )  # fmt: skip
            at = r * columns
            for k in range(6):
                _unweave(t[k], columns + 1, p)
                o = v[6 * k : 6 * k + 6, c]
                _input_taps(
                    p[0], p[1], p[2], p[3], p[0, 1:], p[1, 1:], columns, a, b,
                    o[0, at:], o[1, at:], o[2, at:], o[3, at:], o[4, at:], o[5, at:],
                )  # fmt: skip


@njit(parallel=True, cache=True)
def transform_output(m, scale, first, columns, a, b, y):
    """m [36, C, rows · columns] → rows of tiles from `first` on of y [C, H, W], times scale [C]."""
    channels, height, width = y.shape
    rows = m.shape[2] // columns
    for c in prange(channels):
        z = np.empty((4, 6, columns), np.float32)
        w = np.empty((4, columns), np.float32)
        row = np.empty(4 * columns, np.float32)
        for r in range(rows):
            at = r * columns
            for k in range(6):
                _output_taps(
                    m[k, c, at:], m[6 + k, c, at:], m[12 + k, c, at:],
                    m[18 + k, c, at:], m[24 + k, c, at:], m[30 + k, c, at:], columns, a, b,
                    z[0, k], z[1, k], z[2, k], z[3, k],
                )  # fmt: skip
            for k in range(4):
                j = 4 * (first + r) + k
                if j >= height:
                    break
                _output_taps(
                    z[k, 0], z[k, 1], z[k, 2], z[k, 3], z[k, 4], z[k, 5], columns, a, b,
                    w[0], w[1], w[2], w[3],
                )  # fmt: skip
                _weave(w[0], w[1], w[2], w[3], columns, scale[c], row)
                y[c, j] = row[:width]
