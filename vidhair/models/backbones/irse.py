"""IR-SE50, the backbone of ArcFace (Deng et al. 2019), pSp, e4e, ReStyle and StyleGANEX.

Residual blocks as in ResNet-50's stages, normalised before the first convolution ("improved
residual") and gated by squeeze-and-excitation (Hu et al. 2018). IR-50 is the same without gates.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidhair.models.backbones.backbone import Backbone
from vidhair.models.folding import affine, convolution, folded, normalised

WIDTHS = (64, 128, 256, 512)
UNITS = (3, 4, 14, 3)  # blocks per stage; every stage halves the size
SQUEEZE = 16  # channels per channel of the gate


class Gate(nn.Module):
    """Squeeze-and-excitation: scales every channel by a function of all channels' means."""

    def __init__(self, width: int):
        super().__init__()
        hidden = max(1, width // SQUEEZE)
        self.squeeze = nn.Conv2d(width, hidden, 1, bias=False)
        self.excite = nn.Conv2d(hidden, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.shares(x)

    def shares(self, x: Tensor) -> Tensor:
        """What of each channel passes: [B, C, 1, 1]."""
        hidden = F.linear(x.mean((2, 3)), self.squeeze.weight.flatten(1)).relu()
        return F.linear(hidden, self.excite.weight.flatten(1)).sigmoid()[..., None, None]


class IRSEBlock(nn.Module):
    """Two convolutions and a gate beside a shortcut; the second convolution may halve the size.

    gated: whether there is a gate.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, gated: bool = True):
        super().__init__()
        self.stride = stride
        self.main = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        if gated:
            self.main.append(Gate(outputs))
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.main(x) + _beside(x, self.shortcut, self.stride)
        return result

    def folded(self) -> "FoldedIRSEBlock":
        return FoldedIRSEBlock(self)


def _beside(x: Tensor, shortcut: nn.Module | None, stride: int) -> Tensor:
    """Every stride-th pixel, through a convolution where the width changes. It has no stride of its
    own: oneDNN's gradient of such a one with few channels kills the process."""
    x = x[..., ::stride, ::stride]
    return x if shortcut is None else shortcut(x)


class FoldedIRSEBlock(nn.Module):
    """An IRSEBlock without normalisations.

    What the first one adds reaches a pixel through those taps that lie within the map: all of them
    as the bias of the convolution, and those beyond the border are taken off again.
    """

    borders: Tensor
    corners: Tensor

    def __init__(self, block: IRSEBlock):
        super().__init__()
        norm, first, activation, second, last, *gates = block.main
        assert isinstance(norm, nn.BatchNorm2d) and isinstance(last, nn.BatchNorm2d)
        assert isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)
        scale, shift = affine(norm)
        added = torch.einsum("ocij,c->oij", first.weight.double(), shift)
        weight = first.weight * scale[:, None, None]
        self.first = convolution(weight, added.sum((1, 2)), like=first)
        self.activation = activation
        self.gate: Gate | None = None
        for gate in gates:
            assert isinstance(gate, Gate)
            self.gate = gate
        self.second = normalised(second, last)
        self.stride = block.stride
        self.shortcut = None if block.shortcut is None else folded(block.shortcut)
        borders = torch.stack([added.sum(2)[:, ::2], added.sum(1)[:, ::2]]).transpose(1, 2)
        # [rows or columns, first or last, C], and [first or last row, column, C].
        self.register_buffer("borders", borders.float())
        self.register_buffer("corners", added[:, ::2, ::2].permute(1, 2, 0).float())

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self._within(self.first(x)))
        y, beside = self.second(y), _beside(x, self.shortcut, self.stride)
        return beside + y if self.gate is None else torch.addcmul(beside, y, self.gate.shares(y))

    def _within(self, y: Tensor) -> Tensor:
        borders, corners = self.borders.to(y.dtype), self.corners.to(y.dtype)
        for end in (0, -1):
            y[:, :, end] -= borders[0, end][:, None]
            y[..., end] -= borders[1, end][:, None]
            # The outer tap of a corner has been taken off twice.
            y[:, :, end, 0] += corners[end, 0]
            y[:, :, end, -1] += corners[end, -1]
        return y


def irse50(
    in_channels: int = 3,
    *,
    widths: tuple[int, ...] = WIDTHS,
    units: tuple[int, ...] = UNITS,
    gated: bool = True,
) -> Backbone:
    """Blocks 0 … 23; the stages end with 2, 6, 20 and 23 at 1/2, 1/4, 1/8 and 1/16 of the size."""
    stem = nn.Sequential(
        nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.PReLU(widths[0]),
    )
    stages = [
        [
            IRSEBlock(before if unit == 0 else width, width, 1 + (unit == 0), gated=gated)
            for unit in range(count)
        ]
        for (before, width), count in zip(pairwise((widths[0], *widths)), units, strict=True)
    ]
    return Backbone(stem, stages, widths)
