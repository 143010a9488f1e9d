"""How the CPU kernels keep pictures: pixel by pixel, the channels of each in whole vectors.

A tensor [N, C, H, W] in this layout is a view into memory [N, H, W, C'], C' being C rounded up to a
multiple of 16. What lies beyond the C channels is memory to be written at will and never told to
anybody. So no loop ends within a vector, and matrix products have the widths that libraries are
fast at: MKL's take twice as long at 181 columns as at 192.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.kernels.buffers import buffer_pool

MULTIPLE = 16  # channels


def padded_width(channels: int) -> int:
    """C′"""
    return -(-channels // MULTIPLE) * MULTIPLE


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Memory for a result [N, C, H, W], of the dtype and on the device of `like`."""
    n, c, h, w = shape
    width = padded_width(c)
    if type(like) is Tensor and like.device.type == "cpu":
        memory = buffer_pool.take(n * h * w * width, like.dtype).view(n, h, w, width)
    else:  # while a call is traced
        memory = like.new_empty(n, h, w, width)
    return memory[..., :c].permute(0, 3, 1, 2)


def laid_out(x: Tensor) -> Tensor:
    """x [N, C, H, W] itself if it is in the layout, else a copy that is."""
    if _is_laid_out(x):
        return x
    copy = empty(x.shape, like=x)
    whole(copy).zero_()
    return copy.copy_(x)


def whole(x: Tensor) -> Tensor:
    """[N, H, W, C′]: the memory of a tensor in the layout."""
    n, c, h, w = x.shape
    width = padded_width(c)
    return x.as_strided((n, h, w, width), (h * w * width, w * width, width, 1))


def flat(x: Tensor) -> np.ndarray:
    """The memory of a tensor from its first element on; bfloat16 as its bits in uint16."""
    x = x.detach()
    span = 1 + sum((size - 1) * step for size, step in zip(x.shape, x.stride(), strict=True))
    x = x.as_strided((span if x.numel() else 0,), (1,))
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def widened(x: Tensor, width: int) -> Tensor:
    """In float32, with zeros behind the last dimension."""
    return F.pad(x.detach().float(), (0, width - x.shape[-1])).contiguous()


def vectors(x: Tensor) -> np.ndarray:
    """[C] → [C′ / LANES, LANES] in float32, zero beyond C."""
    from vidhair.kernels.simd import LANES

    return widened(x, padded_width(len(x))).view(-1, LANES).numpy()


def _is_laid_out(x: Tensor) -> bool:
    n, c, h, w = x.shape
    width = padded_width(c)
    wanted = (h * w * width, 1, w * width, width)
    fits = all(
        size == 1 or stride == expected
        for size, stride, expected in zip(x.shape, x.stride(), wanted, strict=True)
    )
    if not fits or x.dtype.itemsize == 0:
        return False
    last = x.storage_offset() + n * h * w * width
    return last * x.element_size() <= x.untyped_storage().nbytes()
