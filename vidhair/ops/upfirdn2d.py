"""Upsample, filter, downsample: the resampling op of the alias-free generators.

The defining form inserts zeros, pads, convolves and drops samples. Here the same numbers come from
polyphase convolutions: no inserted zero is ever multiplied, separable filters stay separable, and
every pass is a depthwise convolution in channels-last memory, which is fast on CPU as well.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.kernels.upfirdn2d import gpu
from vidhair.ops.dispatch import Implementation, Op
from vidhair.ops.library import Kernels, define, differentiate

Factor = int | Sequence[int]  # of both axes, or x and y; padding may have four


def _pair(value: Factor) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    x, y = value
    return x, y


def _four(padding: Factor) -> tuple[int, int, int, int]:
    """(x before, x after, y before, y after); two numbers are (x, y)."""
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if len(padding) == 2:
        x, y = padding
        return x, x, y, y
    x0, x1, y0, y1 = padding
    return x0, x1, y0, y1


def _phase_taps(taps: int, up: int, down: int, pad: int) -> tuple[int, list[list[int]]]:
    """How one axis splits into phases.

    Output m = P·q + p reads input i = s·q + e with filter tap k = e·up − p·down + pad, where
    P = up / gcd and s = down / gcd. Returns the smallest e, and for every phase the tap of each
    consecutive e (−1: none).
    """
    gcd = math.gcd(up, down)
    phases = up // gcd
    first = min(math.ceil((p * down - pad) / up) for p in range(phases))
    last = max(first, *((p * down - pad + taps - 1) // up for p in range(phases)))
    table = []
    for p in range(phases):
        row = [e * up - p * down + pad for e in range(first, last + 1)]
        table.append([k if 0 <= k < taps else -1 for k in row])
    return first, table


def _resample(
    x: Tensor,
    f: Tensor,
    up_yx: Sequence[int],
    down_yx: Sequence[int],
    pad_yx: Sequence[tuple[int, int]],
) -> Tensor:
    """Correlate x [N, C, H, W] with f [fh, fw] (already flipped), polyphase in both axes."""
    channels = x.shape[1]
    firsts, tables, strides, sizes = [], [], [], []
    for axis in (0, 1):
        up, down, (before, after) = up_yx[axis], down_yx[axis], pad_yx[axis]
        taps = f.shape[axis]
        length = x.shape[2 + axis] * up + before + after - taps
        assert length >= 0, f"filter of {taps} taps does not fit the padded axis of {x.shape}"
        first, table = _phase_taps(taps, up, down, before)
        firsts.append(first)
        tables.append(table)
        strides.append(down // math.gcd(up, down))
        sizes.append(length // down + 1)

    # Every phase computes the same number of samples; the last ones are cropped at the end.
    counts = [math.ceil(size / len(table)) for size, table in zip(sizes, tables, strict=True)]
    margins = []
    for axis in (1, 0):
        reach = (counts[axis] - 1) * strides[axis] + len(tables[axis][0]) + firsts[axis]
        margins += [-firsts[axis], reach - x.shape[2 + axis]]
    if min(x.shape[3] + min(margins[:2]), x.shape[2] + min(margins[2:])) < 0:
        # One side crops more than there is, and the other one pads: padding comes first.
        x, margins = F.pad(x, [max(m, 0) for m in margins]), [min(m, 0) for m in margins]
    x = F.pad(x, margins) if any(margins) else x

    zero_padded = F.pad(f, (0, 1, 0, 1))  # tap −1 reads the zero
    rows = []
    for row_taps in tables[0]:
        columns = []
        for column_taps in tables[1]:
            weight = zero_padded[row_taps][:, column_taps].to(x.dtype)
            weight = weight.expand(channels, 1, *weight.shape)
            columns.append(F.conv2d(x, weight, stride=strides, groups=channels))
        rows.append(_interleave(columns, axis=2))
    return _interleave(rows, axis=1)[:, :, : sizes[0], : sizes[1]]


def _interleave(phases: list[Tensor], axis: int) -> Tensor:
    """Weave [N, C, H, W] phases along rows (axis 1) or columns (axis 2) of channels-last memory."""
    if len(phases) == 1:
        return phases[0]
    stacked = torch.stack([p.permute(0, 2, 3, 1) for p in phases], dim=axis + 1)
    return stacked.flatten(axis, axis + 1).permute(0, 3, 1, 2)


def reference(
    x: Tensor,
    f: Tensor | None,
    *,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """The definition; see `upfirdn2d`."""
    up_x, up_y = _pair(up)
    down_x, down_y = _pair(down)
    x0, x1, y0, y1 = _four(padding)
    if f is None:
        f = torch.ones(1, 1, device=x.device)
    f = f.float() * gain ** (f.ndim / 2)
    if not flip_filter:
        f = f.flip(list(range(f.ndim)))

    x = x.contiguous(memory_format=torch.channels_last)
    if f.ndim == 2:
        return _resample(x, f, (up_y, up_x), (down_y, down_x), ((y0, y1), (x0, x1)))
    x = _resample(x, f[None, :], (1, up_x), (1, down_x), ((0, 0), (x0, x1)))
    return _resample(x, f[:, None], (up_y, 1), (down_y, 1), ((y0, y1), (0, 0)))


KERNELS: Kernels = {"cuda": gpu}

_forward = define(
    "upfirdn2d(Tensor x, Tensor f, int[] up, int[] down, int[] padding, bool flip_filter, "
    "float gain) -> Tensor",
    KERNELS,
    lambda kernels, *args: kernels.forward(*args),
    lambda kernels, *args: kernels.empty_result(*args),
)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, f, *ctx.options = inputs
    ctx.save_for_backward(f)
    ctx.size = x.shape[2:], output.shape[2:]


def _gradients(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    """The transposed operator is one of the same kind, with the factors exchanged."""
    (f,) = ctx.saved_tensors
    up, down, padding, flip_filter, gain = ctx.options
    (height, width), (out_height, out_width) = ctx.size
    x0, _, y0, _ = padding
    back = []
    for size, out, taps, axis, before in (
        (width, out_width, f.shape[-1], 0, x0),
        (height, out_height, f.shape[0], 1, y0),
    ):
        first = taps - 1 - before
        back += [first, size * up[axis] - out * down[axis] + before - up[axis] + 1]
    dx = _forward(dy, f, down, up, back, not flip_filter, gain)
    return dx, *(None,) * 6


differentiate(_forward, _gradients, _remember)


def compiled(
    x: Tensor,
    f: Tensor | None,
    *,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """By the kernel for the device of x; see `upfirdn2d`. No gradient for the filter."""
    f = torch.ones(1, 1, device=x.device) if f is None else f
    result: Tensor = _forward(x, f, _pair(up), _pair(down), _four(padding), flip_filter, gain)
    return result


_OP = Op("upfirdn2d", reference, [Implementation("triton", compiled, gpu.refusal)])


def op() -> Op:
    """The op with every implementation that this installation has."""
    return _OP


def upfirdn2d(x: Tensor, f: Tensor | None, *, impl: str = "auto", **arguments: Any) -> Tensor:
    """Insert zeros, pad or crop, filter, drop samples.

    x: [N, C, H, W]. f: [fh, fw], or [taps] for a separable filter, or None for the identity.
    up, down: whole factors, one number or (x, y), default 1. padding: of the upsampled signal, one
    number, (x, y) or (x before, x after, y before, y after); negative numbers crop.
    flip_filter: False, the default, convolves, True correlates. gain: multiplies the result.
    impl: "auto", "reference" or the name of a kernel.
    Returns [N, C, (H·up + padding − fh) // down + 1, …] in channels-last memory.
    """
    assert x.ndim == 4, f"upfirdn2d takes [N, C, H, W], not {tuple(x.shape)}"
    found: Tensor = _OP.choose(x, f, impl=impl, **arguments)(x, f, **arguments)
    return found


def setup_filter(
    f: Sequence[Any] | Tensor | None,
    *,
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1.0,
    separable: bool | None = None,
) -> Tensor:
    """A FIR filter as `upfirdn2d` takes it, from taps [n] or [fh, fw].

    separable: keep a 1-D filter one-dimensional; default: from 8 taps on.
    """
    taps = torch.as_tensor([1.0] if f is None else f, dtype=torch.float32)
    taps = taps[None] if taps.ndim == 0 else taps
    if separable is None:
        separable = taps.ndim == 1 and taps.numel() >= 8
    if taps.ndim == 1 and not separable:
        taps = torch.outer(taps, taps)
    if normalize:
        taps = taps / taps.sum()
    if flip_filter:
        taps = taps.flip(list(range(taps.ndim)))
    result: Tensor = taps * gain ** (taps.ndim / 2)
    return result


def _aligned(taps: int, up: int, down: int) -> tuple[int, int]:
    """Padding of one axis (before, after) that leaves the picture where it is.

    A sample stands for a cell of the picture. Counted in samples of the upsampled signal, input i
    has its cell's centre at (i + ½)·up, of which the op knows i·up; output m reads a window whose
    middle, m·down + (taps − 1)/2 − before, must be the centre (m + ½)·down of its own cell. Hence
    before = (taps − 1 + up − down)/2, half a sample more where that is no whole number. Filling
    n·up/down cells takes taps − down more samples than the n·up that there are.
    """
    before = (taps + up - down) // 2
    return before, taps - down - before


def _in_place(
    x: Tensor,
    f: Tensor | None,
    *,
    up: Factor = 1,
    down: Factor = 1,
    padding: Factor = 0,
    flip_filter: bool,
    gain: float,
) -> Tensor:
    """`upfirdn2d` to up/down times the size; `padding` comes on top of what that takes."""
    sides = (1, 1) if f is None else (f.shape[-1], f.shape[0])
    needed = map(_aligned, sides, _pair(up), _pair(down))
    padding = [a + b for a, b in zip(_four(padding), chain(*needed), strict=True)]
    return upfirdn2d(x, f, up=up, down=down, padding=padding, flip_filter=flip_filter, gain=gain)


def filter2d(
    x: Tensor,
    f: Tensor | None,
    *,
    padding: Factor = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Filter without changing the size; `padding` comes on top."""
    return _in_place(x, f, padding=padding, flip_filter=flip_filter, gain=gain)


def upsample2d(
    x: Tensor,
    f: Tensor | None,
    *,
    up: Factor = 2,
    padding: Factor = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Upsample by whole factors; the gain makes up for the inserted zeros."""
    gain = gain * math.prod(_pair(up))
    return _in_place(x, f, up=up, padding=padding, flip_filter=flip_filter, gain=gain)


def downsample2d(
    x: Tensor,
    f: Tensor | None,
    *,
    down: Factor = 2,
    padding: Factor = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Downsample by whole factors."""
    return _in_place(x, f, down=down, padding=padding, flip_filter=flip_filter, gain=gain)
