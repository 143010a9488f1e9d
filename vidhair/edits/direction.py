"""Along a direction that others published, such as InterFaceGAN's."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vidhair.edits.edit import FaceEdit, Strength, moved
from vidhair.edits.latent_file import EditFromFile
from vidhair.edits.latents import along_in_codes
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.settings import Curve, setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.render import Codes
from vidhair.wiring import Makers, makers, stage


@dataclass(frozen=True, kw_only=True)
class Direction(EditFromFile, FaceEdit):
    kind = "direction"
    strength: float | Curve = setting(
        1.0, "how far, in lengths of the direction, or a curve of it over time", low=-100, high=100
    )

    def makers(self) -> Makers:
        own = makers(strength=self.over_time, edited_codes=self.directed)
        return {**own, **self.motion_makers()}

    @stage(keep=False)
    def directed(self, codes: Codes, track: FaceTrack, strength: Strength) -> Codes:
        _, count, width = codes.styles.shape
        return moved(codes, track, strength, self.change(count, width, None).numpy())

    def change(self, count: int, width: int, space: AttributeSpace | None) -> Tensor:
        rows, layers = self.rows(count)
        return along_in_codes(torch.zeros(1, count, width), rows, 1.0, layers)[0]
