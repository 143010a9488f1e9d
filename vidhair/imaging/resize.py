"""Changing the size of pictures."""

import torch
import torch.nn.functional as F
from torch import Tensor

CUBIC_A = -0.5


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel (1981)."""
    x, a = x.abs(), CUBIC_A
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def bicubic_shrink(image: Tensor, factor: int) -> Tensor:
    """Shrink [B, C, H, W] by a whole factor without aliasing; the border is mirrored.

    The kernel is stretched by the factor, 4·factor taps wide. Not clamped.
    """
    size = 4 * factor
    taps = _cubic((torch.arange(size, dtype=torch.float64) - size // 2 + 0.5) / factor)
    taps = (taps / taps.sum()).to(image)
    before = (size - factor) // 2
    after = size - factor - before
    channels = image.shape[1]
    weight = taps.expand(channels, 1, size)
    x = F.pad(image, (0, 0, before, after), mode="reflect")
    x = F.conv2d(x, weight[..., None], stride=(factor, 1), groups=channels)
    x = F.pad(x, (before, after, 0, 0), mode="reflect")
    return F.conv2d(x, weight[..., None, :], stride=(1, factor), groups=channels)
