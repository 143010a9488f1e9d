"""What edits have in common. T frames, L codes per frame, D width of a code."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.checkpoints.packs import PackFiles
from vidhair.edits.latents import along
from vidhair.errors import InvalidSetting
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.faces.effects import Effect, FaceEffects
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.models.pack import Pack
from vidhair.settings import Curve, identity
from vidhair.stages.align import FaceTrack
from vidhair.stages.difference import FaceEffect, FaceMotion, motion_of, seen_effect
from vidhair.stages.render import Codes
from vidhair.stages.steady_face import SteadyFace, face_of
from vidhair.types import Clip
from vidhair.wiring import Makers, Series, Value, makers, stage


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Base of all edits. kind: its name in recipes; the fields are its settings. reshapes: whether
    what a later edit takes is no longer where it was in the frames. covers_face: whether hair that
    it draws may come before the face. whole_frames: whether it makes all of the `composed` frames,
    of those that the edits of persons leave.

    What it changes is made by stages that are methods of it, so its identity is in their keys.
    """

    kind: ClassVar[str]
    reshapes: ClassVar[bool] = False
    covers_face: ClassVar[bool] = True
    whole_frames: ClassVar[bool] = False

    @property
    def in_frames(self) -> bool:
        """Whether it can do without a generator, making its `layer` of the frames alone."""
        return False

    @property
    def note(self) -> str:
        """What a person should know of how it is made without one; empty for nothing."""
        return ""

    @property
    def keeps_hair(self) -> bool:
        """Whether no hair goes with it, where it is drawn."""
        return False

    @property
    def painted_over(self) -> bool:
        """Whether it takes a picture that lies over one of the clip's frames."""
        return False

    @property
    def facial(self) -> tuple[str, ...]:
        """Which parts of `facial_hair` it changes."""
        return ()

    @property
    def moves_face(self) -> bool:
        """Whether it is known to change the face alone, and by moving what the frames show."""
        return False

    def served_by(self, files: PackFiles) -> bool:
        """Whether a pack has what it asks for beside the networks that its stages take."""
        return True

    def lender(self, files: PackFiles) -> PackFiles | None:
        """The pack that ships for this edit, where a pack has nothing in its place."""
        return None

    def for_pack(self, pack: Pack) -> "Edit":
        """The edit that is made with a pack: itself, or another that a setting stands for."""
        return self

    def identity(self) -> dict[str, Any]:
        """What results depend on, as plain values. Raises the errors of what cannot be read."""
        return {"kind": self.kind, **identity(self)}

    def check(self, pack: Pack, place: str) -> None:
        """Refuse what cannot be made, before any work. place: of the edit, in messages.

        Raises InvalidSetting.
        """

    def check_clip(self, clip: Clip, place: str) -> None:
        """Refuse what does not fit a clip, likewise."""

    def check_drawn(self, pack: Pack, place: str) -> None:
        """Refuse what has no effect in a recipe that draws its frames, likewise."""

    def check_moved(self, place: str) -> None:
        """Refuse what cannot be shown by moving the source's own pixels, likewise."""
        raise InvalidSetting(
            f"{place}.kind = {self.kind!r} needs more than to move the face's own pixels, as "
            "compose.mode = 'difference' does; use replace"
        )

    def check_dyed_over(self, place: str) -> None:
        """Refuse what has no effect where a later edit makes the `layer`, likewise."""

    def makers(self) -> Makers:
        """Who makes the values that this edit adds or replaces.

        Most make `edited_codes` of `codes`, which are those that the former edit left; see
        `vidhair.edits.stack` for what else goes from edit to edit.
        """
        return {}


@dataclass(frozen=True)
class Strength(Value):
    """How far an edit goes, in its own unit. values: [T] float32."""

    ROWS = ("values",)
    values: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class GradedEdit(Edit):
    """An edit that is made by degrees. degree: the setting that says how far."""

    degree: ClassVar[str] = "strength"

    @stage(keep=False)
    def over_time(self, clip: Clip) -> Strength:
        degree: float | Curve = getattr(self, self.degree)
        curve = degree if isinstance(degree, Curve) else Curve([(0.0, degree)])
        seconds = clip.seconds_T - clip.seconds_T[0]
        return Strength(curve.at(seconds).astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class FaceEdit(GradedEdit):
    """A direction that may be followed by the generator, or by the source's own pixels."""

    def check_moved(self, place: str) -> None:
        pass

    @property
    def part(self) -> tuple[int, ...]:
        """Points of the mesh of the part of the face that it is for; none if that is not known."""
        return ()

    def told(self, known: FaceEffects) -> Effect | None:
        """Its effect, if the pack tells it."""
        return None

    def change(self, generator: MovableGenerator, space: AttributeSpace | None) -> Tensor:
        """Of a generator's codes, by one unit, [D] or [L, D]."""
        raise NotImplementedError

    def motion_makers(self) -> dict[str, Any]:
        return makers(face_effect=self.face_effect, face_motion=self.face_motion)

    @stage(version=2)
    def face_effect(
        self,
        track: Series[FaceTrack],
        generator: MovableGenerator,
        space: AttributeSpace | None,
        known: FaceEffects | None,
    ) -> FaceEffect:
        effect = None if known is None else self.told(known)
        if effect is not None:
            return FaceEffect.of_effect(effect, self.part, -1)
        most = self.furthest or 1.0
        step = self.change(generator, space)
        effect, seen = seen_effect(generator, space, most * step, face_of(track))
        return FaceEffect.of_effect(effect.times(1 / most), self.part, seen)

    @property
    def furthest(self) -> float:
        """The degree that is furthest from none."""
        degree: float | Curve = getattr(self, self.degree)
        return max(degree.values, key=abs) if isinstance(degree, Curve) else degree

    @stage(keep=False)
    def face_motion(
        self,
        track: FaceTrack,
        steady_face: SteadyFace,
        former_motion: FaceMotion,
        strength: Strength,
        face_effect: FaceEffect,
    ) -> FaceMotion:
        mesh = steady_face.mesh
        return motion_of(face_effect, strength.values, track, mesh, former_motion)


def moved(codes: Codes, track: FaceTrack, strength: Strength, change: NDArray[np.float32]) -> Codes:
    """Where there is a face, by so much of a change [D] or [L, D], or one per frame [T, L, D]."""
    seen = track.present[:, None, None]
    given, degree, step = map(torch.from_numpy, (codes.styles, strength.values, change))
    return Codes(np.where(seen, along(given, step, degree[:, None, None]).numpy(), codes.styles))


def has_attribute(files: PackFiles, name: str) -> bool:
    part = files.parts.get("attributes")
    return part is not None and name in part.config.get("names", ())


def check_attributes(edit: Edit, names: Sequence[str], pack: Pack, place: str) -> None:
    """Raises InvalidSetting if a pack does not have the attributes that an edit moves."""
    space = pack.attributes
    if space is None:
        raise InvalidSetting(
            f"{place}.kind = {edit.kind!r} needs a pack with attributes; choose another pack"
        )
    missing = [name for name in names if name not in space.names]
    if missing:
        raise InvalidSetting(
            f"{place}.kind = {edit.kind!r} needs the attribute {missing[0]!r}, which this pack "
            "does not have; choose another pack"
        )
