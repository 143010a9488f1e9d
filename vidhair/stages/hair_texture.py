"""What more of a person's hair looks like: strands that go on as own hair does, once per shot.

In the frame that shows most of own hair, its strands and waves are made to go on below it, from
patches of itself. In every frame they are laid where the head has moved to, so that new hair is as
still on the head as own hair is.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, maximum_filter, maximum_filter1d
from torch import Tensor

from vidhair.geometry import Box, Grid
from vidhair.imaging.blur import blur
from vidhair.imaging.color import levels_to_lab
from vidhair.imaging.morphology import erode
from vidhair.imaging.quilting import gone_on
from vidhair.imaging.warp import spread_grid
from vidhair.stages.align import FaceTrack
from vidhair.stages.bare_view import grown
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.stages.render import Canvas
from vidhair.stages.reshaped import Reshaped
from vidhair.stages.smooth import Pivots
from vidhair.stages.steady import faces_of, mean_on_head, places_of
from vidhair.types import Frames
from vidhair.wiring import Series, Value, stage

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

SURE = 0.9  # share of a pixel that own hair has, whose colors go on
LOOKED_AT = 6  # frames of a shot
# Lengths are in sides of the face's crop.
WAVES = 0.06  # blur that tells the color of a place from its strands and waves
AROUND = 0.06  # around the new hair of frames that are looked at, in which strands go on
BLOCKS = (0.14, 0.1, 0.07, 0.05)  # widths of those that do, the largest that are enough
# Between which hair hangs the longer, the more its strands are those of long hair: on what is
# shorter, blocks of them are a patchwork.
LONG_ENOUGH = (0.3, 1.2)
GAP, NEAR = 0.03, 0.15  # between hair that is sure and what hangs on it; what is next to it
# Of streaks that own hair is looked at for, and how much wider what tells them from broader ones.
STRANDS, BROADER = (0.003, 0.008, 0.02), 1.5
ALONG, STRONGER = 0.02, 2.5  # blur along new strands, and how much of their contrast it costs
BORDER = 0.012  # of own hair, which what is behind it shines through
LEAST_HAIR = 0.003  # of the crop's square, that can go on


@dataclass(frozen=True)
class HairTexture(Value):
    """How hair differs from its mean color around, by shots S. shot: [T], which one a frame is of.

    face: [S, 3, 3], of the frame that a shot's is taken from, positions in the box → in the face;
    detail: float32 [S, 3, h, w] in Lab, in the hair's window there; known: float32 [S, h, w] in
    0 … 1, how far it is that of long hair; contrast: [S, K], the deviation of own hair's lightness
    in streaks of the widths of STRANDS.
    """

    ROWS: ClassVar[tuple[str, ...]] = ("shot",)
    shot: NDArray[np.int64]
    face: NDArray[np.float32]
    detail: Plane
    known: Plane
    contrast: Plane

    def on_head(
        self, row: int, face: Tensor, places: Tensor, grid: Grid, box: Box
    ) -> tuple[Tensor, Plane]:
        """Detail [3, h', w'] and how far it is known [h', w'], at places of a frame's head.

        face: [3, 3], of that frame; places: [1, h', w', 2], in the box; grid: the hair's window.
        """
        shot = int(self.shot[row])
        planes = np.concatenate([self.detail[shot], self.known[shot][None]])[None]
        faces = torch.stack([torch.from_numpy(self.face[shot]), face])
        given = torch.from_numpy(planes), 1, np.array([1.0, 0.0]), places, faces, grid, box
        found = mean_on_head(*given)[0]
        return found[:3], found[3].numpy()


def even_color(lab: Tensor, sure: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """The mean color of own hair around every place, and how much there is, of lab [1, 3, h, w]
    where it is sure, [1, 1, h, w]."""
    share = blur(sure, sigma)
    return blur(lab * sure, sigma) / (share + 1e-3), share


def sure_hair(alpha: Tensor, kept: Tensor) -> Tensor:
    """Own hair that stays and hides all behind it, [1, 1, h, w]."""
    return erode(((alpha > SURE) & (kept > 0.5)).float(), 3)


def fallen_by(hair: Mask) -> Plane:
    """How many samples of hair [h, w] hang together from above down to each of them."""
    found = hair.astype(np.float32)
    for row in range(1, len(found)):
        found[row] *= 1 + found[row - 1]
    return found


def long_strands(own: Mask, wanted: Mask, side: float) -> Plane:
    """How far strands of long hair show on new hair that is wanted [h, w], in 0 … 1: where the own
    hair [h, w] next to it is long, and it has hung long itself, counted from where that begins."""
    low, high = LONG_ENOUGH
    near, edge = (2 * round(reach * side) + 1 for reach in (NEAR, GAP))
    closed = grown(own, GAP * side)
    length = fallen_by(closed) + fallen_by(closed[::-1])[::-1]
    next_to = distance_transform_edt(~own, return_distances=False, return_indices=True)
    long = maximum_filter(length, near)[tuple(next_to)]
    hung = maximum_filter1d(fallen_by(closed | wanted), edge, axis=1)
    share = ((np.minimum(long, hung) / side - low) / (high - low)).clip(0, 1)
    found: Plane = gaussian_filter(share.astype(np.float32), BORDER * side)
    return found


# ---- the stage


@stage(version=4, compress=True)
def hair_texture(
    frames: Series[Frames],
    matte: Series[Matte],
    reshaped: Series[Reshaped],
    pivots: Series[Pivots],
    track: Series[FaceTrack],
    canvas: Canvas,
    hair_window: HairWindow,
) -> HairTexture:
    """LOOKED_AT frames of every shot are looked at."""
    present, shot = track.field("present"), np.cumsum(track.field("cuts")) - 1
    shots, side = int(shot.max()) + 1, hair_window.side
    size = hair_window.height, hair_window.width
    made = HairTexture(
        shot, np.tile(np.eye(3, dtype=np.float32), (shots, 1, 1)),
        np.zeros((shots, 3, *size), np.float32), np.zeros((shots, *size), np.float32),
        np.zeros((shots, len(STRANDS)), np.float32),
    )  # fmt: skip

    def seen(row: int) -> Tensor:
        """Lab, own hair that is sure, and new hair, [5, h, w]."""
        one = row, row + 1
        alpha = torch.from_numpy(matte.rows(*one).alpha)[:, None].float() / 255
        levels = torch.from_numpy(reshaped.rows(*one).levels).float() / 255
        gone, new = spread_grid(levels, canvas.grid, hair_window).clamp(0, 1).split(1, 1)
        lab = levels_to_lab(torch.from_numpy(hair_window.cut(frames.rows(*one).pixels[0]))[None])
        return torch.cat([lab, sure_hair(alpha, 1 - gone), new], 1)[0]

    for number in np.unique(shot[present]).tolist():
        rows = np.flatnonzero(present & (shot == number))
        chosen = rows[np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows))).astype(int)]
        views = torch.stack([seen(row) for row in chosen.tolist()])
        tracks = [track.rows(row, row + 1) for row in chosen.tolist()]
        faces = torch.cat(
            [faces_of(pivots.rows(row, row + 1), t) for row, t in zip(chosen, tracks, strict=True)]
        )
        best, box = int(views[:, 3].sum((1, 2)).argmax()), tracks[0].box
        given = best, np.ones(len(chosen)), places_of(hair_window, box), faces, hair_window, box
        wanted = mean_on_head(views[:, 4:], *given)[0, 0].numpy() > 0
        made.face[number] = faces[best].numpy()
        found = textured(views[best], wanted, side)
        made.detail[number], made.known[number], made.contrast[number] = found
    return made


def contrasts(light: Plane, there: Mask, side: float) -> Plane:
    """The deviation [K] of a plane [h, w] in streaks of the widths of STRANDS, where it is hair, so
    that new streaks are as soft as the hair of the clip."""
    share = gaussian_blurs(there.astype(np.float32), side)
    blurred = gaussian_blurs(np.where(there, light, 0).astype(np.float32), side)
    levels = [light, *(x / (w + 1e-3) for x, w in zip(blurred, share, strict=True))]
    levels[-1] = np.zeros_like(light)
    found = [(fine - broad)[there].std() for fine, broad in pairwise(levels)]
    return np.array(found, np.float32)


def combed(detail: Plane, where: Mask, length: float) -> Plane:
    """Detail [C, h, w] whose strands run down where a mask [h, w] says so, as strong as they were:
    single hairs that cross them make a net of pieces of hair. length: of the blur, in samples."""
    if not where.any():
        return detail
    share = gaussian_filter(where.astype(np.float32), (length, 0))
    down = gaussian_filter(detail * where, (0, length, 0)) / (share + 1e-3)
    strong, left = (np.square(x[0][where]).mean() for x in (detail, down))
    found: Plane = np.where(where, down * min(np.sqrt(strong / (left + 1e-6)), STRONGER), detail)
    return found.astype(np.float32)


def gaussian_blurs(plane: Plane, side: float) -> list[Plane]:
    """A plane [h, w], blurred over more than each width of STRANDS."""
    return [gaussian_filter(plane, BROADER * width * side) for width in STRANDS]


def textured(view: Tensor, wanted: Mask, side: float) -> tuple[Plane, Plane, Plane]:
    """Detail, how far it is known, and contrast, as in `HairTexture`, of one frame.

    view: Lab and own hair that is sure, [≥ 4, h, w]; wanted: [h, w], where new hair may be.
    """
    lab = view[None, :3]
    sure = erode(view[None, 3:4], 2 * round(BORDER * side) + 1)
    there = sure[0, 0].numpy() > 0.5
    if there.sum() < LEAST_HAIR * side**2:
        return (
            np.zeros(lab.shape[1:], np.float32),
            np.zeros(wanted.shape, np.float32),
            np.zeros(len(STRANDS), np.float32),
        )
    even, _ = even_color(lab, sure, WAVES * side)
    own = ((lab - even) * sure)[0].numpy()
    share = long_strands(there, wanted, side)
    contrast, detail, told = contrasts(own[0], there, side), own, there
    if share.any() and wanted.any():
        near = distance_transform_edt(~wanted) <= AROUND * side
        widths = [max(6, round(width * side)) for width in BLOCKS]
        found = gone_on(own, there, near, widths)
        if found is not None:
            detail, told = combed(found, near & ~there, ALONG * side), near | there
    return detail, share * told.astype(np.float32), contrast
