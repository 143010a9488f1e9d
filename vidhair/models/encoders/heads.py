"""Feature map → one style code (map2style of pSp, Richardson et al. 2021)."""

from collections.abc import Sequence
from itertools import groupby, pairwise

from torch import Tensor, nn

from vidhair.models.convolution import halves_well, working_dtype
from vidhair.models.generators.mapping import EqualizedLinear
from vidhair.ops.downsampling_conv import downsampling_conv

SLOPE = 0.01


class StyleHead(nn.Module):
    """Halve the map until one pixel is left, then a linear layer.

    size: the side of the map that the head is made for, a power of two.
    pooled: average what is left, so that maps of any size and shape are taken (StyleGANEX).
    """

    folds = True

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
        first, activation, *_ = self.convolutions
        return self.after_first(activation(first(features)))

    def after_first(self, x: Tensor) -> Tensor:
        """Like `forward`, from what the first convolution and its activation gave."""
        for layer in list(self.convolutions)[2:]:
            x = layer(x)
        assert self.pooled or x.shape[2:] == (1, 1), (
            f"maps of {tuple(x.shape[2:])} are left; wrong picture size?"
        )
        result: Tensor = self.linear(x.mean((2, 3)))
        return result


def codes_of(heads: Sequence[StyleHead], features: Sequence[Tensor]) -> list[Tensor]:
    """The code of each head; neighbours that look at the same features begin together."""
    codes: list[Tensor] = []
    pairs = zip(heads, features, strict=True)
    for _, group in groupby(pairs, key=lambda pair: id(pair[1])):
        together, (x, *_) = zip(*group, strict=True)
        if not halves_well(x):
            codes += [head(x) for head in together]
            continue
        firsts = [head.convolutions[0] for head in together]
        weights, biases = [c.weight for c in firsts], [c.bias for c in firsts]
        halves = downsampling_conv(x.to(working_dtype(x)), weights, biases, slope=SLOPE)
        codes += [head.after_first(half) for head, half in zip(together, halves, strict=True)]
    return codes
