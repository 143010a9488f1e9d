"""What the convolutional backbones have in common: a stem, numbered blocks, and taps."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from torch import Tensor, nn

STEM = -1  # the tap before the first block


class Backbone(nn.Module):
    """A stem and a row of residual blocks in stages; every stage has its own width.

    Published encoders are described by the numbers of the blocks whose outputs they use ("body
    20"); the same numbers are used here.
    """

    def __init__(
        self, stem: nn.Module, stages: Sequence[Sequence[nn.Module]], widths: tuple[int, ...]
    ):
        super().__init__()
        self.stem = stem
        self.blocks = nn.ModuleList(block for stage in stages for block in stage)
        self.widths = widths
        self.stage_ends = tuple(end - 1 for end in accumulate(len(stage) for stage in stages))

    def width_at(self, tap: int) -> int:
        """Channels of the output of a block, or of the stem."""
        return self.widths[bisect_left(self.stage_ends, tap)]

    def forward(self, image: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """[B, C, H, W] → the outputs of the blocks numbered in `taps`, in the order asked for.

        STEM asks for the stem's output. Blocks after the last one asked for do not run.
        """
        return self.after_stem(self.stem(image), taps)

    def after_stem(self, x: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """Like `forward`, from what a stem, this one or another, has made of a picture."""
        assert taps and min(taps) >= STEM and max(taps) < len(self.blocks), (
            f"taps {tuple(taps)} of {len(self.blocks)} blocks"
        )
        kept = {STEM: x}
        for number in range(max(taps) + 1):
            x = self.blocks[number](x)
            if number in taps:
                kept[number] = x
        return [kept[tap] for tap in taps]
