"""Fused filtered leaky ReLU on CPU: one plane at a time, so that nothing leaves the cache.

The plain form writes the four times larger upsampled signal to memory three times. Here a plane is
read once, kept in scratch that fits the second-level cache, and written once. Taps are unrolled:
six per phase, which is what every layer of StyleGAN3 uses (upsampling by 2 or 4, downsampling
by 2). Other shapes are declined and go to the reference.

Notation, per axis, with `up` U, padding before p, flipped filters a (up) and d (down), and x zero
outside its range:

    u[m] = Σ_k a[k] · x[(m + k − p) / U]      over k for which the index is whole
    y[i] = Σ_t d[t] · act(u[2i + t])

Even and odd samples of u are kept apart (e, o), so that both filters read consecutive memory.
"""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

TAPS_PER_PHASE = 6
_DTYPES = (torch.float32, torch.bfloat16)


def refusal(
    x: Tensor,
    *,
    fu: Tensor | None = None,
    fd: Tensor | None = None,
    b: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    gain: float = math.sqrt(2),
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> str | None:
    """Why this kernel cannot do the call, or None if it can."""
    if x.device.type != "cpu":
        return f"runs on cpu, not on {x.device.type}"
    if x.dtype not in _DTYPES:
        return f"no kernel for {x.dtype}"
    if up not in (2, 4) or down != 2:
        return f"made for up 2 or 4 and down 2, not {up} and {down}"
    if fu is None or fd is None:
        return f"there is no {'up' if fu is None else 'down'}sampling filter"
    for name, f, factor in (("up", fu, up), ("down", fd, down)):
        if f.shape[-1] != TAPS_PER_PHASE * factor:
            return f"made for {TAPS_PER_PHASE * factor} {name}sampling taps, not {f.shape[-1]}"
    if fu.ndim != 1:
        return "the upsampling filter is not separable"
    if fd.ndim != 1 and not _mirrored(fd):
        return "the downsampling filter is neither separable nor the same from all sides"
    if torch.is_grad_enabled():
        if any(f is not None and f.requires_grad for f in (fu, fd)):
            return "no gradient for the filters"
        if b is not None and b.requires_grad and not x.requires_grad:
            return "gradient for the bias alone"
    return None


def _mirrored(f: Tensor) -> bool:
    """Whether a filter [n, n] is the same from either end of both axes, up to rounding."""
    if f.shape[0] != f.shape[1]:
        return False
    bound = 1e-6 * float(f.abs().max())
    return all(float((f - f.flip(axis)).abs().max()) <= bound for axis in (0, 1))


def filtered_lrelu(
    x: Tensor,
    *,
    fu: Tensor,
    fd: Tensor,
    b: Tensor | None = None,
    up: int,
    down: int,
    padding: int | Sequence[int] = 0,
    gain: float = math.sqrt(2),
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> Tensor:
    """As `vidhair.ops.filtered_lrelu`, for the calls that `refusal` lets through."""
    from vidhair.ops.upfirdn2d import _four

    x0, x1, y0, y1 = _four(padding)
    taps_up, taps_down = fu.detach().float() * up, fd.detach().float()
    if not flip_filter:
        taps_up, taps_down = taps_up.flip(-1), taps_down.flip(-1)
    taps_down = torch.atleast_2d(taps_down)
    bias = torch.zeros(x.shape[1]) if b is None else b
    limit = math.inf if clamp is None else clamp
    return _FilteredLRelu.apply(
        x, bias, taps_up, taps_down, up, (x0, x1, y0, y1), gain, slope, limit
    )


class _FilteredLRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, bias, taps_up, taps_down, up, padding, gain, slope, limit):
        x = x.contiguous()
        x0, x1, y0, y1 = padding
        n, c, h, w = x.shape
        beyond = 1 - taps_up.shape[-1] - taps_down.shape[-1]
        out_h = (h * up + y0 + y1 + beyond) // 2 + 1
        out_w = (w * up + x0 + x1 + beyond) // 2 + 1
        assert out_h > 0 and out_w > 0, f"{tuple(x.shape)} is too small for {padding=}"
        y = torch.empty(n, c, out_h, out_w, dtype=x.dtype)
        ctx.save_for_backward(x, bias, taps_up, taps_down)
        ctx.geometry = (up, x0, y0, gain, slope, limit)
        _kernels().forward(
            _planes(x), _bias(bias), _numpy(taps_up), _numpy(taps_down), _planes(y),
            *ctx.geometry,
        )  # fmt: skip
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        x, bias, taps_up, taps_down = ctx.saved_tensors
        dx = torch.empty_like(x)
        _kernels().backward(
            _planes(x), _bias(bias), _numpy(taps_up), _numpy(taps_down),
            _planes(dy.to(x.dtype).contiguous()), _planes(dx), *ctx.geometry,
        )  # fmt: skip
        db = dx.sum((0, 2, 3), dtype=torch.float32).to(bias.dtype)
        return dx, db if ctx.needs_input_grad[1] else None, *(None,) * 7


def _numpy(f: Tensor) -> np.ndarray:
    return f.contiguous().numpy()


def _bias(b: Tensor) -> np.ndarray:
    return b.detach().float().contiguous().numpy()


def _planes(x: Tensor) -> np.ndarray:
    """[N·C, H, W]; bfloat16 as its bits in uint16, which numpy has no name for."""
    x = x.detach()
    x = x.view(torch.uint16) if x.dtype == torch.bfloat16 else x
    return x.reshape(-1, *x.shape[-2:]).numpy()


@cache
def _kernels():
    from vidhair.kernels.filtered_lrelu import _numba

    torch.get_num_threads()  # torch starts its thread pool before Numba starts its own
    return _numba
