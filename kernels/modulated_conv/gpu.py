"""Modulated convolution on GPUs: the library's convolution, of weights scaled for every sample.

Scaling a weight costs less than reading and writing pictures once more, and it is one pass: the
weight in float32 comes in once and goes out as the library wants it, taps before channels.
"""

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.kernels import triton_is_here

DEVICES = ("cuda",)
_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
BLOCK = 256


def refusal(
    x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor | None, *, padding: int = 0
) -> str | None:
    """Why this kernel cannot do the call, or None if it can."""
    if x.device.type not in DEVICES:
        return f"runs on {DEVICES[0]}, not on {x.device.type}"
    for tensor in (x, weight, style):
        if tensor.dtype not in _DTYPES:
            return f"no kernel for {tensor.dtype}"
    return None if triton_is_here() else "Triton is not installed"


def empty_result(x: Tensor, weight: Tensor, style, demodulation, padding: int) -> Tensor:
    """[N, C_out, H', W'], allocated as `forward` returns it: in channels-last memory."""
    h, w = (s + 2 * padding - k + 1 for s, k in zip(x.shape[2:], weight.shape[2:], strict=True))
    assert h > 0 and w > 0, f"{tuple(x.shape)} is too small for {tuple(weight.shape)} {padding=}"
    return x.new_empty(len(x), h, w, len(weight)).permute(0, 3, 1, 2)


def empty_gradient(x: Tensor) -> Tensor:
    """[N, C_in, H, W], allocated as `backward` returns it: in channels-last memory."""
    n, c, h, w = x.shape
    return x.new_empty(n, h, w, c).permute(0, 3, 1, 2)


def forward(
    x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor | None, padding: int
) -> Tensor:
    """y, for the calls that `refusal` lets through."""
    y = empty_result(x, weight, style, demodulation, padding)
    x = x.detach().contiguous(memory_format=torch.channels_last)
    own = _modulated(weight, style, demodulation, x.dtype)
    if len(x) == 1:
        return _as(y, F.conv2d(x, own[0], padding=padding))
    for picture, kernel, result in zip(x.split(1), own, y.split(1), strict=True):
        result.copy_(F.conv2d(picture, kernel, padding=padding))
    return y


def backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    demodulation: Tensor | None,
    padding: int,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """(dx, dweight, dstyle, ddemodulation), None where not wanted.

    With the gradient p of a sample's own weight w·s·d: dw = Σ p·s·d, ds = Σ p·w·d, dd = Σ p·w·s.
    """
    x = x.detach().contiguous(memory_format=torch.channels_last)
    dy = dy.detach().to(x.dtype).contiguous(memory_format=torch.channels_last)
    own = _modulated(weight, style, demodulation, x.dtype)
    dx = empty_gradient(x) if wanted[0] else None
    parts = []
    for n in range(len(x)):
        found = torch.ops.aten.convolution_backward(
            dy[n : n + 1], x[n : n + 1], own[n], None, [1, 1], [padding] * 2, [1, 1], False,
            [0, 0], 1, [wanted[0], any(wanted[1:]), False],
        )  # fmt: skip
        if dx is not None:
            dx[n : n + 1] = found[0]
        parts.append(found[1])
    if not any(wanted[1:]):
        return dx, None, None, None
    p, w, s = torch.stack(parts).float(), weight.detach().float(), style.detach().float()
    d = p.new_ones(p.shape[:2]) if demodulation is None else demodulation.detach().float()
    along = torch.einsum("noihw,oihw->noi", p, w) if any(wanted[2:]) else p
    found = (
        torch.einsum("noihw,ni,no->oihw", p, s, d) if wanted[1] else None,
        torch.einsum("noi,no->ni", along, d) if wanted[2] else None,
        torch.einsum("noi,ni->no", along, s) if wanted[3] else None,
    )
    dweight, dstyle, ddemodulation = (
        None if g is None or t is None else g.to(t.dtype).contiguous()
        for g, t in zip(found, (weight, style, demodulation), strict=True)
    )
    return dx, dweight, dstyle, ddemodulation


def _as(empty: Tensor, result: Tensor) -> Tensor:
    """A result with the strides that were promised."""
    return result if result.stride() == empty.stride() else empty.copy_(result)


def _modulated(
    weight: Tensor, style: Tensor, demodulation: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """[N, C_out, C_in, kh, kw] in channels-last memory."""
    n, (outputs, inputs, kh, kw) = len(style), weight.shape
    out = weight.new_empty(n, outputs, kh, kw, inputs, dtype=dtype)
    _kernels().modulate[outputs, n](
        weight.detach().contiguous(), style.detach().contiguous(),
        style if demodulation is None else demodulation.detach().contiguous(), out,
        inputs, outputs, TAPS=kh * kw, DEMODULATED=demodulation is not None, BLOCK=BLOCK,
    )  # fmt: skip
    return out.permute(0, 1, 4, 2, 3)


@cache
def _kernels():
    from vidhair.kernels.modulated_conv import _triton

    return _triton
