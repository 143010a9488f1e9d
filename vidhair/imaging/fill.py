"""Spreading what is known over what is not."""

import torch
import torch.nn.functional as F
from torch import Tensor


def fill(values: Tensor, weight: Tensor, levels: int) -> Tensor:
    """Spread values from where their weight is high to where there is none (push and pull).

    values: [T, C, h, w]; weight: [T, 1, h, w] ≥ 0, about one where values are to be trusted.
    Each of the `levels` halvings gathers what the finer one lacks.
    """
    gathered = values * weight
    if levels == 0 or min(values.shape[2:]) < 4:
        # In float64, so that it does not matter how many threads add up.
        total = weight.sum((2, 3), keepdim=True, dtype=torch.float64)
        mean = gathered.sum((2, 3), keepdim=True, dtype=torch.float64) / (total + 1e-6)
        return mean.to(values.dtype).expand_as(values)
    pooled = F.avg_pool2d(weight, 2, ceil_mode=True, count_include_pad=False)
    sums = F.avg_pool2d(gathered, 2, ceil_mode=True, count_include_pad=False)
    coarse = fill(sums / (pooled + 1e-6), (pooled * 2).clamp(max=1) * pooled.sign(), levels - 1)
    spread = enlarge(coarse, values.shape[2], values.shape[3])
    trust = weight.clamp(0, 1)
    return trust * values + (1 - trust) * spread


def enlarge(values: Tensor, height: int, width: int) -> Tensor:
    """[T, C, h, w] → [T, C, height, width], bilinear between the samples' centres.

    As `F.interpolate` does it, whose rounding depends on the number of threads.
    """
    for dim, size in ((2, height), (3, width)):
        count = values.shape[dim]
        place = (torch.arange(size, dtype=torch.float64) + 0.5) * (count / size) - 0.5
        place = place.clamp(0, count - 1)
        first = place.long()
        share = (place - first).to(values).view([-1, 1] if dim == 2 else [-1])
        low = values.index_select(dim, first.to(values.device))
        high = values.index_select(dim, (first + 1).clamp(max=count - 1).to(values.device))
        values = low + share * (high - low)
    return values
