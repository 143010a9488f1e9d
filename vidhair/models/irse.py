"""IR-SE50, the backbone of ArcFace (Deng et al. 2019), pSp, e4e, ReStyle and StyleGANEX.

Residual blocks as in ResNet-50's stages, normalised before the first convolution ("improved
residual") and gated by squeeze-and-excitation (Hu et al. 2018).
"""

from itertools import pairwise

from torch import Tensor, nn

from vidhair.models.backbone import Backbone

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
        means = x.mean((2, 3), keepdim=True)
        return x * self.excite(self.squeeze(means).relu()).sigmoid()


class IRSEBlock(nn.Module):
    """Two convolutions and a gate beside a shortcut; the second convolution may halve the size."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.stride = stride
        self.main = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            Gate(outputs),
        )
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        # Where the width stays, the shortcut keeps every stride-th pixel.
        beside = (
            x[..., :: self.stride, :: self.stride] if self.shortcut is None else self.shortcut(x)
        )
        return self.main(x) + beside


def irse50(
    in_channels: int = 3, *, widths: tuple[int, ...] = WIDTHS, units: tuple[int, ...] = UNITS
) -> Backbone:
    """Blocks 0 … 23; the stages end with 2, 6, 20 and 23 at 1/2, 1/4, 1/8 and 1/16 of the size."""
    stem = nn.Sequential(
        nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.PReLU(widths[0]),
    )
    stages = [
        [IRSEBlock(before if unit == 0 else width, width, 1 + (unit == 0)) for unit in range(count)]
        for (before, width), count in zip(pairwise((widths[0], *widths)), units, strict=True)
    ]
    return Backbone(stem, stages, widths)
