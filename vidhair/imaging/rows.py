"""Pixelwise work on large pictures, a strip of rows at a time.

What comes between stays in the processor's cache, so a pixel costs as much in a large picture as in
a small one, and memory holds what is kept only. Nothing depends on where the strips are cut, but
for the rounding of sums.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

STRIP = 1 << 16  # pixels, or one row


def strips(height: int, width: int) -> Iterator[slice]:
    """Rows 0 … height − 1 in slices of about STRIP pixels."""
    step = max(1, STRIP // max(1, width))
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def by_rows(function: Callable[..., Tensor], *planes: Tensor) -> Tensor:
    """function(*planes) for a function of the same pixel of each, [T, C, H, W] → [T, C′, H, W]."""
    height, width = planes[0].shape[2:]
    result = None
    for rows in strips(height, width):
        part = function(*(p[:, :, rows] for p in planes))
        if result is None:
            result = part.new_empty((*part.shape[:2], height, width))
        result[:, :, rows] = part
    assert result is not None, f"a picture without pixels: {list(planes[0].shape)}"
    return result


def mean_over(weight: Tensor, function: Callable[..., Tensor], *planes: Tensor) -> Tensor:
    """Mean [T, C, 1, 1] of function(*planes) under a weight [T, 1, H, W] ≥ 0; zero without any."""
    total = torch.zeros(())
    for rows in strips(*weight.shape[2:]):
        values = function(*(p[:, :, rows] for p in planes)) * weight[:, :, rows]
        total = total + values.sum((2, 3), keepdim=True)
    return total / (weight.sum((2, 3), keepdim=True) + 1e-6)
