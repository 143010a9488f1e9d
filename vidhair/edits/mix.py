"""Style mixing (Karras et al. 2019, section 3.1): some codes are those of somebody else."""

from dataclasses import dataclass

import numpy as np

from vidhair.edits.edit import Strength, moved
from vidhair.edits.latent_file import EditFromFile
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.settings import Curve, setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.render import Codes
from vidhair.wiring import Makers, makers, stage


@dataclass(frozen=True, kw_only=True)
class Mix(EditFromFile):
    kind = "mix"
    strength: float | Curve = setting(
        1.0, "share of the way to the codes in the file, or a curve of it over time",
        low=-1.0, high=2.0,
    )  # fmt: skip

    def makers(self) -> Makers:
        return makers(strength=self.over_time, edited_codes=self.mixed)

    @stage(keep=False)
    def mixed(
        self, codes: Codes, track: FaceTrack, strength: Strength, generator: MovableGenerator
    ) -> Codes:
        rows, layers = self.rows(generator.config)
        change = np.zeros_like(codes.styles)
        change[:, layers] = rows.numpy() - codes.styles[:, layers]
        return moved(codes, track, strength, change)
