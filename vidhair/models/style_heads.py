"""Feature map → one style code (map2style of pSp, Richardson et al. 2021)."""

from itertools import pairwise

from torch import Tensor, nn

from vidhair.models.mapping import EqualizedLinear

SLOPE = 0.01


class StyleHead(nn.Module):
    """Halve the map until one pixel is left, then a linear layer.

    size: the side of the map that the head is made for, a power of two.
    pooled: average what is left, so that maps of any size and shape are taken (StyleGANEX).
    """

    def __init__(self, inputs: int, outputs: int, size: int, *, pooled: bool = False):
        super().__init__()
        assert size > 1 and size.bit_count() == 1, f"a map of {size} pixels cannot be halved to one"
        halvings = size.bit_length() - 1
        self.pooled = pooled
        widths = (inputs, *[outputs] * halvings)
        self.convolutions = nn.Sequential()
        for before, width in pairwise(widths):
            self.convolutions.append(nn.Conv2d(before, width, 3, stride=2, padding=1))
            self.convolutions.append(nn.LeakyReLU(SLOPE, inplace=True))
        self.linear = EqualizedLinear(outputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, size, size] → [B, D]."""
        x = self.convolutions(features)
        assert self.pooled or x.shape[2:] == (1, 1), (
            f"features {tuple(features.shape)} end as {tuple(x.shape[2:])}; wrong picture size?"
        )
        return self.linear(x.mean((2, 3)))
