"""How much work a call is: multiply-accumulates and bytes.

Filters count as the fused ops do them, polyphase and separable. With n taps per axis, factor U up
and D down, an upsampled sample meets n/U taps, as inserted zeros are never multiplied (exact where
U divides n, as in every published generator, else the mean over the phases). Samples beyond the
border count like others. Per plane of filtered_lrelu, x [H, W] → y [H', W'], of whose upsampled
signal R = (H' − 1)·D + n_down rows and Q = (W' − 1)·D + n_down columns are looked at:

    up, vertical      R · W · n_up/U        up, horizontal    R · Q · n_up/U
    down, horizontal  R · W' · n_down       down, vertical    H' · W' · n_down
    down, radial      H' · W' · n_down²     in place of the two

Bias, activation, gain and clamp are not counted. Convolutions count a multiply-accumulate per
output, input channel and tap; transposed ones per input, output channel and tap. So an algorithm
that needs fewer of them, such as Winograd's, may exceed the rate of the machine. Bytes are what
has to move at least: arguments read once, results written once.

Shapes: N batch, C channels, H, W pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from vidhair.ops.upfirdn2d import _four, _pair

Shape = Sequence[int]  # N, C, H, W


@dataclass(frozen=True)
class Work:
    """convolution, filter: multiply-accumulates. Filters are computed in float32 whatever the
    dtype of the call. bytes: that have to move; 0 where the parts of a whole may fuse."""

    convolution: float = 0
    filter: float = 0
    bytes: float = 0

    @property
    def flop(self) -> float:
        """An addition and a multiplication per multiply-accumulate."""
        return 2 * (self.convolution + self.filter)

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.convolution + other.convolution,
            self.filter + other.filter,
            self.bytes + other.bytes,
        )


NOTHING = Work()


def with_backward(forward: Work) -> Work:
    """Forward and backward: a convolution has a gradient of its input and one of its weight, each
    as large as itself, and a filter is filtered back. What is computed again is not counted."""
    return Work(3 * forward.convolution, 2 * forward.filter)


def size_of(*tensors: Tensor | None) -> int:
    """Bytes."""
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


def _taps(f: Tensor | None) -> tuple[int, int]:
    """(vertical, horizontal) taps of a filter."""
    return (1, 1) if f is None else (f.shape[0], f.shape[-1])


def filtered_lrelu(
    x: Tensor,
    *,
    fu: Tensor | None = None,
    fd: Tensor | None = None,
    b: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    **_: Any,
) -> Work:
    """Of a call with these arguments."""
    n, c, h, w = x.shape
    x0, x1, y0, y1 = _four(padding)
    (up_h, up_w), (down_h, down_w) = _taps(fu), _taps(fd)
    out_h = (h * up + y0 + y1 - up_h + 1 - down_h) // down + 1
    out_w = (w * up + x0 + x1 - up_w + 1 - down_w) // down + 1
    rows, columns = (out_h - 1) * down + down_h, (out_w - 1) * down + down_w
    macs = 0.0
    if fu is not None and fu.ndim == 1:
        macs += (rows * w + rows * columns) * up_w / up
    elif fu is not None:
        macs += rows * columns * up_h * up_w / up**2
    if fd is not None and fd.ndim == 1:
        macs += (rows + out_h) * out_w * down_w
    elif fd is not None:
        macs += out_h * out_w * down_h * down_w
    written = n * c * out_h * out_w * x.element_size()
    return Work(filter=n * c * macs, bytes=size_of(x, fu, fd, b) + written)


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    *,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    **_: Any,
) -> Work:
    """Of a call with these arguments; separable filters run along the rows first."""
    n, c, h, w = x.shape
    (up_x, up_y), (down_x, down_y) = _pair(up), _pair(down)
    x0, x1, y0, y1 = _four(padding)
    taps_y, taps_x = _taps(f)
    out_h = (h * up_y + y0 + y1 - taps_y) // down_y + 1
    out_w = (w * up_x + x0 + x1 - taps_x) // down_x + 1
    macs = 0.0
    if f is not None and f.ndim == 1:
        macs = h * out_w * taps_x / up_x + out_h * out_w * taps_y / up_y
    elif f is not None:
        macs = out_h * out_w * taps_y * taps_x / (up_x * up_y)
    return Work(filter=n * c * macs, bytes=size_of(x, f) + n * c * out_h * out_w * x.element_size())


def bias_act(x: Tensor, b: Tensor | None = None, **_: Any) -> Work:
    """Only the bytes."""
    return Work(bytes=2 * size_of(x) + size_of(b))


def modulated_conv(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    demodulation: Tensor | None,
    *,
    padding: int = 0,
    **_: Any,
) -> Work:
    """Of a call with these arguments; scaling is not counted."""
    h, w = (
        side + 2 * padding - k + 1 for side, k in zip(x.shape[2:], weight.shape[2:], strict=True)
    )
    out = (len(x), len(weight), h, w)
    moved = size_of(x, weight, style, demodulation) + prod(out) * x.element_size()
    return Work(convolution=convolution(out, weight), bytes=moved)


def upsampling_conv(
    x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor, **_: Any
) -> Work:
    """Of a call with these arguments: a transposed convolution, and a filter of four taps."""
    n, _c, h, w = x.shape
    macs = transposed_convolution(x.shape, weight.transpose(0, 1))
    smoothing = n * len(weight) * 2 * w * 4 * (2 * h + 1 + 2 * h)
    written = n * len(weight) * 4 * h * w * x.element_size()
    return Work(macs, smoothing, size_of(x, weight, style, demodulation) + written)


def downsampling_conv(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], **_: Any
) -> Work:
    """Of a call with these arguments."""
    n, _c, h, w = x.shape
    outs = [(n, len(weight), -(-h // 2), -(-w // 2)) for weight in weights]
    macs = sum(convolution(out, weight) for out, weight in zip(outs, weights, strict=True))
    written = sum(prod(out) for out in outs) * x.element_size()
    return Work(macs, bytes=size_of(x, *weights, *biases) + written)


def convolution(out: Shape, weight: Tensor) -> int:
    """Multiply-accumulates of a convolution with an output of this shape."""
    return prod(out) * prod(weight.shape[1:])


def transposed_convolution(x: Shape, weight: Tensor) -> int:
    """Multiply-accumulates of a transposed convolution of an input of this shape."""
    return prod(x) * prod(weight.shape[1:])


OPS: dict[str, Callable[..., Work]] = {
    "filtered_lrelu": filtered_lrelu,
    "modulated_conv": modulated_conv,
    "upsampling_conv": upsampling_conv,
    "upfirdn2d": upfirdn2d,
    "bias_act": bias_act,
}
# Also those that no generator calls.
COUNTED = {**OPS, "downsampling_conv": downsampling_conv}
CONVOLUTIONS: dict[Callable[..., Any], Callable[[Tensor, Tensor, Tensor], int]] = {
    torch.conv2d: lambda x, weight, y: convolution(y.shape, weight),
    torch.conv_transpose2d: lambda x, weight, y: transposed_convolution(x.shape, weight),
}
