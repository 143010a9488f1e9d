"""Bias, activation, gain and clamp on GPUs: every number is read once and written once."""

import math
from functools import cache

import torch
from torch import Tensor

from vidhair.kernels import TRITON_IS_HERE

DEVICES = ("cuda",)
_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
BLOCK = 1024


def refusal(
    x: Tensor,
    b: Tensor | None = None,
    *,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> str | None:
    """Why this kernel cannot do the call, or None if it can."""
    if x.device.type not in DEVICES:
        return f"runs on {DEVICES[0]}, not on {x.device.type}"
    if x.dtype not in _DTYPES:
        return f"no kernel for {x.dtype}"
    return None if TRITON_IS_HERE else "Triton is not installed"


def empty_result(x: Tensor, *_) -> Tensor:
    """As x, allocated as `forward` and `backward` return it."""
    return torch.empty_like(x, memory_format=_memory_format(x))


def forward(
    x: Tensor,
    b: Tensor | None,
    dim: int,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
) -> Tensor:
    """y."""
    return _run(x, b, None, dim, act, alpha, gain, clamp)


def backward(
    dy: Tensor,
    x: Tensor,
    b: Tensor | None,
    dim: int,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
) -> Tensor:
    """dx."""
    return _run(x, b, dy, dim, act, alpha, gain, clamp)


def _run(x: Tensor, b, dy, dim, act, alpha, gain, clamp) -> Tensor:
    out = empty_result(x)
    if not out.numel():
        return out
    form = _memory_format(x)
    x = x.detach().contiguous(memory_format=form)
    upstream = x if dy is None else dy.detach().to(x.dtype).contiguous(memory_format=form)
    axis = 0 if b is None else dim
    _kernels().bias_act[(-(-x.numel() // BLOCK),)](
        x, x if b is None else b.detach().contiguous(), upstream, out,
        x.numel(), out.stride(axis), x.shape[axis],
        alpha, gain, math.inf if clamp is None else clamp,
        ACT=act, BIASED=b is not None, GRADIENT=dy is not None, BLOCK=BLOCK,
    )  # fmt: skip
    return out


def _memory_format(x: Tensor) -> torch.memory_format:
    """In which x is dense, or will be."""
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last and not x.is_contiguous() else torch.contiguous_format


@cache
def _kernels():
    from vidhair.kernels.bias_act import _triton

    return _triton
