"""Box filters by running sums: a pixel costs one addition and one subtraction at any width.

Lines are filtered side by side, LINES at a time, in memory that stays in the cache: columns as they
lie, rows turned by a quarter. Sums are float64, so that what was added is taken away again.
"""

import numpy as np
from numba import prange

from vidhair.kernels.simd import compiled

LINES = 16


@compiled
def mean_along(x, y, count, radius, sums):
    """y[i] = mean of x[i − radius … i + radius] for `count` places of [n, LINES]; ends go on.

    sums: float64 [LINES], scratch. Reads of x: two per place, and as many as the ends hold.
    """
    for k in range(LINES):
        sums[k] = x[0, k] * np.float64(radius + 1) + x[count - 1, k] * np.float64(
            max(0, radius - count + 1)
        )
    for i in range(1, min(radius, count - 1) + 1):
        for k in range(LINES):
            sums[k] += x[i, k]
    share = 1.0 / (2 * radius + 1)
    for i in range(count):
        new, old = min(i + radius + 1, count - 1), max(i - radius, 0)
        for k in range(LINES):
            y[i, k] = np.float32(sums[k] * share)
            sums[k] += np.float64(x[new, k]) - np.float64(x[old, k])


@compiled
def _repeat(x, y, count, radius, times, sums):
    """`mean_along` so many times; returns the one of x and y that holds the result."""
    for _ in range(times):
        mean_along(x, y, count, radius, sums)
        x, y = y, x
    return x


@compiled(parallel=True)
def smooth(planes, radius, times):
    """[N, H, W] float32 becomes its mean over squares of 2·radius + 1 pixels, `times` times."""
    number, height, width = planes.shape
    blocks = (height + LINES - 1) // LINES
    for task in prange(number * blocks):
        plane, first = planes[task // blocks], task % blocks * LINES
        lines = min(LINES, height - first)
        a = np.zeros((width, LINES), np.float32)
        b = np.empty((width, LINES), np.float32)
        for k in range(lines):
            for i in range(width):
                a[i, k] = plane[first + k, i]
        a = _repeat(a, b, width, radius, times, np.empty(LINES))
        for k in range(lines):
            for i in range(width):
                plane[first + k, i] = a[i, k]
    stacks = (width + LINES - 1) // LINES
    for task in prange(number * stacks):
        plane, first = planes[task // stacks], task % stacks * LINES
        lines = min(LINES, width - first)
        a = np.zeros((height, LINES), np.float32)
        b = np.empty((height, LINES), np.float32)
        for i in range(height):
            for k in range(lines):
                a[i, k] = plane[i, first + k]
        a = _repeat(a, b, height, radius, times, np.empty(LINES))
        for i in range(height):
            for k in range(lines):
                plane[i, first + k] = a[i, k]
