"""Upsample, filter, downsample on GPUs: one pass for a filter [fh, fw], two for a separable one.

Notation, per axis, with factors U and D, padding before p and flipped filter f:

    y[m] = Σ_k f[k] · x[(D·m + k − p) / U]      over k for which the index is whole

so the first input that y[m] takes from is ⌈(D·m − p) / U⌉, and no inserted zero is multiplied.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from vidhair.kernels import TRITON_IS_HERE

DEVICES = ("cuda",)
_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
BLOCK = 512


def refusal(x: Tensor, f: Tensor | None, **_) -> str | None:
    """Why this kernel cannot do the call, or None if it can."""
    if x.device.type not in DEVICES:
        return f"runs on {DEVICES[0]}, not on {x.device.type}"
    if x.dtype not in _DTYPES:
        return f"no kernel for {x.dtype}"
    if f is not None and f.requires_grad and torch.is_grad_enabled():
        return "no gradient for the filter"
    return None if TRITON_IS_HERE else "Triton is not installed"


def empty_result(
    x: Tensor, f: Tensor, up: Sequence[int], down: Sequence[int], padding: Sequence[int], *_
) -> Tensor:
    """[N, C, H', W'], allocated as `forward` returns it: in channels-last memory."""
    n, c, h, w = x.shape
    x0, x1, y0, y1 = padding
    room = w * up[0] + x0 + x1 - f.shape[-1], h * up[1] + y0 + y1 - f.shape[0]
    assert min(room) >= 0, f"filter {tuple(f.shape)} does not fit {tuple(x.shape)} with {padding=}"
    out_w, out_h = room[0] // down[0] + 1, room[1] // down[1] + 1
    return x.new_empty(n, out_h, out_w, c).permute(0, 3, 1, 2)


def forward(
    x: Tensor,
    f: Tensor,
    up: Sequence[int],
    down: Sequence[int],
    padding: Sequence[int],
    flip_filter: bool,
    gain: float,
) -> Tensor:
    """y. up, down: (x, y). padding: x before, after, y before, after."""
    taps = f.detach().float() * gain ** (f.ndim / 2)
    taps = taps if flip_filter else taps.flip(list(range(f.ndim)))
    if f.ndim == 2:
        return _pass(x, taps, up, down, padding)
    along_x = _pass(x, taps[None, :], (up[0], 1), (down[0], 1), (*padding[:2], 0, 0))
    return _pass(along_x, taps[:, None], (1, up[1]), (1, down[1]), (0, 0, *padding[2:]))


def _pass(x: Tensor, f: Tensor, up, down, padding) -> Tensor:
    y = empty_result(x, f, up, down, padding)
    if not y.numel():
        return y
    _, c, h, w = y.shape
    _kernels().upfirdn2d[(-(-y.numel() // BLOCK),)](
        x.detach(), f.contiguous(), y, y.numel(), c, *x.shape[2:], h, w, *x.stride(), *y.stride(),
        up[1], up[0], down[1], down[0], padding[2], padding[0],
        max(0, -(-padding[2] // up[1])), max(0, -(-padding[0] // up[0])), *f.shape,
        -(-f.shape[0] // up[1]), -(-f.shape[1] // up[0]), BLOCK=BLOCK,
    )  # fmt: skip
    return y


@cache
def _kernels():
    from vidhair.kernels.upfirdn2d import _triton

    return _triton
