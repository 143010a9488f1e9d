"""Convolutions of the encoders and parsers: torch's, computed the fastest way for CPUs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidhair.ops.downsampling_conv import downsampling_conv
from vidhair.ops.modulated_conv import modulated_conv

# Below so many channels, or pixels in a batch, minimal filtering costs more than it saves; measured
# on AVX-512.
FEWEST_CHANNELS, FEWEST_PIXELS = 32, 32 * 32
# Up to so many pixels of a picture, preparing the weights takes the library long.
FEW_PIXELS = 16 * 16
# From so many on, a halving convolution earns the memory of its transformed weights, four times
# that of the weights.
MANY_PIXELS = 64 * 64


def working_dtype(x: Tensor) -> torch.dtype:
    """What an op computes in that autocast does not know: x's type, or the one asked for."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def convolved(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0
) -> Tensor:
    """`F.conv2d` of x [N, C_in, H, W] and weight [C_out, C_in, kh, kw], without groups."""
    taps, (height, width) = tuple(weight.shape[2:]), x.shape[2:]
    if x.device.type == "cpu" and taps == (3, 3) and padding == 1:
        if stride == 2 and height * width <= FEW_PIXELS:
            return _as_product(x, weight, bias)
        wide = weight.shape[1] >= FEWEST_CHANNELS
        if stride == 2 and wide and halves_well(x):
            shift = weight.new_zeros(len(weight)) if bias is None else bias
            (y,) = downsampling_conv(x.to(working_dtype(x)), [weight], [shift])
            return y
        large = len(x) * height * width >= FEWEST_PIXELS
        if stride == 1 and wide and large:
            x = x.to(working_dtype(x))
            y = modulated_conv(x, weight, weight.new_ones(x.shape[:2]), None, padding=1)
            return y if bias is None else add(y, bias[:, None, None])
    return F.conv2d(channels_last(x), weight, bias, stride=stride, padding=padding)


def add(x: Tensor, y: Tensor) -> Tensor:
    """x + y, where x is not needed any more: in its memory, unless gradients are wanted."""
    return x + y if x.requires_grad else x.add_(y)


def halves_well(x: Tensor) -> bool:
    """Whether `downsampling_conv` pays for a picture of this size."""
    return x.device.type == "cpu" and x.shape[2] * x.shape[3] >= MANY_PIXELS


def _as_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """With 3 × 3 taps, stride two and padding one; reads weights in channels-last memory as they
    lie."""
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    windows = padded.unfold(1, 3, 2).unfold(2, 3, 2).permute(0, 1, 2, 4, 5, 3)
    y = F.linear(windows.flatten(3), weight.permute(0, 2, 3, 1).flatten(1), bias)
    return y.permute(0, 3, 1, 2)


class Conv2d(nn.Conv2d):
    """Square strides and paddings, no groups, no dilation."""

    def forward(self, x: Tensor) -> Tensor:
        stride, padding = self.stride[0], self.padding[0]
        assert isinstance(padding, int)
        return convolved(x, self.weight, self.bias, stride=stride, padding=padding)
