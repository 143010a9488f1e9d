"""What edits have in common that change the layers' styles, the S space: one change for all frames.

C channels of all layers' styles, one after the other.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.edits.edit import GradedEdit, Strength
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.models.generators.sampling import style_statistics
from vidhair.stages.render import Codes, DrawnChange
from vidhair.wiring import Makers, Series, Value, makers, stage

SAMPLES = 2000  # random codes by which the channels' spread is told
# Of those codes, as StyleCLIP takes its statistics.
TRUNCATION, TRUNCATED_CODES = 0.5, 8


@dataclass(frozen=True)
class StyleSpread(Value):
    """How the styles of random faces differ. deviation: [C]; sizes: channels of every layer, in the
    order in which they run; to_color: which of them draw colors."""

    deviation: NDArray[np.float32]
    sizes: NDArray[np.int64]
    to_color: NDArray[np.bool_]


@stage()
def style_spread(generator: MovableGenerator) -> StyleSpread:
    _, deviation = style_statistics(generator, SAMPLES, TRUNCATION, TRUNCATED_CODES)
    sizes, to_color = style_sizes(generator), generator.synthesis.to_color()
    return StyleSpread(deviation.numpy(), np.array(sizes), np.array(to_color))


@torch.inference_mode()
def style_sizes(generator: MovableGenerator) -> list[int]:
    """Channels of every layer's style, in order of execution."""
    config, average = generator.config, generator.mapping.w_avg
    codes = average.expand(1, config.num_ws, -1)
    return [style.shape[1] for style in generator.synthesis.styles(codes)]


@dataclass(frozen=True, kw_only=True)
class StyleEdit(GradedEdit):
    """`style_change` tells the change, by the spread of the channels."""

    def makers(self) -> Makers:
        return makers(
            strength=self.over_time, edited_codes=self.same_codes, drawn_change=self.of_styles
        )

    def style_change(self, spread: StyleSpread) -> NDArray[np.float32]:
        """Of one unit of strength, [C]."""
        raise NotImplementedError

    @stage(keep=False)
    def same_codes(self, codes: Codes) -> Codes:
        return codes

    @stage(keep=False)
    def of_styles(
        self,
        style_spread: StyleSpread,
        strength: Series[Strength],
        former_drawn: Series[DrawnChange],
    ) -> DrawnChange:
        change = self.style_change(style_spread)
        return former_drawn.whole().with_styles(strength.field("values"), change)
