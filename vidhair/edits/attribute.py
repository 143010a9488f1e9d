"""One attribute of the face, as the pack knows it."""

from dataclasses import dataclass

from torch import Tensor

from vidhair.checkpoints.packs import PackFiles
from vidhair.edits.edit import FaceEdit, Strength, check_attributes, has_attribute, moved
from vidhair.errors import InvalidSetting
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.faces.effects import Effect, FaceEffects, part_of
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.models.pack import Pack
from vidhair.settings import Curve, setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.render import Codes
from vidhair.wiring import Makers, makers, stage


@dataclass(frozen=True, kw_only=True)
class Attribute(FaceEdit):
    kind = "attribute"
    name: str = setting("smile", "an attribute of the pack")
    strength: float | Curve = setting(
        0.8, "change, in units of the attribute, or a curve of it over time", low=-5.0, high=5.0
    )

    def served_by(self, files: PackFiles) -> bool:
        return has_attribute(files, self.name)

    def check(self, pack: Pack, place: str) -> None:
        check_attributes(self, [], pack, place)
        space = pack.attributes
        if space is not None and self.name not in space.names:
            raise InvalidSetting(
                f"{place}.name = {self.name!r} is no attribute of this pack; it has "
                f"{', '.join(space.names)}"
            )

    def makers(self) -> Makers:
        own = makers(strength=self.over_time, edited_codes=self.shifted)
        return {**own, **self.motion_makers()}

    @property
    def moves_face(self) -> bool:
        return bool(self.part) and "colo" not in self.name.lower()

    @property
    def part(self) -> tuple[int, ...]:
        return part_of(self.name)

    def told(self, known: FaceEffects) -> Effect | None:
        return known.of(self.name)

    def change(self, generator: MovableGenerator, space: AttributeSpace | None) -> Tensor:
        assert space is not None
        return space.direction(self.name)

    @stage(keep=False)
    def shifted(
        self, codes: Codes, track: FaceTrack, strength: Strength, space: AttributeSpace | None
    ) -> Codes:
        assert space is not None
        return moved(codes, track, strength, space.direction(self.name).numpy())
