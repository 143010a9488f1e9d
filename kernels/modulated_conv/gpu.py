"""Modulated convolution on GPUs: the library's convolution, of weights scaled for every sample.

Scaling a weight costs less than reading and writing pictures once more, and it is one pass: the
weight in float32 comes in once and goes out as the library wants it, taps before channels. Small
pictures of a batch do it the other way round, lest each be too little work for the device.
"""

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.kernels import TRITON_IS_HERE, triton_cache
from vidhair.kernels import layout_gpu as layout

DEVICES = ("cuda",)
_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
BLOCK = 256
# Pixels of a result from which on one sample fills the device; below, a batch shares the weight.
OWN_WEIGHTS_FROM = 100 * 100


def refusal(
    x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor | None, *, padding: int = 0
) -> str | None:
    """Why this kernel cannot do the call, or None if it can."""
    if x.device.type not in DEVICES:
        return f"runs on {DEVICES[0]}, not on {x.device.type}"
    for tensor in (x, weight, style):
        if tensor.dtype not in _DTYPES:
            return f"no kernel for {tensor.dtype}"
    return None if TRITON_IS_HERE else "Triton is not installed"


def empty_result(x: Tensor, weight: Tensor, style, demodulation, padding: int) -> Tensor:
    """[N, C_out, H', W'], allocated as `forward` returns it."""
    h, w = (s + 2 * padding - k + 1 for s, k in zip(x.shape[2:], weight.shape[2:], strict=True))
    assert h > 0 and w > 0, f"{tuple(x.shape)} is too small for {tuple(weight.shape)} {padding=}"
    return layout.empty((len(x), len(weight), h, w), like=x)


def empty_gradient(x: Tensor) -> Tensor:
    """[N, C_in, H, W], allocated as `backward` returns it."""
    return layout.empty(x.shape, like=x)


def forward(
    x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor | None, padding: int
) -> Tensor:
    """y, for the calls that `refusal` lets through."""
    y = empty_result(x, weight, style, demodulation, padding)
    source, target = layout.whole(layout.laid_out(x)), layout.whole(y)
    if len(x) > 1 and y.shape[2] * y.shape[3] < OWN_WEIGHTS_FROM:
        # The products are of the size of one number, lest they overflow before the demodulation.
        spread = weight[0].numel() ** 0.5
        shared = _modulated(weight, None, None, x.dtype, 1 / spread)[0]
        _convolve(source * _widened(style, source), shared, padding, target)
        after = style.new_ones(1, len(weight)) if demodulation is None else demodulation
        target.mul_(_widened(after * spread, target))
        return y
    for n, own in enumerate(_modulated(weight, style, demodulation, x.dtype)):
        _convolve(source[n : n + 1], own, padding, target[n : n + 1])
    return y


def backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    demodulation: Tensor | None,
    y: Tensor,
    padding: int,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """(dx, dweight, dstyle, ddemodulation), None where not wanted.

    With the gradient p of a sample's own weight w·s·d: dw = Σ p·s·d, ds = Σ p·w·d, dd = Σ p·w·s.
    """
    source, upstream = (layout.whole(layout.laid_out(t)) for t in (x, dy.to(x.dtype)))
    dx = empty_gradient(x) if wanted[0] else None
    parts = []
    for n, own in enumerate(_modulated(weight, style, demodulation, x.dtype)):
        found = torch.ops.aten.convolution_backward(
            upstream[n : n + 1], source[n : n + 1], own, None, [1, 1], [padding] * 2, [1, 1],
            False, [0, 0], 1, [wanted[0], any(wanted[1:]), False],
        )  # fmt: skip
        if dx is not None:
            layout.whole(dx)[n : n + 1] = found[0]
        parts.append(found[1])
    if not any(wanted[1:]):
        return dx, None, None, None
    outputs, inputs = weight.shape[:2]
    p = torch.stack(parts)[:, :outputs, :inputs].float()
    w, s = weight.detach().float(), style.detach().float()
    d = p.new_ones(p.shape[:2]) if demodulation is None else demodulation.detach().float()
    styled = p * s[:, None, :, None, None]
    along = (p * w).sum((3, 4)) if any(wanted[2:]) else d
    sums = (
        (styled * d[:, :, None, None, None]).sum(0) if wanted[1] else None,
        (along * d[:, :, None]).sum(1) if wanted[2] else None,
        (along * s[:, None]).sum(2) if wanted[3] else None,
    )
    dweight, dstyle, ddemodulation = (
        None if g is None or t is None else g.to(t.dtype).contiguous()
        for g, t in zip(sums, (weight, style, demodulation), strict=True)
    )
    return dx, dweight, dstyle, ddemodulation


def _convolve(x: Tensor, weight: Tensor, padding: int, out: Tensor) -> None:
    if x.device.type == "cuda" and torch.version.cuda and torch.backends.cudnn.enabled:
        torch.ops.aten.cudnn_convolution.out(
            x, weight, [padding] * 2, [1, 1], [1, 1], 1, torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32, out=out,
        )  # fmt: skip
    else:
        out.copy_(F.conv2d(x, weight, padding=padding))


def _modulated(
    weight: Tensor,
    style: Tensor | None,
    demodulation: Tensor | None,
    dtype: torch.dtype,
    factor: float = 1.0,
) -> Tensor:
    """[N, C_out', C_in', kh, kw] in channels-last memory, as pictures are laid out."""
    n, (outputs, inputs, kh, kw) = 1 if style is None else len(style), weight.shape
    rows, width = layout.padded_width(outputs), layout.padded_width(inputs)
    out = weight.new_empty(n, rows, kh, kw, width, dtype=dtype)
    given = weight.detach().contiguous()
    before, after = (given if t is None else t.detach().contiguous() for t in (style, demodulation))
    _kernels().modulate[rows, n](
        given, before, after, out, factor, inputs, outputs, width,
        TAPS=kh * kw, STYLED=style is not None, DEMODULATED=demodulation is not None, BLOCK=BLOCK,
    )  # fmt: skip
    return out.permute(0, 1, 4, 2, 3)


def _widened(scale: Tensor, x: Tensor) -> Tensor:
    """[N, C] → [N, C', 1, 1] in the dtype of x."""
    missing = x.shape[1] - scale.shape[1]
    return F.pad(scale.detach().to(x.dtype), (0, missing))[:, :, None, None]


@cache
def _kernels():
    triton_cache.make_writable()
    from vidhair.kernels.modulated_conv import _triton

    return _triton
