"""Spreading what is known over what is not."""

import torch.nn.functional as F
from torch import Tensor


def fill(values: Tensor, weight: Tensor, levels: int) -> Tensor:
    """Spread values from where their weight is high to where there is none (push and pull).

    values: [T, C, h, w]; weight: [T, 1, h, w] ≥ 0, about one where values are to be trusted.
    Each of the `levels` halvings gathers what the finer one lacks.
    """
    gathered = values * weight
    if levels == 0 or min(values.shape[2:]) < 4:
        total = weight.sum((2, 3), keepdim=True)
        mean = gathered.sum((2, 3), keepdim=True) / (total + 1e-6)
        return mean.expand_as(values)
    pooled = F.avg_pool2d(weight, 2, ceil_mode=True, count_include_pad=False)
    sums = F.avg_pool2d(gathered, 2, ceil_mode=True, count_include_pad=False)
    coarse = fill(sums / (pooled + 1e-6), (pooled * 2).clamp(max=1) * pooled.sign(), levels - 1)
    spread = F.interpolate(coarse, size=values.shape[2:], mode="bilinear", align_corners=False)
    trust = weight.clamp(0, 1)
    return trust * values + (1 - trust) * spread
