"""Along a direction that others published, such as InterFaceGAN's, or that was found here."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vidhair.edits.latent_file import EditFromFile
from vidhair.edits.latents import along_in_codes
from vidhair.edits.stepped import SteppedEdit
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.settings import Curve, setting


@dataclass(frozen=True, kw_only=True)
class Direction(EditFromFile, SteppedEdit):
    kind = "direction"
    strength: float | Curve = setting(
        1.0, "how far, in lengths of the direction, or a curve of it over time", low=-100, high=100
    )

    def change(self, generator: MovableGenerator, space: AttributeSpace | None) -> Tensor:
        config = generator.config
        rows, layers = self.rows(config)
        still = torch.zeros(1, config.num_ws, config.w_dim)
        return along_in_codes(still, rows, 1.0, layers)[0]
