"""Longer or shorter hair, a fringe, waves, volume: one attribute of the pack each."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vidhair.checkpoints.packs import PackFiles
from vidhair.edits.edit import GradedEdit, Strength, check_attributes, has_attribute, moved
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.pack import Pack
from vidhair.settings import Curve, setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.render import Codes
from vidhair.wiring import Makers, makers, stage


@dataclass(frozen=True, kw_only=True)
class HairAttribute(GradedEdit):
    """attribute: its name in packs. unit: how much of it an amount of one is."""

    degree = "amount"
    attribute: ClassVar[str]
    unit: ClassVar[float] = 1.0
    amount: float | Curve = setting(0.5, "how much more, or a curve of it over time")

    def served_by(self, files: PackFiles) -> bool:
        return has_attribute(files, self.attribute)

    def check(self, pack: Pack, place: str) -> None:
        check_attributes(self, [self.attribute], pack, place)

    def makers(self) -> Makers:
        return makers(strength=self.over_time, edited_codes=self.shifted)

    @stage(keep=False)
    def shifted(
        self, codes: Codes, track: FaceTrack, strength: Strength, space: AttributeSpace | None
    ) -> Codes:
        assert space is not None
        change = np.float32(self.unit) * space.direction(self.attribute).numpy()
        return moved(codes, track, strength, change)


@dataclass(frozen=True, kw_only=True)
class HairLength(HairAttribute):
    kind = "hair_length"
    attribute = "hair_length"
    amount: float | Curve = setting(
        0.5,
        "how much longer (1 is from the chin to below the shoulders), or a curve of it over time",
        low=-1.5,
        high=1.5,
    )


@dataclass(frozen=True, kw_only=True)
class Fringe(HairAttribute):
    kind = "fringe"
    attribute = "hair_fringe"
    amount: float | Curve = setting(
        0.9,
        "how much more of a fringe (1 is from none to the brows), or a curve of it over time",
        low=-1.5,
        high=1.5,
    )


@dataclass(frozen=True, kw_only=True)
class Wave(HairAttribute):
    kind = "wave"
    attribute = "hair_wave"
    amount: float | Curve = setting(
        0.7,
        "how much wavier (1 is from straight to wavy), or a curve of it over time",
        low=-1.5,
        high=1.5,
    )


@dataclass(frozen=True, kw_only=True)
class Volume(HairAttribute):
    kind = "volume"
    attribute = "hair_volume"
    unit = 0.1
    amount: float | Curve = setting(
        0.5,
        "how much more volume (1 is from flat to full), or a curve of it over time",
        low=-1.5,
        high=1.5,
    )
