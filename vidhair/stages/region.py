"""Where hair is searched, and which part of that is the face's, the neck's or somebody else's."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidhair.geometry import CropAxes, Grid
from vidhair.imaging.warp import cut_grid, shrink
from vidhair.models.faces.landmarks import FACE_OVAL, MIDDLE_OF_FACE
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FACE, FaceTrack
from vidhair.stages.render import Canvas, crops_of
from vidhair.types import Clip
from vidhair.wiring import Derived, Fact, Series, stage

REACH = 0.8  # crop sides beyond the crop that are searched for hair
FINEST_SIDE = 512  # samples of the matte along the side of a face's crop, at most


@dataclass(frozen=True)
class HeadRegion(Grid, Derived):
    """Where hair is searched, as finely as the parser sees it; fixed for the clip."""

    def cut(self, frames: Tensor, zoom: int = 1) -> Tensor:
        """The region of [T, C, H, W] frames, `zoom` times finer than its grid."""
        # Beyond the frame's border the picture goes on mirrored: nothing there looks like clothes.
        return cut_grid(frames, self.finer(zoom), padding="reflection")


def plan_region(axes: CropAxes, frame_size: tuple[int, int], size: int, stride: int) -> HeadRegion:
    """Covers all face crops and REACH around them, inside the frame; sides fit the parser."""
    width, height = frame_size
    reach = (axes.side * (0.5 + REACH))[:, None]
    low = np.maximum((axes.centre - reach).min(0), 0)
    high = np.minimum((axes.centre + reach).max(0), [width, height])
    step = float(np.median(axes.side)) / size
    columns, rows = (
        int(np.ceil((b - a) / step / stride)) * stride for a, b in zip(low, high, strict=True)
    )
    return HeadRegion(float(low[0]), float(low[1]), step, rows, columns)


@dataclass(frozen=True)
class HairWindow(Grid, Derived):
    """Where the matte lies, fixed for the clip: the frame's own pixels inside the region, or for
    large heads the means of as many as make FINEST_SIDE of a face's crop. side: of that crop, in
    samples."""

    side: float

    def cut(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """That part of a frame [H, W, 3]."""
        left, top, step = int(self.left), int(self.top), int(self.step)
        seen = frame[top : top + step * self.height, left : left + step * self.width]
        return shrink(seen, step)


def plan_window(region: Grid, side: float, frame_size: tuple[int, int]) -> HairWindow:
    """side: of a face's crop, in pixels; frame_size: width and height."""
    step = max(1, math.ceil(side / FINEST_SIDE))
    return window_on(region, step, side / step, frame_size)


def window_on(place: Grid, step: int, side: float, frame_size: tuple[int, int]) -> HairWindow:
    """What of a frame lies on a grid. step: of the window, in pixels; side: of a face's crop, in
    its samples; frame_size: width and height."""
    low = [max(0, math.floor(start)) for start in (place.left, place.top)]
    reach = place.left + place.step * place.width, place.top + place.step * place.height
    high = [min(size, math.ceil(end)) for size, end in zip(frame_size, reach, strict=True)]
    columns, rows = (math.ceil((b - a) / step) for a, b in zip(low, high, strict=True))
    return HairWindow(low[0], low[1], step, rows, columns, side)


JAW_CHIN_BROW = (172, 397, 152, 10)  # of MediaPipe's mesh: corners of the jaw, chin, hairline
NECK_LENGTH = 0.55  # in lengths of a face
NECK_INSET = 0.06  # on either side, in widths of the jaw


# The jaw from ear to ear, and the way back below the nose.
JAW = FACE_OVAL[FACE_OVAL.index(454) : FACE_OVAL.index(234) + 1]
BELOW_NOSE = (234, 147, 187, 206, 203, 98, 2, 327, 423, 426, 411, 376, 454)
NOSE_TIP, CHIN_AND_TOP = 4, (152, 10)
BELOW_JAW, BESIDE_JAW = 0.06, 0.05  # how far a beard reaches beyond the mesh, in crop sides
BACK = 1.5  # how far the back of a turned head lies aside, as a share of the middle of its ears
LONG_HAIR = (0.05, 0.4, 0.05)  # how far beside the jaw, from the middle and from the mouth's height


def beard_ring(points: NDArray[np.float32], side: float) -> NDArray[np.float32]:
    """Around where a beard may be, [K, 2]: furthest beyond the chin, and not at all at the ears.

    points: of a mesh [478, 2]; side: of its crop, in the same unit.
    """
    jaw = points[list(JAW)]
    share = np.sin(np.linspace(0, np.pi, len(jaw)))[:, None] * side
    down = _unit(points[CHIN_AND_TOP[0]] - points[CHIN_AND_TOP[1]])
    jaw = jaw + share * (BELOW_JAW * down + BESIDE_JAW * _unit(jaw - points[NOSE_TIP]))
    ring: NDArray[np.float32] = np.concatenate([jaw, points[list(BELOW_NOSE)]])
    return ring


def _unit(ways: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = ways / (np.linalg.norm(ways, axis=-1, keepdims=True) + 1e-6)
    return found


def _middle(mesh: NDArray[np.float32]) -> NDArray[np.float32]:
    return mesh[list(MIDDLE_OF_FACE)]


def _neck(mesh: NDArray[np.float32]) -> NDArray[np.float32]:
    """A quad below the jaw, as wide as most of it and as long as half a face."""
    left, right, chin, brow = mesh[list(JAW_CHIN_BROW)]
    down = (chin - brow) * NECK_LENGTH
    inwards = (right - left) * NECK_INSET
    return np.stack(
        [left + inwards, left + inwards + down, right - inwards + down, right - inwards]
    )


MIDDLE, NECK = _middle, _neck


def face_part(
    part: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    track: FaceTrack,
    frames: range,
    grid: Grid,
) -> Tensor:
    """[T, 1, h, w] soft mask of a part of the face (MIDDLE, which is never hair, or NECK)."""
    masks = np.zeros((len(frames), grid.height, grid.width), np.float32)
    for row, frame in enumerate(frames):
        if track.present[frame]:
            local = grid.places(part(track.mesh[frame]))
            masks[row] = polygon_mask(local, grid.height, grid.width)
    return blur_mask(torch.from_numpy(masks)[:, None])


OWN_BORDER = 0.04  # softness of the border between two persons' parts, in crop sides
HEAD = (1.45 * FACE[0], 1.45 * FACE[1])  # half width and half height with hair, in crop sides
LOBES = 0.12  # height of the lobes of the ears, about that of the nose's tip, in crop sides


def own_share(track: FaceTrack, frames: range, grid: Grid) -> Tensor:
    """[T, 1, h, w] in 0 … 1: how far each sample is the person's own, and not a neighbour's.

    Hair belongs to the face that is nearer to it, counted in sizes of that face; but of two heads
    that overlap all of the larger one, which is in front, is its own. Ones [1, 1, 1, 1] if nobody
    is beside.
    """
    beside = track.neighbours[frames.start : frames.stop].astype(np.float64)
    if np.isnan(beside).all():
        return torch.ones(1, 1, 1, 1)
    rows, columns = (np.arange(n) + 0.5 for n in (grid.height, grid.width))
    points = np.meshgrid(grid.left + columns * grid.step, grid.top + rows * grid.step)
    points = np.stack(points, -1).reshape(-1, 2)
    shares = np.ones((len(frames), len(points)), np.float32)
    for share, frame, others in zip(shares, frames, beside, strict=True):
        mine = track.axes_of(np.array([frame]))
        for other in others[~np.isnan(others[:, 0])] if track.present[frame] else []:
            theirs = CropAxes(other[None, :2], other[None, 2:4])
            place, own = theirs.locate(points[None])[0], mine.locate(points[None])[0]
            nearer = _step(np.hypot(*place.T) - np.hypot(*own.T))
            if other[4] > 1:
                share *= np.minimum(nearer, 1 - _in_head(place))
            else:
                share *= np.maximum(nearer, _in_head(own))
    return torch.from_numpy(shares).view(len(frames), 1, grid.height, grid.width)


@dataclass(frozen=True)
class HeadParts:
    """Of a frame, on a grid [h, w]. head: on the head with its hair, as an ellipse around the face;
    crown: its part above the lobes of the ears, without the face; beard: where one may be, on the
    jaw, and all below the chin; beside: left and right of the mouth, where long hair hangs."""

    head: NDArray[np.bool_]
    crown: NDArray[np.bool_]
    beard: NDArray[np.bool_]
    beside: list[NDArray[np.bool_]]


def _inside(ring: NDArray[np.float32], height: int, width: int) -> NDArray[np.bool_]:
    return polygon_mask(ring, height, width, 1) > 0.5


def on_face(axes: CropAxes, grid: Grid) -> NDArray[np.float32]:
    """Places [h, w, 2] of a grid in the crop of a face, in its sides from its middle: what
    `CropAxes.locate` says of them, along lines. axes: of one face, [1, 2]."""
    rows, columns = (np.arange(n) + 0.5 for n in (grid.height, grid.width))
    (x, y), (along, up) = axes.centre[0], axes.x[0] * 2 / axes.side[0] ** 2
    x, y = (grid.left + columns * grid.step - x)[None], (grid.top + rows * grid.step - y)[:, None]
    places = np.stack([x * along + y * up, y * along - x * up], -1)
    found: NDArray[np.float32] = places.astype(np.float32)
    return found


def head_parts(track: FaceTrack, frame: int, grid: Grid) -> HeadParts:
    """Of the person, who is present in the frame, on a grid in pixels of it."""
    size = grid.height, grid.width
    axes = track.axes_of(np.array([frame]))
    across, down = np.moveaxis(on_face(axes, grid), -1, 0)
    head = (across / HEAD[0]) ** 2 + (down / HEAD[1]) ** 2 < 1
    points, side = grid.places(track.mesh[frame]), float(axes.side[0]) / grid.step
    chin = axes.locate(track.mesh[frame, [CHIN_AND_TOP[0]]][None])[0, 0, 1]
    jaw = points[list(JAW)]
    wider = np.concatenate([jaw + LONG_HAIR[0] * side * _unit(jaw - points[NOSE_TIP]), jaw[::-1]])
    oval = _inside(points[list(FACE_OVAL)], *size)
    face = oval | _inside(wider, *size)
    mouth = (LOBES + chin) / 2  # below sideburns and above collars
    ears = axes.locate(track.mesh[frame, [JAW[0], JAW[-1]]][None])[0, :, 0]
    aside = np.abs(across - BACK * ears.mean())  # of a turned head, long hair hangs behind the jaw
    beside = ~face & (np.abs(down - mouth) < LONG_HAIR[2]) & (aside < LONG_HAIR[1])
    beard = _inside(beard_ring(points, side), *size) | (down > chin)
    crown = head & (down < LOBES) & ~oval
    return HeadParts(head, crown, beard, [beside & (across < 0), beside & (across > 0)])


def _in_head(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 … 1, for places [N, 2] in a crop."""
    return _step((1 - np.hypot(*(place / HEAD).T)) * min(HEAD))


def _step(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 … 1, from before a border to after it. away: from it, in crop sides."""
    return np.clip(away / OWN_BORDER + 0.5, 0, 1)


def blur_mask(mask: Tensor, radius: int = 2) -> Tensor:
    return F.avg_pool2d(mask, 2 * radius + 1, 1, radius, count_include_pad=False)


def on_canvas(values: Tensor, grid: Grid, canvas: Canvas) -> Tensor:
    """Values [T, 1, h, w] on a grid brought to the canvas."""
    return cut_grid(values, canvas.grid, on=grid)


# ---- stages


@stage(keep=False)
def region(
    track: Series[FaceTrack],
    clip: Clip,
    face_pixels: Annotated[int, Fact("face_pixels")],
    stride: Annotated[int, Fact("parser.stride")],
) -> HeadRegion:
    return plan_region(crops_of(track), (clip.width, clip.height), face_pixels, stride)


@stage(keep=False)
def hair_window(track: Series[FaceTrack], region: HeadRegion, clip: Clip) -> HairWindow:
    side = float(np.median(crops_of(track).side))
    return plan_window(region, side, (clip.width, clip.height))


@stage(keep=False)
def whole_frame(track: Series[FaceTrack], clip: Clip) -> HairWindow:
    """Where a matte lies that is given: hair reaches as far as it says."""
    side = float(np.median(crops_of(track).side))
    return HairWindow(0, 0, 1, clip.height, clip.width, side)
