"""What edits have in common that add the same change to the codes of all frames."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidhair.edits.edit import FaceEdit, Strength, moved
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.stages.align import FaceTrack
from vidhair.stages.render import Codes
from vidhair.wiring import Makers, Value, makers, stage


@dataclass(frozen=True)
class CodeStep(Value):
    """What one unit of an edit adds. codes: [L, D], zero for codes that stay."""

    codes: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SteppedEdit(FaceEdit):
    """`change` tells the step, by the generator alone."""

    def makers(self) -> Makers:
        own = makers(self.code_step, strength=self.over_time, edited_codes=self.stepped)
        return {**own, **self.motion_makers()}

    @stage(keep=False)
    def code_step(self, generator: MovableGenerator) -> CodeStep:
        return CodeStep(self.change(generator, None).cpu().numpy())

    @stage(keep=False)
    def stepped(
        self, codes: Codes, track: FaceTrack, strength: Strength, code_step: CodeStep
    ) -> Codes:
        return moved(codes, track, strength, code_step.codes)
