"""Losses shared by training and tuning. Images are [B, 3, H, W] in −1 … 1."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Features = Callable[[Tensor], list[Tensor]]


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


def perceptual(got: Tensor, want: Tensor, features: Features, mask: Tensor | None = None) -> Tensor:
    """Distance of unit-normalised features, averaged over positions and layers.

    The form of LPIPS (Zhang et al. 2018, eq. 1) without learned weights per channel.
    mask: [B, 1, H, W]; positions outside count less.
    """
    total = got.new_zeros([])
    maps_got, maps_want = features(got), features(want)
    for a, b in zip(maps_got, maps_want, strict=True):
        a = a * (a.square().sum(1, keepdim=True) + 1e-8).rsqrt()
        b = b * (b.square().sum(1, keepdim=True) + 1e-8).rsqrt()
        distance = (a - b).square().sum(1, keepdim=True)
        if mask is not None:
            m = F.interpolate(mask, size=distance.shape[2:], mode="area")
            total = total + (distance * m).sum() / (m.sum() + 1e-6)
        else:
            total = total + distance.mean()
    return total / len(maps_got)
