"""Pictures on coarser and finer grids, row by row."""

import numpy as np
from numba import prange

from vidhair.kernels.simd import compiled

STRIP = 16  # rows that a thread makes at a time
BEYOND = 3  # samples beyond a border that cubics may look at
SHARPNESS = np.float32(-0.75)  # slope of the cubic at its first zero


@compiled(parallel=True)
def shrink(picture, step, means):
    """means, uint8 [h, w, 3], of squares of step × step pixels of a picture, uint8 [H, W, 3], which
    goes on as at its lower and right border. Halves are rounded to even numbers."""
    height, width, _ = picture.shape
    share = np.float32(step * step)
    for y in prange(len(means)):
        sums = np.zeros((means.shape[1] * step, 3), np.uint16)
        for row in range(y * step, (y + 1) * step):
            seen = picture[min(row, height - 1)].reshape(-1)
            flat = sums[:width].reshape(-1)
            for i in range(min(len(seen), len(flat))):
                flat[i] += seen[i]
        for x in range(width, len(sums)):
            sums[x] = sums[width - 1]
        for x in range(means.shape[1]):
            for c in range(3):
                total = np.uint32(0)
                for k in range(step):
                    total += sums[x * step + k, c]
                means[y, x, c] = np.uint8(np.rint(np.float32(total) / share))


@compiled
def _taps(i, start, step, shares):
    """The first of four samples around a place, and their shares (Keys 1981)."""
    at = (np.float32(i) + np.float32(0.5) - start) / step - np.float32(0.5)
    first = np.floor(at)
    t = np.float32(at - first)
    a, one = SHARPNESS, np.float32(1)
    for k in range(4):
        x = abs(t + one - np.float32(k))
        if x <= one:
            shares[k] = ((a + np.float32(2)) * x - (a + np.float32(3))) * x * x + one
        else:
            shares[k] = ((a * x - np.float32(5) * a) * x + np.float32(8) * a) * x - np.float32(
                4
            ) * a
    return int(first) - 1


@compiled
def _mix(a, b, c, d, shares, mixed):
    p, q, r, s = shares[0], shares[1], shares[2], shares[3]
    for j in range(len(mixed)):
        mixed[j] = p * a[j] + q * b[j] + r * c[j] + s * d[j]


@compiled(parallel=True)
def spread(values, top, left, step, result):
    """result [N, H, W]: between the samples of values [N, h, w], by cubics, beyond the border its
    samples. top, left: the samples' corner in pixels of the result; step: pixels per sample."""
    number, high, wide = values.shape
    _, height, width = result.shape
    firsts, along = np.empty(width, np.int64), np.empty((width, 4), np.float32)
    for x in range(width):
        firsts[x] = min(max(_taps(x, left, step, along[x]), -BEYOND), wide - 1)
    strips = (height + STRIP - 1) // STRIP
    for task in prange(number * strips):
        plane, strip = task // strips, task % strips
        mixed, shares = np.empty(wide + 2 * BEYOND, np.float32), np.empty(4, np.float32)
        inner = mixed[BEYOND : wide + BEYOND]
        source = values[plane]
        for y in range(strip * STRIP, min((strip + 1) * STRIP, height)):
            first = _taps(y, top, step, shares)
            last = high - 1
            _mix(
                source[min(max(first, 0), last)], source[min(max(first + 1, 0), last)],
                source[min(max(first + 2, 0), last)], source[min(max(first + 3, 0), last)],
                shares, inner
            )  # fmt: skip
            mixed[:BEYOND] = inner[0]
            mixed[wide + BEYOND :] = inner[-1]
            for x in range(width):
                j = firsts[x] + BEYOND
                result[plane, y, x] = (
                    along[x, 0] * mixed[j] + along[x, 1] * mixed[j + 1]
                    + along[x, 2] * mixed[j + 2] + along[x, 3] * mixed[j + 3]
                )  # fmt: skip


@compiled
def _between(i, count, size):
    """(sample, share of the next one) at one of `size` pixels that `count` samples cover."""
    at = min(max((i + 0.5) * (count / size) - 0.5, 0.0), count - 1.0)
    return int(at), np.float32(at - np.floor(at))


@compiled
def _mix_both(a, b, share, mixed):
    for j in range(len(a)):
        mixed[j] = a[j] + share * (b[j] - a[j])


@compiled(parallel=True)
def enlarge(values, result):
    """result [N, H, W]: values [N, h, w] between the centres of samples that cover as much."""
    number, high, wide = values.shape
    _, height, width = result.shape
    firsts, shares = np.empty(width, np.int64), np.empty(width, np.float32)
    for x in range(width):
        firsts[x], shares[x] = _between(x, wide, width)
    strips = (height + STRIP - 1) // STRIP
    for task in prange(number * strips):
        plane, strip = task // strips, task % strips
        mixed = np.empty(wide + 1, np.float32)
        for y in range(strip * STRIP, min((strip + 1) * STRIP, height)):
            first, share = _between(y, high, height)
            _mix_both(values[plane, first], values[plane, min(first + 1, high - 1)], share, mixed)
            mixed[wide] = mixed[wide - 1]
            for x in range(width):
                low = mixed[firsts[x]]
                result[plane, y, x] = low + shares[x] * (mixed[firsts[x] + 1] - low)


@compiled(parallel=True)
def put_levels(result, alpha, pixels, hides):
    """pixels, uint8 [h, w, 3], become those of a result [3, h, w] in 0 … 1 where alpha [h, w] is
    not zero; hides: uint8 [h, w], alpha × 255, rounded up."""
    for y in prange(len(alpha)):
        for x in range(alpha.shape[1]):
            hides[y, x] = np.uint8(np.ceil(alpha[y, x] * np.float32(255)))
            if alpha[y, x] > 0:
                for c in range(3):
                    level = np.rint(result[c, y, x] * np.float32(255))
                    pixels[y, x, c] = np.uint8(min(max(level, np.float32(0)), np.float32(255)))
