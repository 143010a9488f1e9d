"""How far an edit shows in every frame."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from vidhair.stages.align import FaceTrack
from vidhair.stages.render import (
    Codes,
    DrawnChange,
)
from vidhair.types import Clip
from vidhair.wiring import Derived, Series, Setting, ranges, stage


def strengths(
    certainty: NDArray[np.float64],
    seconds: NDArray[np.float64],
    begins: NDArray[np.bool_],
    fade_seconds: float,
) -> NDArray[np.float64]:
    """How far an edit shows in every frame, [T] in 0 … 1.

    certainty: [T] in 0 … 1, 0 where the face is absent; begins: [T] bool, where shots begin. Within
    a shot it changes by no more than one in `fade_seconds`, and it is nowhere above the certainty.
    """
    strength = np.array(certainty, np.float64)
    shot = np.cumsum(begins)
    order = range(len(strength))
    for frames, step in ((order, -1), (order[::-1], 1)):
        for frame in frames[1:]:
            other = frame + step
            if shot[other] == shot[frame] and fade_seconds > 0:
                most = strength[other] + abs(seconds[frame] - seconds[other]) / fade_seconds
                strength[frame] = min(strength[frame], most)
    return strength


@dataclass(frozen=True)
class Fade(Derived):
    """strength: [T] in 0 … 1, how far the edit shows."""

    ROWS = ("strength",)
    strength: NDArray[np.float64]

    def rows(self, start: int, stop: int) -> "Fade":
        return Fade(self.strength[start:stop])


@stage(version=2, keep=False)
def fade(
    track: Series[FaceTrack],
    clip: Clip,
    fade_seconds: Annotated[float, Setting("compose.fade_seconds")],
) -> Fade:
    """To the source, where the face comes, goes, turns its back or is hidden by a nearer one."""
    seen = [track.rows(*some).sight for some in ranges(track.count)]
    return _faded(seen, track, clip, fade_seconds)


@stage(keep=False)
def fade_of_fronts(
    track: Series[FaceTrack],
    clip: Clip,
    fade_seconds: Annotated[float, Setting("compose.fade_seconds")],
) -> Fade:
    """The same for what is drawn as it is from the front: where the face turns away."""
    seen = [track.rows(*some).certainty for some in ranges(track.count)]
    return _faded(seen, track, clip, fade_seconds)


@stage(keep=False)
def fade_of_edits(
    track: Series[FaceTrack],
    codes: Series[Codes],
    edited_codes: Series[Codes],
    drawn_change: Series[DrawnChange],
    clip: Clip,
    fade_seconds: Annotated[float, Setting("compose.fade_seconds")],
) -> Fade:
    """The same again, and where no edit changes anything: a drawn head would replace its like."""
    seen = []
    for some in ranges(track.count):
        changed = (codes.rows(*some).styles != edited_codes.rows(*some).styles).any((1, 2))
        more = drawn_change.rows(*some)
        changed |= (more.strength != 0).any(1) & (not more.is_none)
        seen.append(track.rows(*some).certainty * changed)
    return _faded(seen, track, clip, fade_seconds)


def _faded(
    certainty: list[NDArray[np.float64]], track: Series[FaceTrack], clip: Clip, fade_seconds: float
) -> Fade:
    begins = track.field("cuts")
    return Fade(strengths(np.concatenate(certainty), clip.seconds_T, begins, fade_seconds))
