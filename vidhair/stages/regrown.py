"""Hair whose shape an edit changes, in the person's own pixels.

A small generator knows where other hair would be better than what it looks like. So its drawings
with and without the edit say where hair goes and comes, and the frames give the rest: what hair hid
is that of `bare`; new hair has the colors of the person's own, averaged over neighbouring frames at
the same place of the head, as the hair next to it changes with every frame's matte, and the strands
of `hair_texture`.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates, maximum_filter1d
from torch import Tensor

from vidhair.imaging.blur import blur
from vidhair.imaging.color import lab_to_rgb, levels_to_lab
from vidhair.imaging.fill import fill
from vidhair.imaging.morphology import erode
from vidhair.imaging.warp import spread_grid
from vidhair.stages.align import FaceTrack
from vidhair.stages.bare import Bare
from vidhair.stages.behind import Behind
from vidhair.stages.bent import bent
from vidhair.stages.compose import ComposeConfig
from vidhair.stages.ends import BEGINS, HairFall, hanging_at, heights
from vidhair.stages.fade import Fade
from vidhair.stages.hair_texture import STRANDS, HairTexture, even_color, sure_hair
from vidhair.stages.hair_texture import WAVES as EVEN_OVER
from vidhair.stages.in_front import InFront, under
from vidhair.stages.layers import Layer, Patch, change_of, make_layer, patch_of, unit, window_of
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.stages.render import Canvas
from vidhair.stages.reshaped import Reshaped, square
from vidhair.stages.residual import LIGHT_REACH, add_residual
from vidhair.stages.skull import HeadPose, Place, Skull
from vidhair.stages.smooth import REACH, TAPS, Pivots, runs
from vidhair.stages.steady import Averaged, faces_of, places_of
from vidhair.types import Frames
from vidhair.wiring import Near, Span, stage

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]
Picture = NDArray[np.uint8]

# Lengths are in sides of the face's crop.
SOFT = 0.008  # blur of the border of what goes
# How long streaks are, and how much lighter and darker than hair they are at most.
STRAND_LENGTH, MOST_CONTRAST = 0.12, 4.5
NEAR = 0.2  # from own hair, that its color around tells that of new hair more than all of it
# Of locks: their widths and length, by how much their ends differ, and how far from own hair they
# do so fully.
LOCKS, LOCK_LENGTH, ENDS, FREE = (0.03, 0.08), 0.5, 0.035, 0.15
# Of the border of new hair: blur along strands and across, by how much single ones move it, and how
# soft it is, both as shares of that; and blur in samples.
TIPS, SIDES, UNEVEN, SHARP, SMOOTH = 0.025, 0.01, 0.2, 0.3, 0.6
MOST = 1.5  # deviations by which one lock or strand differs from others, at most
SHOWS = 0.2  # how far hair comes, from which on it is looked at
SEAM = 0.01  # of the border of own hair, that new hair hides
OWN = (0.6, 0.95)  # share of a pixel that own hair has, between which it comes in front of new
# Difference in Lab from which hair is drawn in another color, and fully so.
OTHERWISE = (8.0, 12.0)


def grown_color(lab: Tensor, alpha: Tensor, kept: Tensor, side: float) -> Tensor:
    """The mean color of new hair everywhere, [1, 3, h, w], by own hair: lab [1, 3, h, w]. As light
    as what is nearest, which lies in the same shade, and further away in the tint of all of it.

    alpha: of own hair, kept: whether it stays, [1, 1, h, w].
    """
    sure = sure_hair(alpha, kept)
    even, share = even_color(lab, sure, EVEN_OVER * side)
    known = (4 * share).clamp(0, 1) * (share > 0.02)
    near = blur(fill(even, known, levels=8), EVEN_OVER * side / 2)
    mean = (lab * sure).sum((2, 3), keepdim=True) / (sure.sum() + 1e-3)
    away = distance_transform_edt(sure[0, 0].numpy() < 0.5) if sure.any() else np.zeros(1)
    share_near = torch.from_numpy(np.exp(-away / (NEAR * side)).astype(np.float32))
    found = mean + share_near * (near - mean)
    return torch.cat([near[:, :1], found[:, 1:]], 1)


def with_strands(
    color: Tensor, detail: Tensor, known: Plane, streaks: Sequence[Plane], contrast: Plane
) -> Tensor:
    """The mean color of hair [1, 3, h, w] with the detail [3, h, w] of long hair, as far as that is
    known [h, w], and else with streaks of several widths [K, h, w]. contrast: [K], the deviation of
    own hair's lightness in such streaks."""
    contrast = contrast * min(1.0, MOST_CONTRAST / max(float(np.linalg.norm(contrast)), 1e-6))
    all_streaks = sum(share * one for share, one in zip(contrast, streaks, strict=True))
    found = color + detail * torch.from_numpy(known)
    found[:, 0] += torch.from_numpy(np.float32(np.sqrt(1 - known**2) * all_streaks))
    return found


def hung(new: Plane, kept: Plane, places: Tensor, side: float) -> Plane:
    """New hair [h, w] whose locks end at different heights, the more so the further they are from
    own hair that is kept, [h, w]. places: [1, h, w, 2], on the head."""
    if not (new > SHOWS).any():
        return new
    reach, own = round(3 * ENDS * side), kept >= 0.5
    away = distance_transform_edt(~own) if own.any() else np.full(new.shape, np.inf)
    free = np.clip(away / (FREE * side), 0, 1).astype(np.float32)
    rows, columns = np.indices(new.shape, np.float32)
    rows += free * ENDS * side * np.clip(hanging_at(places, LOCKS, LOCK_LENGTH), -MOST, MOST)
    found: Plane = map_coordinates(new, [rows, columns], order=1, mode="nearest")
    # Where hair begins, and beside a face, it stays as it is: what has none below it is an end.
    below = np.pad(new, ((0, reach), (0, 0)))[reach:]
    above = maximum_filter1d(np.pad(new, ((reach, 0), (0, 0))), 2 * reach + 1, axis=0)[: len(new)]
    return np.maximum(np.minimum(found, above), np.minimum(new, below)).astype(np.float32)


def with_tips(new: Plane, kept: Plane, strands: Plane, side: float) -> Plane:
    """New hair [h, w] whose sides are as smooth as hair hangs, and which ends strand by strand.

    kept: own hair that stays, beside which it has no border; strands: [h, w], by how much each
    reaches further than others, of deviation 1.
    """
    shown = np.maximum(new, kept)
    even = gaussian_filter(shown, SIDES * side)
    long = gaussian_filter(even, (TIPS * side, 0))
    # Hair ends below what is hair, and not at its sides.
    step = round(2 * TIPS * side)
    padded = np.pad(long, ((step, step), (0, 0)), mode="edge")
    ends = np.clip(2 * (padded[: len(long)] - padded[2 * step :]) - 0.5, 0, 1)
    soft = even + ends * (long - even + UNEVEN * np.clip(strands, -MOST, MOST))
    share = gaussian_filter(((soft - 0.5) / SHARP + 0.5).clip(0, 1), SMOOTH)
    around = square(new > 0, TIPS * side, grow=True).astype(np.float32)
    found: Plane = np.minimum(share, gaussian_filter(around, SIDES * side)).astype(np.float32)
    return found


def regrown_picture(
    picture: NDArray[np.uint8],
    alpha: Plane,
    bare: NDArray[np.uint8],
    gone: Plane,
    new: Plane,
    color: Plane | None,
    side: float,
) -> Plane:
    """Levels [h, w, 3] of a picture with hair that goes and comes.

    alpha: of own hair; bare: the picture without any; gone, new: see `Reshaped`; all [h, w]. color:
    [h, w, 3], levels of the hair that comes.
    """
    result = picture.astype(np.float32)
    away = blur(torch.from_numpy(gone)[None, None], SOFT * side)[0, 0].numpy()
    result += away[..., None] * (bare - result)
    if color is None:
        return result
    # Own hair stays in front; at its border, which what is behind it shines through, new hair hides
    # both.
    low, high = OWN
    reach = 2 * round(SEAM * side) + 1
    eroded = erode(torch.from_numpy(alpha * (1 - away))[None, None], reach)
    inside = blur(eroded, SEAM * side)[0, 0].numpy()
    front = ((inside - low) / (high - low)).clip(0, 1)
    share = new * (1 - front)
    result += share[..., None] * (color - result)
    return result


def recolored(
    picture: NDArray[np.uint8], alpha: Tensor, change: Plane, side: float, config: ComposeConfig
) -> NDArray[np.uint8] | None:
    """A picture [h, w, 3] whose hair changes its mean color in Lab by [3], or less, if that is
    little more than drawings are uncertain by; None where it is not. alpha: of own hair,
    [1, 1, h, w]."""
    low, high = OTHERWISE
    share = np.clip((np.linalg.norm(change) - low) / (high - low), 0, 1)
    if not share:
        return None
    lab = levels_to_lab(torch.from_numpy(picture)[None])
    moves = torch.from_numpy(np.float32(share * change)).view(1, 3, 1, 1)
    moves = moves.expand_as(lab).contiguous()
    colored = add_residual(lab, moves, alpha, config, LIGHT_REACH * side)
    levels: NDArray[np.uint8] = (colored[0].movedim(0, -1) * 255).round().to(torch.uint8).numpy()
    return levels


# ---- the stage


@stage(version=10, keep=False)
def regrown(
    frames: Annotated[Frames, Near(REACH)],
    reshaped: Annotated[Reshaped, Near(REACH)],
    matte: Annotated[Matte, Near(REACH)],
    pivots: Annotated[Pivots, Near(REACH)],
    track: Annotated[FaceTrack, Near(REACH)],
    bare: Bare,
    behind: Behind,
    in_front: InFront,
    hair_texture: Annotated[HairTexture, Near(REACH)],
    hair_fall: HairFall,
    head_pose: HeadPose,
    skull: Skull,
    fade: Fade,
    span: Span,
    canvas: Canvas,
    hair_window: HairWindow,
    config: ComposeConfig,
) -> Layer:
    """Own hair where the edit leaves it, and its like where it makes more."""
    core, side = span.core(REACH), hair_window.side

    def hair(row: int) -> tuple[Picture, Tensor, Plane, Plane]:
        """A picture with its hair in the color of the edit, its alpha [1, 1, h, w], and where it
        goes and comes."""
        (frame,) = frames.rows(row, row + 1)
        alpha = torch.from_numpy(matte.alpha[row])[None, None].float() / 255
        picture = hair_window.cut(frame)
        colored = recolored(picture, alpha, reshaped.color[row], side, config)
        planes = torch.from_numpy(reshaped.levels[row : row + 1]).float() / 255
        gone, new = spread_grid(planes, canvas.grid, hair_window)[0].clamp(0, 1).numpy()
        return picture if colored is None else colored, alpha, gone, new

    def grown(row: int) -> Tensor:
        picture, alpha, gone, _ = hair(row)
        lab = levels_to_lab(torch.from_numpy(picture)[None])
        return grown_color(lab, alpha, 1 - torch.from_numpy(gone)[None, None], side)[0]

    faces, begins = faces_of(pivots, track), runs(track.present, track.cuts)
    places = places_of(hair_window, track.box)
    colors = Averaged(grown, TAPS, faces, begins, hair_window, track.box)

    def patch(own: int) -> Patch | None:
        row = own + core.start
        (frame,) = frames.rows(row, row + 1)
        picture, alpha, gone, new = hair(row)
        seen = 1 - in_front.alpha[own].astype(np.float32) / 255
        on_head = places @ faces[row][:2, :2].t() + faces[row][:2, 2]
        plane, color = alpha[0, 0].numpy(), None
        cut = hair_fall.gone(own, skull, head_pose, plane, on_head, hair_window)
        gone = np.maximum(gone, cut) * (bare.changed[own] > 0) * seen
        new, moved = new * (1 - cut), np.zeros_like(plane)
        if hair_fall.longer[own] > 0:
            # Own hair that is long says better than drawings what more of it looks like.
            above = heights(Place.of(head_pose, own), hair_window) < BEGINS
            gone, new = gone * above, new * above
            axes = track.axes_of(np.array([row]))
            move = hair_fall.move(own, head_pose, axes, hair_window)
            below, scalp = bare.over(own, picture), bare.scalp[own] / np.float32(255)
            fallen = bent(picture, below, scalp, plane, move, axes, hair_window)
            picture, share, plane = under(*fallen, picture, 1 - seen, side)
            moved = share.astype(np.float32) / 255
        if (new > SHOWS).any():
            given = hair_texture.on_head(row, faces[row], places, hair_window, track.box)
            strands = hanging_at(on_head, STRANDS, STRAND_LENGTH)
            contrast = hair_texture.contrast[hair_texture.shot[row]]
            streaks = [hanging_at(on_head, (width,), STRAND_LENGTH) for width in STRANDS]
            lab = with_strands(colors(row)[None], *given, streaks, contrast)
            color = (lab_to_rgb(lab)[0] * 255).movedim(0, -1).numpy()
            color += behind.noise(own, span.start + row)[..., None]
            kept = plane * (1 - gone)
            new = with_tips(hung(new, kept, on_head, side), kept, strands, side) * seen
        below = bare.over(own, hair_window.cut(frame))
        made = regrown_picture(picture, plane, below, gone, new, color, side)
        drawn = np.maximum(np.maximum(gone, moved), new * (color is not None))
        dyed = np.linalg.norm(reshaped.color[row]) > OTHERWISE[0]
        return _patch(frame, made, drawn, np.maximum(drawn, plane * dyed), hair_window)

    here = frames.rows(core.start, core.stop), track.rows(core.start, core.stop)
    return make_layer(*here, fade, lambda rows: [patch(int(row)) for row in rows])


def _patch(
    frame: NDArray[np.uint8], made: Plane, drawn: Plane, changed: Plane, grid: HairWindow
) -> Patch | None:
    """Of a frame [H, W, 3], what is made of the window's samples, in levels [h, w, 3], where it is
    changed, and how far it is drawn anew, [h, w] in 0 … 1 both."""
    changed = np.where(changed > 1 / 255, changed, 0)
    levels = np.ceil(changed * 255).astype(np.uint8)
    window = window_of(levels[None], grid, (frame.shape[1], frame.shape[0]))
    if window is None:
        return None
    seen = frame[window.pixels][None].copy()
    source = unit(torch.from_numpy(seen))
    moved = change_of(source, grid.cut(frame), made, drawn, grid, window)
    full = spread_grid(torch.from_numpy(levels)[None, None].float() / 255, grid, window)
    result = (source + moved).clamp(0, 1)
    return patch_of(window, seen, result, full.clamp(0, 1) * (full >= 1 / 255))
