"""No hair, by a pack's mapper or else by its attributes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidhair.edits.edit import GradedEdit, Strength, check_attributes, moved
from vidhair.edits.latents import add_change
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.mappers import BaldMapper
from vidhair.models.pack import Pack
from vidhair.settings import Curve, setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.render import Codes
from vidhair.stages.smooth import ShotCodes, means_of_shots
from vidhair.wiring import Makers, Series, makers, stage

# What makes a head bald; the rest of the hair's attributes no longer matter then.
NO_HAIR = {
    "hair_volume": 0.0, "hair_length": 0.0, "hair_wave": 0.0, "hair_fringe": 0.0,
    "hair_bun": 0.0, "hair_curl": 0.0, "hair_lift": 0.0,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bald(GradedEdit):
    kind = "bald"
    strength: float | Curve = setting(
        1.0, "share of the way to no hair, or a curve of it over time", low=0.0, high=2.0
    )

    def check(self, pack: Pack, place: str) -> None:
        if not pack.has("bald_mapper"):
            check_attributes(self, list(NO_HAIR), pack, place)

    def makers(self) -> Makers:
        return makers(
            strength=self.over_time, shot_changes=self.shot_changes, edited_codes=self.bared
        )

    @stage()
    def shot_changes(
        self,
        codes: Series[Codes],
        track: Series[FaceTrack],
        space: AttributeSpace | None,
        bald: BaldMapper | None,
    ) -> ShotCodes:
        """One change per shot, from its mean code: hair does not come and go with the pose."""
        means = means_of_shots(codes, track)
        changes = np.zeros_like(means.styles)
        for index in np.unique(means.shot[track.field("present")]):
            mean = torch.from_numpy(means.styles[index])
            changes[index] = towards_bald(mean, space, bald).numpy()
        return ShotCodes(changes, means.shot)

    @stage(version=2, keep=False)
    def bared(
        self, codes: Codes, track: FaceTrack, strength: Strength, shot_changes: ShotCodes
    ) -> Codes:
        return moved(codes, track, strength, shot_changes.styles[shot_changes.shot])


def towards_bald(code: Tensor, space: AttributeSpace | None, bald: BaldMapper | None) -> Tensor:
    """The change of a code [L, D] that takes the hair off, [L, D] or [D]."""
    if bald is None:
        assert space is not None
        return space.towards(code, NO_HAIR)
    device = next(bald.parameters()).device
    with torch.inference_mode():
        change = bald(code[None].to(device)).cpu()
        return add_change(torch.zeros_like(code)[None], change, bald.strength)[0]
