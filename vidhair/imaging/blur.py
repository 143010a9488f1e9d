"""Gaussian blur and means over squares; on CPUs a pixel costs the same at any width."""

from functools import cache
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.kernels import start_threads


def box_radius(sigma: float) -> int:
    """Of the three box filters that together blur by `sigma`; they reach three times as far."""
    result: int = max(1, round((np.sqrt(4 * sigma * sigma + 1) - 1) / 2))
    return result


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Mean over squares of 2·radius + 1 pixels, [T, C, H, W]; the border is continued."""
    return _boxes(x, radius, 1, inplace=False)


def box_mean_(x: Tensor, radius: int) -> Tensor:
    """As `box_mean`, in the memory of x where it is float32 on a CPU."""
    return _boxes(x, radius, 1, inplace=True)


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of [T, C, H, W] in pixels, by three box filters; the border is continued."""
    return x if sigma < 0.3 else _boxes(x, box_radius(sigma), 3, inplace=False)


def blur_(x: Tensor, sigma: float) -> Tensor:
    """As `blur`, in the memory of x where it is float32 on a CPU."""
    return x if sigma < 0.3 else _boxes(x, box_radius(sigma), 3, inplace=True)


def _boxes(x: Tensor, radius: int, times: int, *, inplace: bool) -> Tensor:
    if x.device.type != "cpu" or x.dtype != torch.float32 or x.requires_grad:
        return _pooled(x, radius, times)
    if not (inplace and x.is_contiguous()):
        x = x.clone(memory_format=torch.contiguous_format)
    if x.numel():
        _kernels().smooth(x.flatten(0, 1).numpy(), radius, times)
    return x


def _pooled(x: Tensor, radius: int, times: int) -> Tensor:
    """The definition, for every device and dtype; it costs as the radius."""
    side = 2 * radius + 1
    for _ in range(times):
        x = F.pad(x, (radius,) * 4, mode="replicate")
        # Rows, then columns: the work grows with the side, not with its square.
        x = F.avg_pool2d(F.avg_pool2d(x, (side, 1), stride=1), (1, side), stride=1)
    return x


@cache
def _kernels() -> ModuleType:
    from vidhair.kernels import _boxes

    start_threads()
    return _boxes
