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
from torch._subclasses import FakeTensor
from torch.utils.weak import WeakTensorKeyDictionary

from vidhair.errors import DeviceUnavailable

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
    if torch.is_grad_enabled() and (fu.requires_grad or fd.requires_grad):
        return "no gradient for the filters"
    return None


def _mirrored(f: Tensor) -> bool:
    """Whether a filter [n, n] is the same from either end of both axes, up to rounding.

    While a call is traced there are no values: then `forward` finds out.
    """
    if f.shape[0] != f.shape[1]:
        return False
    if torch.compiler.is_compiling() or isinstance(f, FakeTensor):
        return True
    version = None if f.is_inference() else f._version
    found = _known.get(f)
    if found is None or version is None or found[0] != version:
        bound = 1e-6 * float(f.abs().max())
        found = version, all(float((f - f.flip(a)).abs().max()) <= bound for a in (0, 1))
        if version is not None:
            _known[f] = found
    return found[1]


# Filters stay as they are: each is looked at once.
_known: "WeakTensorKeyDictionary" = WeakTensorKeyDictionary()


def empty_result(x: Tensor, fu: Tensor, fd: Tensor, b, up: int, down: int, padding, *_) -> Tensor:
    """[N, C, H', W'], allocated as `forward` returns it."""
    x0, x1, y0, y1 = padding
    n, c, h, w = x.shape
    beyond = 1 - fu.shape[-1] - fd.shape[-1]
    out_h = (h * up + y0 + y1 + beyond) // down + 1
    out_w = (w * up + x0 + x1 + beyond) // down + 1
    assert out_h > 0 and out_w > 0, f"{tuple(x.shape)} is too small for {padding=}"
    return x.new_empty(n, c, out_h, out_w)


def empty_gradient(x: Tensor) -> Tensor:
    """[N, C, H, W], allocated as `backward` returns it."""
    return x.new_empty(x.shape)


def forward(
    x: Tensor,
    fu: Tensor,
    fd: Tensor,
    b: Tensor | None,
    up: int,
    down: int,
    padding: Sequence[int],
    gain: float,
    slope: float,
    clamp: float | None,
    flip_filter: bool,
) -> Tensor:
    """y, for the calls that `refusal` lets through. padding: x before, after, y before, after."""
    if fd.ndim == 2 and not _mirrored(fd):
        raise DeviceUnavailable(
            "filtered_lrelu was traced for a downsampling filter that is the same from all sides, "
            "and this one is not; trace it with VIDHAIR_IMPL=reference"
        )
    y = empty_result(x, fu, fd, b, up, down, padding)
    _kernels().forward(
        _planes(x), _bias(b, x), *_taps(fu, fd, up, flip_filter), _planes(y),
        up, padding[0], padding[2], gain, slope, _limit(clamp),
    )  # fmt: skip
    return y


def backward(
    dy: Tensor,
    x: Tensor,
    fu: Tensor,
    fd: Tensor,
    b: Tensor | None,
    up: int,
    down: int,
    padding: Sequence[int],
    gain: float,
    slope: float,
    clamp: float | None,
    flip_filter: bool,
) -> Tensor:
    """dx."""
    dx = empty_gradient(x)
    _kernels().backward(
        _planes(x), _bias(b, x), *_taps(fu, fd, up, flip_filter), _planes(dy.to(x.dtype)),
        _planes(dx), up, padding[0], padding[2], gain, slope, _limit(clamp),
    )  # fmt: skip
    return dx


def _taps(fu: Tensor, fd: Tensor, up: int, flip_filter: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both filters as the loops take them: to correlate with, the upsampling one with its gain."""
    taps_up, taps_down = fu.detach().float() * up, fd.detach().float()
    if not flip_filter:
        taps_up, taps_down = taps_up.flip(-1), taps_down.flip(-1)
    return _numpy(taps_up), _numpy(torch.atleast_2d(taps_down))


def _limit(clamp: float | None) -> float:
    return math.inf if clamp is None else clamp


def _numpy(f: Tensor) -> np.ndarray:
    return f.contiguous().numpy()


def _bias(b: Tensor | None, x: Tensor) -> np.ndarray:
    return _numpy(torch.zeros(x.shape[1]) if b is None else b.detach().float())


def _planes(x: Tensor) -> np.ndarray:
    """[N·C, H, W]; bfloat16 as its bits in uint16, which numpy has no name for."""
    x = x.detach().contiguous()
    x = x.view(torch.uint16) if x.dtype == torch.bfloat16 else x
    return x.reshape(-1, *x.shape[-2:]).numpy()


@cache
def _kernels():
    from vidhair.kernels.filtered_lrelu import _numba

    torch.get_num_threads()  # torch starts its thread pool before Numba starts its own
    return _numba
