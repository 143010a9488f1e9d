"""Losses shared by training and tuning, beside `models.perceptual`.

Images are [B, 3, H, W] in −1 … 1.
"""

import torch.nn.functional as F
from torch import Tensor


def weighted_l1(got: Tensor, want: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute error; weight [B, 1, H, W] has a mean of about one."""
    error = (got - want).abs()
    return (error if weight is None else error * weight).mean()


def pyramid_l1(got: Tensor, want: Tensor, levels: int = 3) -> Tensor:
    """Mean absolute error at half, quarter, … size: large shapes first."""
    total = got.new_zeros([])
    for _ in range(levels):
        got, want = F.avg_pool2d(got, 2), F.avg_pool2d(want, 2)
        total = total + (got - want).abs().mean()
    return total / levels


def gradient_l1(got: Tensor, want: Tensor) -> Tensor:
    """Mean absolute error of differences between neighbours: edges where they belong."""
    horizontal = (got.diff(dim=3) - want.diff(dim=3)).abs().mean()
    return horizontal + (got.diff(dim=2) - want.diff(dim=2)).abs().mean()
