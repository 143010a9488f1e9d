"""What tells real pictures from drawn ones: StyleGAN2's residual discriminator (Karras et al.
2020).

Shapes: B pictures, S their side, a power of two.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
GROUP = 4  # pictures whose deviation the last layer sees


class _Equalised(nn.Module):
    """A convolution whose weight is scaled at run time."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain, self.padding = (inputs * kernel**2) ** -0.5, kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.gain, self.bias, padding=self.padding)


def _active(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE) * 2**0.5


class _Halving(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = _Equalised(inputs, inputs, 3)
        self.second = _Equalised(inputs, outputs, 3)
        self.beside = _Equalised(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = _active(self.second(F.avg_pool2d(_active(self.first(x)), 2)))
        result: Tensor = (y + self.beside(F.avg_pool2d(x, 2))) * 0.5**0.5
        return result


class Discriminator(nn.Module):
    """Pictures [B, 3, S, S] → how real they look, [B]."""

    def __init__(self, side: int, base: int, most: int):
        super().__init__()
        assert side >= 8 and side.bit_count() == 1, f"pictures of {side} pixels"
        sides = [side >> k for k in range(side.bit_length() - 2)]  # down to 4
        widths = [min(base // s, most) for s in sides]
        self.side = side
        self.colors = _Equalised(3, widths[0], 1)
        self.blocks = nn.Sequential(*(_Halving(a, b) for a, b in pairwise(widths)))
        self.last = _Equalised(widths[-1] + 1, widths[-1], 3)
        self.hidden = nn.Linear(widths[-1] * 16, widths[-1])
        self.score = nn.Linear(widths[-1], 1)

    def forward(self, picture: Tensor) -> Tensor:
        x = self.blocks(_active(self.colors(picture)))
        x = _active(self.last(torch.cat([x, _deviation(x)], 1)))
        result: Tensor = self.score(_active(self.hidden(x.flatten(1))))[:, 0]
        return result


def _deviation(x: Tensor) -> Tensor:
    """How much pictures of a group differ, [B, 1, h, w]: what copies of one picture lack."""
    group = GROUP if len(x) % GROUP == 0 else len(x)
    parts = x.unflatten(0, (group, -1))
    spread = (parts.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    result: Tensor = spread.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
    return result


def windows(picture: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A random square of each picture [B, C, H, W], which may be smaller: [B, C, side, side]."""
    height, width = picture.shape[2:]
    short = [max(0, side - n) for n in (width, height)]
    if any(short):
        picture = F.pad(picture, (0, short[0], 0, short[1]), mode="replicate")
        height, width = picture.shape[2:]
    top, left = (int(torch.randint(0, n - side + 1, (), generator=generator))
                 for n in (height, width))  # fmt: skip
    return picture[..., top : top + side, left : left + side]


def real_or_drawn(network: Discriminator, real: Tensor, drawn: Tensor) -> Tensor:
    """The logistic loss of a discriminator."""
    return F.softplus(network(drawn)).mean() + F.softplus(-network(real)).mean()


def gradient_penalty(network: Discriminator, real: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018): half the squared length of the gradient at real pictures."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(real).sum(), real, create_graph=True)
    penalty: Tensor = gradient.square().sum((1, 2, 3)).mean() / 2
    return penalty
