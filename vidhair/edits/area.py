"""Where an edit is allowed: painted on one frame, and carried along with the head."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from vidhair.errors import InvalidSetting
from vidhair.geometry import CropAxes, Grid
from vidhair.media import read_matte
from vidhair.stages.align import FaceTrack
from vidhair.types import Clip
from vidhair.wiring import Series, Value, stage


@dataclass(frozen=True)
class PaintedArea(Value):
    """levels: uint8 [H, W], 255 where the edit is allowed, over a frame in which the face's crop
    has this centre and x axis, [2] each; [0, 0] for no limit."""

    levels: NDArray[np.uint8]
    centre: NDArray[np.float64]
    x: NDArray[np.float64]

    @classmethod
    def on_frame(cls, path: str, frame: int, track: Series[FaceTrack], place: str) -> "PaintedArea":
        """Read from a picture that was painted on a frame. place: of the setting of that.

        Raises InvalidSetting if the frame does not show the person.
        """
        one = track.rows(frame, frame + 1)
        if not one.present[0]:
            seen = np.flatnonzero(track.field("present"))
            nearest = seen[np.abs(seen - frame).argmin()]
            raise InvalidSetting(
                f"{place} = {frame} does not show the face of whoever is edited, with which the "
                f"area moves along; paint on another frame, such as {nearest}"
            )
        return cls(read_matte(path), one.axes.centre[0], one.axes.x[0])

    def on(self, axes: CropAxes, grid: Grid) -> torch.Tensor:
        """[1, 1, h, w] in 0 … 1 on a grid, where the face has moved to. axes: of one face, [1, 2].

        The similarity that takes the one crop to the other takes the area along. Beyond the frame
        it goes on as at its border.
        """
        if not self.levels.size:
            return torch.ones(1, 1, 1, 1)
        to, there, x, centre = (
            float(v[..., 0].item()) + 1j * float(v[..., 1].item())
            for v in (axes.centre, axes.x, self.x, self.centre)
        )
        columns, rows = (
            start + (torch.arange(n) + 0.5) * grid.step
            for n, start in ((grid.width, grid.left), (grid.height, grid.top))
        )
        # As complex numbers, u + iv on the frame it was painted on of x + iy here.
        turn = x / there
        u = turn.real * (columns - to.real)[None] - turn.imag * (rows - to.imag)[:, None]
        v = turn.imag * (columns - to.real)[None] + turn.real * (rows - to.imag)[:, None]
        high, wide = self.levels.shape
        at = torch.stack([(u + centre.real) * 2 / wide - 1, (v + centre.imag) * 2 / high - 1], -1)
        painted = torch.from_numpy(self.levels)[None, None].float() / 255
        share: torch.Tensor = F.grid_sample(
            painted, at[None].float(), padding_mode="border", align_corners=False
        )
        return share


def check_area(path: str, place: str) -> None:
    """Refuse an area that allows nothing. place: of the setting. Raises InvalidSetting, or the
    errors of what is no picture."""
    if not read_matte(path).any():
        raise InvalidSetting(
            f"{place} = {path!r} allows the edit nowhere; paint white (or, on a transparent "
            "picture, anything) where it may go"
        )


def check_area_fits(path: str, frame: int, clip: Clip, place: str) -> None:
    """Refuse one that is not of a clip's size, or of a frame that it does not have."""
    height, width = read_matte(path).shape
    if (width, height) != (clip.width, clip.height):
        raise InvalidSetting(
            f"{place} = {path!r} is {width}×{height} pixels, and {clip.path} is {clip.width}×"
            f"{clip.height} when upright; paint on one of its frames"
        )
    if frame >= clip.frame_count:
        raise InvalidSetting(
            f"{place}_frame = {frame} is beyond the {clip.frame_count} frames of {clip.path}, "
            "which are counted from 0; give the one that was painted on"
        )


@stage(keep=False)
def anywhere() -> PaintedArea:
    """No limit."""
    none: Any = np.zeros(2)
    return PaintedArea(np.zeros((0, 0), np.uint8), none, none)
