"""ResNets of basic blocks (He et al. 2016), with the stems of ReStyle and of BiSeNet."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from vidhair.models.backbones.backbone import Backbone

WIDTHS = (64, 128, 256, 512)
UNITS_18 = (2, 2, 2, 2)
UNITS_34 = (3, 4, 6, 3)


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut; the first may halve the size."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = (self.main(x) + self.shortcut(x)).relu()
        return result


def _stages(widths: Sequence[int], units: Sequence[int]) -> list[list[BasicBlock]]:
    """Every stage but the first begins by halving the size."""
    stages = []
    for k, ((before, width), count) in enumerate(
        zip(pairwise((widths[0], *widths)), units, strict=True)
    ):
        first = BasicBlock(before, width, stride=2 if k else 1)
        stages.append([first, *(BasicBlock(width, width, 1) for _ in range(count - 1))])
    return stages


def _first_convolution(in_channels: int, width: int) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
    return convolution, nn.BatchNorm2d(width)


def resnet34(
    in_channels: int = 3, *, widths: tuple[int, ...] = WIDTHS, units: tuple[int, ...] = UNITS_34
) -> Backbone:
    """ReStyle's (Alaluf et al. 2021): PReLU and no pooling in the stem.

    Blocks 0 … 15; the stages end with 2, 6, 12 and 15 at 1/2, 1/4, 1/8 and 1/16 of the size.
    """
    stem = nn.Sequential(*_first_convolution(in_channels, widths[0]), nn.PReLU(widths[0]))
    return Backbone(stem, _stages(widths, units), widths)


def resnet18(
    in_channels: int = 3, *, widths: tuple[int, ...] = WIDTHS, units: tuple[int, ...] = UNITS_18
) -> Backbone:
    """The original, without its classifier.

    Blocks 0 … 7; the stages end with 1, 3, 5 and 7 at 1/4, 1/8, 1/16 and 1/32 of the size.
    """
    pool = nn.MaxPool2d(3, stride=2, padding=1)
    stem = nn.Sequential(*_first_convolution(in_channels, widths[0]), nn.ReLU(), pool)
    return Backbone(stem, _stages(widths, units), widths)
