"""Hair whose shape an edit changes, in the person's own pixels.

A small generator knows where other hair would be better than what it looks like. So its drawings
with and without the edit say where hair goes and comes, and the frames give the rest: what hair hid
is that of `bare`; new hair has the colors of the person's own next to it, and the strands of the
same columns of the picture, mirrored where they end.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_propagation, distance_transform_edt, uniform_filter
from torch import Tensor

from vidhair.imaging.blur import blur
from vidhair.imaging.color import lab_to_rgb, levels_to_lab
from vidhair.imaging.fill import fill
from vidhair.imaging.morphology import dilate, erode
from vidhair.imaging.warp import cut_grid, spread_grid
from vidhair.models.parsers.face_parser import Label
from vidhair.stages.align import FaceTrack
from vidhair.stages.bare import Bare
from vidhair.stages.compose import (
    LIGHT_REACH,
    ComposeConfig,
    Fade,
    Layer,
    Patch,
    add_residual,
    drawn_share,
    make_layer,
    patch_of,
    unit,
    window_of,
)
from vidhair.stages.drawn import NEW_HAIR, NEW_SKIN, OLD_HAIR, HairDrawn
from vidhair.stages.labels import Labels
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow, HeadRegion, on_canvas
from vidhair.stages.render import Canvas, Drawer
from vidhair.stages.smooth import Pivots
from vidhair.types import Frames
from vidhair.wiring import stage

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

# Lengths are in sides of the face's crop.
SPOT = 0.02  # half the width of what is a change, and not the border of two drawings
CHANGED = 0.4  # how much likelier hair is there with the edit, or without it
STAYS = 0.2  # how likely hair is, from which on own hair is left where it is
GAP = 0.05  # half the width of gaps between own and new hair that are closed
HANGS = 0.3  # from own hair, at most, that new hair begins
SOFT = 0.008  # blur of the border of what goes
STRAND_BLUR = 0.03  # blur that tells the color of a place from its strands
HOLES, EVEN = 0.01, 0.03  # half the width of what is closed, and of what ends alike, of own hair
LEAST_RUN = 0.04  # of own hair in a column whose strands go on
CERTAIN = (0.3, 0.7)  # how likely new hair is where it begins to show, and where it hides all
OWN = (0.6, 0.95)  # share of a pixel that own hair has, between which it comes in front of new
SURE = 0.9  # share of a pixel that own hair has, whose colors go on
OTHERWISE = 10.0  # difference in Lab from which hair is drawn in another color


def _square(x: Mask, reach: float, grow: bool) -> Mask:
    side = 2 * max(1, round(reach)) + 1
    plane = torch.from_numpy(x.astype(np.float32))[None, None]
    found: Mask = (dilate if grow else erode)(plane, side)[0, 0].numpy() > 0.5
    return found


def changed_part(where: Mask, sure: Mask, reach: float) -> Mask:
    """What hangs together within a mask with squares of `reach` to either side that are sure."""
    core = _square(_square(sure, reach, grow=False), reach, grow=True) & sure & where
    found: Mask = binary_propagation(core, mask=where)
    return found


def nearest(known: Mask, values: Plane) -> Plane:
    """Values [h, w] where they are known, and elsewhere those of the nearest place that is."""
    if not known.any():
        return np.zeros_like(values)
    index = distance_transform_edt(~known, return_distances=False, return_indices=True)
    found: Plane = values[tuple(index)]
    return found


def reshaped(
    own: Plane, before: Plane, after: Plane, free: Mask, side: float
) -> tuple[Plane, Plane]:
    """Where hair goes, as far as there is any, and where there is new one; [h, w] in 0 … 1.

    own: how much of a sample is the person's hair. before, after: how likely hair is in drawings
    without and with the edit. free: where new hair may be though none is drawn, as it shows the
    surroundings, and the person in the drawing. side: of the face's crop, in samples.

    The drawings do not quite fit the person. What they say nothing about goes with the hair next to
    it, and gaps between own and new hair are closed.
    """
    old, new, hair = before > 0.5, after > 0.5, own > 0.5
    stays = after > STAYS
    lost = changed_part(old & ~stays, before - after > CHANGED, SPOT * side)
    gained = changed_part(new & ~old, after - before > CHANGED, SPOT * side) & ~hair
    gone = nearest(old | stays, lost.astype(np.float32))
    kept = hair & (gone < 0.5)
    gone = nearest(hair, gone)
    if not gained.any():
        return gone, np.zeros_like(own)
    either, reach = np.pad(kept | gained, round(GAP * side) + 1), GAP * side
    closed = _square(_square(either, reach, grow=True), reach, grow=False)
    edge = round(GAP * side) + 1
    gaps = closed[edge:-edge, edge:-edge] & ~kept & (new | free)
    # New hair hangs on own hair; what is drawn elsewhere belongs to nobody.
    filled = binary_propagation(gained, mask=gained | gaps)
    filled = binary_propagation(_square(kept, HANGS * side, grow=True) & filled, mask=filled)
    low, high = CERTAIN
    share = ((after - low) / (high - low)).clip(0, 1)
    share[filled & ~gained] = 1
    around = _square(filled, SPOT * side / 2, grow=True)
    return gone, np.where(around, share, 0).astype(np.float32)


def strands_below(own: Mask, detail: Plane, least: float, even: float) -> Plane:
    """What own hair of a column shows, mirrored at its lower end, and at its upper one again, below
    it; zero where there is none.

    own: [h, w]; detail: [C, h, w]; least: samples of a column that must hang together; even: of
    columns to either side, which end alike: else strands would be torn.
    """
    height = len(own)
    rows = np.arange(height)[:, None]
    run = np.zeros(own.shape, np.int64)
    for row in range(height):
        run[row] = np.where(own[row], (run[row - 1] if row else 0) + 1, 0)
    # The last sample of own hair above each one that belongs to a run that is long enough.
    ends = own & (run >= least)
    last = np.maximum.accumulate(np.where(ends, rows, -1), axis=0)
    length = np.maximum(np.take_along_axis(run, last.clip(0), 0) - 1, 1)
    across = (1, 2 * round(even) + 1)
    end, long = (
        uniform_filter(uniform_filter(x.astype(float), across), across) for x in (last, length)
    )
    away = (rows - end) % (2 * long)
    place = (end - np.minimum(away, 2 * long - away)).clip(0, height - 1)
    above = place.astype(np.int64)
    share = (place - above)[None]
    below = (above + 1).clip(max=height - 1)
    first, second = (np.take_along_axis(detail, x[None], 1) for x in (above, below))
    return np.where(last >= 0, first + share * (second - first), 0).astype(np.float32)


def grown_color(lab: Tensor, alpha: Tensor, kept: Tensor, side: float) -> Tensor:
    """What new hair looks like everywhere, [1, 3, h, w], by own hair: lab [1, 3, h, w].

    alpha: of own hair, kept: whether it stays, [1, 1, h, w].
    """
    sure = erode(((alpha > SURE) & (kept > 0.5)).float(), 3)
    sigma = STRAND_BLUR * side
    share = blur(sure, sigma)
    even = blur(lab * sure, sigma) / (share + 1e-3)
    known = (4 * share).clamp(0, 1) * (share > 0.02)
    color = blur(fill(even, known, levels=8), sigma / 2)
    detail = ((lab - even) * sure)[0].numpy()
    whole = _square(_square(sure[0, 0].numpy() > 0.5, HOLES * side, True), HOLES * side, False)
    strands = strands_below(whole, detail, LEAST_RUN * side, EVEN * side)
    return color + torch.from_numpy(strands)[None]


def regrown_picture(
    picture: NDArray[np.uint8],
    alpha: Plane,
    bare: NDArray[np.uint8],
    gone: Plane,
    new: Plane,
    side: float,
) -> Plane:
    """Levels [h, w, 3] of a picture with hair that goes and comes.

    alpha: of own hair; bare: the picture without any; gone, new: see `reshaped`; all [h, w].
    """
    result = picture.astype(np.float32)
    soft = torch.from_numpy(gone)[None, None]
    away = blur(soft, SOFT * side)[0, 0].numpy()
    result += away[..., None] * (bare - result)
    if not new.any():
        return result
    own, kept = torch.from_numpy(alpha)[None, None], 1 - soft
    lab = levels_to_lab(torch.from_numpy(picture)[None])
    color = lab_to_rgb(grown_color(lab, own, kept, side))[0].movedim(0, -1).numpy() * 255
    # Own hair stays in front; at its border, which what is behind it shines through, new hair hides
    # both.
    low, high = OWN
    front = ((alpha * (1 - away) - low) / (high - low)).clip(0, 1)
    share = new * (1 - front)
    result += share[..., None] * (color - result)
    return result


def recolored(
    picture: NDArray[np.uint8], alpha: Tensor, change: Plane, side: float, config: ComposeConfig
) -> NDArray[np.uint8] | None:
    """A picture [h, w, 3] whose hair changes its mean color in Lab by [3]; None where that is no
    more than drawings are uncertain by. alpha: of own hair, [1, 1, h, w]."""
    if np.linalg.norm(change) <= OTHERWISE:
        return None
    lab = levels_to_lab(torch.from_numpy(picture)[None])
    moves = torch.from_numpy(change).view(1, 3, 1, 1).expand_as(lab).contiguous()
    colored = add_residual(lab, moves, alpha, config, LIGHT_REACH * side)
    levels: NDArray[np.uint8] = (colored[0].movedim(0, -1) * 255).round().to(torch.uint8).numpy()
    return levels


# ---- the stage


@stage(keep=False)
def regrown(
    frames: Frames,
    hair_drawn: HairDrawn,
    labels: Labels,
    matte: Matte,
    bare: Bare,
    pivots: Pivots,
    track: FaceTrack,
    fade: Fade,
    canvas: Canvas,
    region: HeadRegion,
    hair_window: HairWindow,
    drawer: Drawer,
    config: ComposeConfig,
) -> Layer:
    """Own hair where the edit leaves it, and its like where it makes more."""
    side = track.box.side

    def patch(row: int) -> Patch | None:
        (frame,) = frames.rows(row, row + 1)
        drawn = drawn_share(pivots, track, np.array([row]), drawer, canvas)
        seen = torch.from_numpy(hair_drawn.levels[row : row + 1]).float() / 255 * drawn
        planes = torch.from_numpy(labels.planes[row : row + 1]).float() / 255
        around = on_canvas(planes[:, Label.BACKGROUND : Label.BACKGROUND + 1], region, canvas)
        alpha = torch.from_numpy(matte.alpha[row])[None, None].float() / 255
        own = cut_grid(alpha, canvas.grid, on=hair_window)[0, 0].numpy()
        before, after, skin = (seen[0, k].numpy() for k in (OLD_HAIR, NEW_HAIR, NEW_SKIN))
        free = (around[0, 0].numpy() > 0.5) & (after + skin > 0.5)
        gone, new = reshaped(own, before, after, free, side / canvas.step)
        given = torch.from_numpy(np.stack([gone, new]))[None] * drawn
        gone, new = spread_grid(given, canvas.grid, hair_window)[0].clamp(0, 1).numpy()

        picture = hair_window.cut(frame)
        colored = recolored(picture, alpha, hair_drawn.color[row], hair_window.side, config)
        gone = gone * (bare.changed[row] > 0)
        made = regrown_picture(
            picture if colored is None else colored,
            alpha[0, 0].numpy(), bare.levels[row], gone, new, hair_window.side,
        )  # fmt: skip
        changed = np.maximum(gone, new)
        if colored is not None:
            changed = np.maximum(changed, alpha[0, 0].numpy())
        changed = np.where(changed > 1 / 255, changed, 0)
        return _patch(frame, made - picture, changed, hair_window)

    return make_layer(frames, track, fade, lambda rows: [patch(int(row)) for row in rows])


def _patch(frame: NDArray[np.uint8], away: Plane, changed: Plane, grid: HairWindow) -> Patch | None:
    """What is to be added to a frame [H, W, 3] in the window's samples, in levels [h, w, 3], where
    it is changed, [h, w] in 0 … 1."""
    levels = np.ceil(changed * 255).astype(np.uint8)
    window = window_of(levels[None], grid, (frame.shape[1], frame.shape[0]))
    if window is None:
        return None
    seen = frame[window.pixels][None].copy()
    moved = torch.from_numpy(away / 255).movedim(-1, 0)[None].contiguous()
    full = torch.from_numpy(levels)[None, None].float() / 255
    moved, full = (spread_grid(x, grid, window) for x in (moved, full))
    result = (unit(torch.from_numpy(seen)) + moved).clamp(0, 1)
    return patch_of(window, seen, result, full.clamp(0, 1) * (full >= 1 / 255))
