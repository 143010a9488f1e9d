"""Convolutions of 3 × 3 taps that halve or double the size, on CPU, by minimal filtering.

Halving. Along an axis, a result meets the outer two taps at every other pixel and the middle one at
those between:

    y[i] = (w[0] x[2i − 1] + w[2] x[2i + 1]) + w[1] x[2i]

Four results in a row cost five products for the outer taps, by Winograd's F(4, 2), and four for the
middle one, in place of twelve; a tile of 4 × 4 results costs 81 products in place of 144.

Doubling, by inserted zeros, is the same backwards:

    t[2i] = w[2] x[i − 1] + w[0] x[i]        t[2i + 1] = w[1] x[i]

Its result is smoothed by [1, 3, 3, 1] while it is in the cache, strip by strip.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from vidhair.kernels import gemm, start_threads
from vidhair.kernels import layout_cpu as layout
from vidhair.kernels.buffers import scratch
from vidhair.kernels.cached import prepared
from vidhair.kernels.layout_cpu import flat, vectors, widened

TILE = 4  # results per side
PLANES, WEIGHTS = 81, 36
# Products that share a weight: how many weights, and for how many planes each.
GROUPS = ((25, 1), (5, 4), (5, 4), (1, 16))
CARRIED = 3  # rows that smoothing looks back on
DTYPES = (torch.float32, torch.bfloat16)


def downsampling_refusal(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *, slope: float
) -> str | None:
    """Why this kernel cannot do the call, or None if it can."""
    if x.device.type != "cpu":
        return f"runs on cpu, not on {x.device.type}"
    if x.dtype not in DTYPES:
        return f"no kernel for {x.dtype}"
    if any(weight.shape[2:] != (3, 3) for weight in weights):
        return "made for 3 × 3 taps"
    if not 0 <= slope <= 1:
        return f"made for slopes from 0 to 1, not {slope:g}"
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, *weights, *biases)):
        return "no gradient"
    return None


def downsampling_results(x: Tensor, weights: Sequence[Tensor], *_) -> list[Tensor]:
    """[N, C_out, H', W'] for every weight, allocated as `halving` returns them."""
    n, _c, h, w = x.shape
    return [layout.empty((n, len(o), -(-h // 2), -(-w // 2)), like=x) for o in weights]


def halving(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], slope: float
) -> list[Tensor]:
    """As `vidhair.ops.downsampling_conv`, for calls that `downsampling_refusal` lets through."""
    results = downsampling_results(x, weights)
    x = layout.laid_out(x)
    n, _c, h, w = x.shape
    source, inputs = flat(layout.whole(x)), layout.padded_width(x.shape[1])
    shifts = [vectors(bias) for bias in biases]
    kernels = _kernels()
    height, width = results[0].shape[2:]
    rows, columns = -(-height // TILE), -(-width // TILE)
    widest = max(layout.padded_width(len(weight)) for weight in weights)
    strip = gemm.strip(rows, columns, PLANES * (inputs + widest) * x.element_size())
    for sample in range(n):
        start = sample * (len(source) // n)
        for first in range(0, rows, strip):
            tiles = min(strip, rows - first) * columns
            v = gemm.planes("windows", (PLANES, tiles, inputs), x.dtype)
            kernels.downsampling_input(
                source, start, (h, w, inputs), first, columns, tiles, flat(v)
            )
            for weight, shift, y in zip(weights, shifts, results, strict=True):
                outputs = layout.padded_width(len(weight))
                m = gemm.planes("products", (PLANES, tiles, outputs), x.dtype)
                transformed = _transformed(weight, "halving", x.dtype)
                _multiply(v[:, :, : x.shape[1]], transformed, m)
                result = flat(layout.whole(y))
                kernels.downsampling_output(
                    flat(m), shift, np.float32(slope), first, columns, tiles,
                    result, sample * (len(result) // n), (height, width, outputs),
                )  # fmt: skip
    return results


def upsampling_refusal(
    x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor
) -> str | None:
    """Why this kernel cannot do the call, or None if it can."""
    if x.device.type != "cpu":
        return f"runs on cpu, not on {x.device.type}"
    if x.dtype not in DTYPES:
        return f"no kernel for {x.dtype}"
    if weight.shape[2:] != (3, 3):
        return "made for 3 × 3 taps"
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, weight, style, demodulation)):
        return "no gradient"
    return None


def upsampling_result(x: Tensor, weight: Tensor, *_) -> Tensor:
    """[N, C_out, 2·H, 2·W], allocated as `doubling` returns it."""
    n, _c, h, w = x.shape
    return layout.empty((n, len(weight), 2 * h, 2 * w), like=x)


def doubling(x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor) -> Tensor:
    """As `vidhair.ops.upsampling_conv`, for the calls that `upsampling_refusal` lets through."""
    y = upsampling_result(x, weight)
    x = layout.laid_out(x)
    n, inputs, h, w = x.shape
    wide_in, wide_out = layout.padded_width(inputs), layout.padded_width(len(weight))
    source, result = flat(layout.whole(x)), flat(layout.whole(y))
    transformed = _transformed(weight, "doubling", x.dtype)
    kernels = _kernels()
    # One more than the pixels: the zeros between them reach beyond the last.
    rows, columns = -(-(h + 1) // TILE), -(-(w + 1) // TILE)
    strip = gemm.strip(rows, columns, PLANES * (wide_in + wide_out) * x.element_size())
    row = 2 * TILE * columns * wide_out
    spread = scratch("spread", (CARRIED + 2 * TILE * strip) * row)
    for sample in range(n):
        start, to = sample * (len(source) // n), sample * (len(result) // n)
        before, after = vectors(style[sample]), vectors(demodulation[sample])
        spread[: CARRIED * row] = 0
        done = 0  # rows of the result
        for first in range(0, rows, strip):
            some = min(strip, rows - first)
            tiles = some * columns
            v = gemm.planes("windows", (PLANES, tiles, wide_in), x.dtype)
            m = gemm.planes("products", (PLANES, tiles, wide_out), x.dtype)
            kernels.upsampling_input(
                source, start, (h, w, wide_in), before, first, columns, tiles, flat(v)
            )
            _multiply(v[:, :, :inputs], transformed, m)
            kernels.upsampling_output(
                flat(m), after, columns, tiles, wide_out, flat(spread), CARRIED * row
            )
            # Row r of the result meets rows r − 1 … r + 2, and CARRIED of them are from before.
            skipped = 2 if first == 0 else 0
            ready = min(2 * TILE * some - skipped, 2 * h - done)
            kernels.smooth(
                flat(spread[skipped * row :]), row, wide_out, ready, 2 * w,
                result, to + done * 2 * w * wide_out,
            )  # fmt: skip
            done += ready
            end = 2 * TILE * some * row
            spread[: CARRIED * row] = spread[end : end + CARRIED * row]
    return y


def _multiply(a: Tensor, weights: Tensor, c: Tensor) -> None:
    """The planes of c = those of a by the weight of each."""
    plane, weight, size = 0, 0, len(weights) // WEIGHTS
    for count, shared in GROUPS:
        some = slice(plane, plane + count * shared)
        own = weights[weight * size : (weight + count) * size]
        left, right = (t[some].unflatten(0, (count, shared)).flatten(1, 2) for t in (a, c))
        gemm.multiply(left, own, right)
        plane, weight = some.stop, weight + count


def _transformed(weight: Tensor, what: str, dtype: torch.dtype) -> Tensor:
    """G w Gᵀ in the order of the products, as these take it."""

    def transform(w: Tensor) -> Tensor:
        g = _filter_transform() if what == "halving" else _filter_transform().flip(1)
        square = torch.einsum("xi,yj,ocij->xyco", g, g, w.float())
        parts = square[:5, :5].flatten(0, 1), square[:5, 5], square[5, :5], square[5:, 5]
        plain = widened(torch.cat(parts), layout.padded_width(len(w)))
        return gemm.packed(plain, dtype)

    return prepared(weight, (what, dtype), transform)


@cache
def _filter_transform() -> Tensor:
    """G [6, 3]: the outer taps as a polynomial at every point, over what the others leave there;
    then the middle tap."""
    a, b = _kernels().A, _kernels().B
    over_a, over_b = 2 * a * (a * a - b * b), 2 * b * (b * b - a * a)
    points = ((a, over_a), (-a, -over_a), (b, over_b), (-b, -over_b))
    rows = [(1 / over, 0, point / over) for point, over in points]
    return torch.tensor([*rows, (0, 0, 1), (0, 1, 0)])


@cache
def _kernels():
    from vidhair.kernels.strided_conv import _numba

    start_threads()
    return _numba
