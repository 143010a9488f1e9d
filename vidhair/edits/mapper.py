"""What a latent mapper of StyleCLIP makes of a person (Patashnik et al. 2021, section 5)."""

from dataclasses import dataclass

import numpy as np
import torch

from vidhair.edits.edit import GradedEdit, Strength, moved
from vidhair.errors import InvalidSetting
from vidhair.models.mappers import STYLECLIP_STRENGTH
from vidhair.models.pack import Mappers, Pack
from vidhair.settings import Curve, setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.render import Codes
from vidhair.stages.smooth import ShotCodes, means_of_shots
from vidhair.wiring import Makers, Series, makers, stage


@dataclass(frozen=True, kw_only=True)
class Mapper(GradedEdit):
    kind = "mapper"
    name: str = setting("", "of a mapper in the pack; needed if it has several")
    strength: float | Curve = setting(
        1.0, "how far, 1 as it was trained, or a curve of it over time", low=-10.0, high=10.0
    )

    def check(self, pack: Pack, place: str) -> None:
        there = pack.mappers.names
        if not there:
            raise InvalidSetting(
                f"{place}.kind = 'mapper' needs a pack with a mapper of StyleCLIP; "
                "`vidhair models convert` makes one of its file and a generator's"
            )
        if self.name not in there and (self.name or len(there) > 1):
            raise InvalidSetting(
                f"{place}.name = {self.name!r} is no mapper of this pack; it has {', '.join(there)}"
            )

    def makers(self) -> Makers:
        return makers(
            strength=self.over_time, shot_changes=self.shot_changes, edited_codes=self.mapped
        )

    @stage()
    def shot_changes(
        self, codes: Series[Codes], track: Series[FaceTrack], mappers: Mappers
    ) -> ShotCodes:
        """One change per shot, of its mean code: what is changed does not waver with the pose."""
        means = means_of_shots(codes, track)
        network = mappers.build(self.name or mappers.names[0])
        device = next(network.parameters()).device
        changes = np.zeros_like(means.styles)
        for index in np.unique(means.shot[track.field("present")]):
            code = torch.from_numpy(means.styles[index])[None].to(device)
            with torch.inference_mode():
                changes[index] = STYLECLIP_STRENGTH * network(code)[0].cpu().numpy()
        return ShotCodes(changes, means.shot)

    @stage(keep=False)
    def mapped(
        self, codes: Codes, track: FaceTrack, strength: Strength, shot_changes: ShotCodes
    ) -> Codes:
        return moved(codes, track, strength, shot_changes.styles[shot_changes.shot])
