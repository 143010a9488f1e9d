"""Longer or shorter hair, by the pack's attribute."""

from dataclasses import dataclass

from vidhair.edits.edit import GradedEdit, Strength, check_attributes, moved
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.pack import Pack
from vidhair.settings import Curve, setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.render import Codes
from vidhair.wiring import Makers, makers, stage

NAME = "hair_length"


@dataclass(frozen=True, kw_only=True)
class HairLength(GradedEdit):
    kind = "hair_length"
    degree = "amount"
    amount: float | Curve = setting(
        0.5,
        "how much longer (1 is from the chin to below the shoulders), or a curve of it over time",
        low=-1.5,
        high=1.5,
    )

    def check(self, pack: Pack, place: str) -> None:
        check_attributes(self, [NAME], pack, place)

    def makers(self) -> Makers:
        return makers(strength=self.over_time, edited_codes=self.lengthened)

    @stage(keep=False)
    def lengthened(
        self, codes: Codes, track: FaceTrack, strength: Strength, space: AttributeSpace | None
    ) -> Codes:
        assert space is not None
        return moved(codes, track, strength, space.direction(NAME).numpy())
