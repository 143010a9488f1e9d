"""Fused filtered leaky ReLU on CPU: a tile at a time, so that nothing of u leaves the cache.

The plain form writes the four times larger upsampled signal to memory three times. Here a tile is
read once, kept in scratch, and written once; vectors run along the channels. It is made for the
filters of StyleGAN3: six taps per phase, upsampling by 2 or 4, downsampling by 2, the same from
either end. Other shapes are declined and go to the reference.

Notation, per axis, with `up` U, padding before p, flipped filters a (up) and d (down), and x zero
outside its range:

    u[m] = Σ_k a[k] · x[(m + k − p) / U]      over k for which the index is whole
    y[i] = Σ_t d[t] · act(u[2i + t])

A radial filter is a sum of separable ones (its singular value decomposition), of which two to four
are enough: the rest is below the rounding of the dtype.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensor

from vidhair.errors import DeviceUnavailable
from vidhair.kernels import layout_cpu as layout
from vidhair.kernels import start_threads
from vidhair.kernels.cached import prepared
from vidhair.kernels.layout_cpu import flat, vectors

TAPS_PER_PHASE = 6
# What may be left out of a radial filter, as a share of its size.
NEGLIGIBLE = {torch.float32: 1e-6, torch.bfloat16: 1e-4}


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
    if x.dtype not in NEGLIGIBLE:
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
    if not 0 <= slope <= 1 or gain < 0:
        return f"made for slopes from 0 to 1 and positive gains, not {slope:g} and {gain:g}"
    for name, f in (("up", fu), ("down", fd)):
        if not _mirrored(f):
            return f"the {name}sampling filter is not the same from either end"
    if torch.is_grad_enabled() and (fu.requires_grad or fd.requires_grad):
        return "no gradient for the filters"
    return None


def _mirrored(f: Tensor) -> bool:
    """Whether a filter [n] or [n, n] is the same from either end of every axis, up to rounding.

    While a call is traced there are no values: then `forward` finds out.
    """
    if len(set(f.shape)) > 1:
        return False
    if torch.compiler.is_compiling() or isinstance(f, FakeTensor):
        return True

    def mirrored(f: Tensor) -> bool:
        bound = 1e-6 * float(f.abs().max())
        return all(float((f - f.flip(axis)).abs().max()) <= bound for axis in range(f.ndim))

    return prepared(f, "mirrored", mirrored)


def empty_result(x: Tensor, fu: Tensor, fd: Tensor, b, up: int, down: int, padding, *_) -> Tensor:
    """[N, C, H', W'], allocated as `forward` returns it."""
    x0, x1, y0, y1 = padding
    n, c, h, w = x.shape
    beyond = 1 - fu.shape[-1] - fd.shape[-1]
    out_h = (h * up + y0 + y1 + beyond) // down + 1
    out_w = (w * up + x0 + x1 + beyond) // down + 1
    assert out_h > 0 and out_w > 0, f"{tuple(x.shape)} is too small for {padding=}"
    return layout.empty((n, c, out_h, out_w), like=x)


def empty_gradient(x: Tensor) -> Tensor:
    """[N, C, H, W], allocated as `backward` returns it."""
    return layout.empty(x.shape, like=x)


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
    y = empty_result(x, fu, fd, b, up, down, padding)
    if not (_mirrored(fu) and _mirrored(fd)):
        raise DeviceUnavailable(
            "filtered_lrelu was traced for filters that are the same from either end, and these "
            "are not; trace it with VIDHAIR_IMPL=reference"
        )
    x = layout.laid_out(x)
    upward, downward = _upward(fu, up), _downward(fd, x.dtype)
    _kernels().forward(
        *_picture(x), _bias(b, x), up, padding[2], padding[0],
        upward.phases * np.float32(gain), upward.phases, downward.halves, slope,
        _limit(clamp), *_picture(y),
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
    dy, x = layout.laid_out(dy.to(x.dtype)), layout.laid_out(x)
    upward, downward = _upward(fu, up), _downward(fd, x.dtype)
    _kernels().backward(
        *_picture(x), _bias(b, x), up, padding[2], padding[0],
        upward.phases * np.float32(gain), upward.phases, upward.half * np.float32(gain),
        upward.half, downward.phases, slope, _limit(clamp), *_picture(dy), _picture(dx)[0],
    )  # fmt: skip
    return dx


def _picture(x: Tensor) -> tuple[np.ndarray, tuple[int, ...]]:
    """The memory of a tensor in the layout, flat, and its shape [N, H, W, C′]."""
    memory = layout.whole(x)
    return flat(memory), tuple(memory.shape)


def _bias(b: Tensor | None, x: Tensor) -> np.ndarray:
    return vectors(torch.zeros(x.shape[1]) if b is None else b)


def _limit(clamp: float | None) -> float:
    return math.inf if clamp is None else clamp


@dataclass(frozen=True)
class _Upward:
    """Taps of upsampling, with its gain: phases [U, 6] as the kernel's groups have them, and the
    first half [3·U]."""

    phases: np.ndarray
    half: np.ndarray


def _upward(fu: Tensor, up: int) -> _Upward:
    def prepare(f: Tensor) -> _Upward:
        taps = f.double().numpy() * up
        phases = np.stack([taps[up - 1 - phase :: up] for phase in range(up)])
        return _Upward(phases.astype(np.float32), taps[: len(taps) // 2].astype(np.float32))

    return prepared(fu, ("upward", up), prepare)


@dataclass(frozen=True)
class _Downward:
    """Taps of downsampling, as a sum of separable filters, vertical and horizontal.

    halves: [rank, 2, 6], the first half of each. phases: [rank, 2, 2, 6], phase p of the transpose
    from the last tap on.
    """

    halves: np.ndarray
    phases: np.ndarray


def _downward(fd: Tensor, dtype: torch.dtype) -> _Downward:
    def prepare(f: Tensor) -> _Downward:
        taps = _separated(f.double().numpy(), NEGLIGIBLE[dtype])
        phases = np.stack([taps[:, :, p::2][:, :, ::-1] for p in range(2)], 2)
        return _Downward(taps[:, :, :6].astype(np.float32), phases.astype(np.float32))

    return prepared(fd, ("downward", dtype), prepare)


def _separated(f: np.ndarray, negligible: float) -> np.ndarray:
    """[rank, 2, taps]: the least sum of outer products that differs negligibly from f."""
    if f.ndim == 1:
        return np.stack([f, f])[None]
    columns, sizes, rows = np.linalg.svd(f)
    for rank in range(1, len(f) + 1):
        sum_ = columns[:, :rank] * sizes[:rank] @ rows[:rank]
        if np.abs(f - sum_).sum() <= negligible * np.abs(f).sum():
            break
    weights = np.sqrt(sizes[:rank, None])
    return np.stack([columns[:, :rank].T * weights, rows[:rank] * weights], 1)


@cache
def _kernels():
    from vidhair.kernels.filtered_lrelu import _numba

    start_threads()
    return _numba
