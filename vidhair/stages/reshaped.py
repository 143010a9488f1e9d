"""Where hair goes and comes with an edit, as drawings without and with it tell.

The drawings do not quite fit the person. What they say nothing about goes with the hair next to it,
and gaps between own and new hair are closed. That is decided on the mean of neighbouring frames at
the same place of the head, and most of the frames around have to agree: else what lies near a bound
would come and go.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_propagation, distance_transform_edt, maximum_filter1d
from torch import Tensor

from vidhair.imaging.morphology import dilate, erode
from vidhair.imaging.warp import cut_grid
from vidhair.models.faces.landmarks import FACE_OVAL
from vidhair.models.parsers.face_parser import Label, polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.drawn import NEW_HAIR, NEW_SKIN, OLD_HAIR, HairDrawn
from vidhair.stages.labels import Labels
from vidhair.stages.mantle import Mantle, mantle
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow, HeadRegion, on_canvas, own_share
from vidhair.stages.render import Canvas, Drawer
from vidhair.stages.replaced import drawn_share
from vidhair.stages.skull import HeadPose, Place, Skull
from vidhair.stages.smooth import TAPS, Pivots, runs
from vidhair.stages.steady import Averaged, faces_of, faces_seen, neighbour_weights
from vidhair.wiring import Near, Span, Value, stage

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

# Lengths are in sides of the face's crop.
SPOT = 0.02  # half the width of what is a change, and not the border of two drawings
CHANGED = 0.4  # how much likelier hair is there with the edit, or without it
STAYS = 0.2  # how likely hair is, from which on own hair is left where it is
GAP = 0.05  # half the width of gaps between own and new hair that are closed
HANGS = 0.35  # below own hair, at most, that new hair begins which hangs on it
# Ends of own hair: how thick it is, half of it; how far from the lowest end others are; by which
# share of that longer hair ends higher; share of it, in percent, that is above the lowest end.
THICK, ENDS, TAPERS, LAST = 0.025, 0.3, 0.3, 97
LONGER = 0.08  # than it is drawn, from which on own hair is
SWINGS = 0.1  # below own hair, at most, that new hair begins after frames have agreed
SPREADS = 0.05  # beside own hair, at most, that such hair hangs
FURTHER = 0.05  # than own hair is, that hair is which becomes longer
JOINS = 0.02  # half the width of gaps to the face, that it goes on in
TOUCHES = 0.03  # from own hair, at most, that new hair is which touches it
CHEEK = 0.005  # of the face, from its outline inwards, that hair beside it may lie on
TOP, CHIN = 10, 152  # of the mesh
FOREHEAD = 0.3  # of the way between them, that foreheads reach above the mesh
CERTAIN = (0.3, 0.7)  # how likely new hair is where it begins to show, and where it hides all
EVIDENCE = len(TAPS) // 2  # frames on either side whose drawings are averaged
VOTERS = 4  # and whose decisions are
HANGS_WITH = len(TAPS) // 2  # and how hair hangs of them
AROUND = EVIDENCE + VOTERS + HANGS_WITH
MAJORITY = (0.3, 0.7)  # share of those, from which on it shows, and shows fully


def square(x: Mask, reach: float, grow: bool) -> Mask:
    """A mask [h, w] grown, or shrunk, by a square that reaches so far."""
    side = 2 * max(1, round(reach)) + 1
    plane = torch.from_numpy(x.astype(np.float32))[None, None]
    found: Mask = (dilate if grow else erode)(plane, side)[0, 0].numpy() > 0.5
    return found


def changed_part(where: Mask, sure: Mask, reach: float) -> Mask:
    """What hangs together within a mask with squares of `reach` to either side that are sure."""
    core = square(square(sure, reach, grow=False), reach, grow=True) & sure & where
    found: Mask = binary_propagation(core, mask=where)
    return found


def nearest(known: Mask, values: Plane) -> Plane:
    """Values [h, w] where they are known, and elsewhere those of the nearest place that is."""
    if not known.any():
        return np.zeros_like(values)
    index = distance_transform_edt(~known, return_distances=False, return_indices=True)
    found: Plane = values[tuple(index)]
    return found


def fallen(above: Mask, below: Mask, most: float) -> Mask:
    """What lies between one mask [h, w] and another one below it, no more than `most` rows away."""
    height = len(above)
    rows = np.broadcast_to(np.arange(height)[:, None], above.shape)
    last = np.maximum.accumulate(np.where(above, rows, -height), axis=0)
    first = np.minimum.accumulate(np.where(below, rows, 3 * height)[::-1], axis=0)[::-1]
    found: Mask = (first - last - 1 <= most) & ~above & ~below
    return found


def hanging_on(own: Mask, new: Mask, most: float) -> Mask:
    """Of new hair [h, w] what has own hair [h, w] above it, with what lies between, as in `fallen`:
    nothing begins in the air."""
    found: Mask = np.maximum.accumulate(own, axis=0) & (new | fallen(own, new, most))
    return found


def under(one: Mask, other: Mask) -> Mask:
    """Where the last thing above, or there, is of one mask [h, w], and not of the other one."""
    rows = np.arange(len(one))[:, None]
    last = [np.maximum.accumulate(np.where(mask, rows, -1), axis=0) for mask in (one, other)]
    found: Mask = last[0] > last[1]
    return found


def lengthened(kept: Mask, old: Mask, new: Mask, face: Mask, side: float) -> Mask:
    """Below own hair that is longer than it is drawn, and than the face, and ends about where all
    of it does: as far as the end of the drawing moves down. Such hair hangs before shoulders.

    kept: own hair beside the face; old, new: what is drawn; all [h, w], as the face.
    """
    none = np.zeros_like(kept)
    if not (kept.any() and old.any() and new.any()):
        return none
    own_end, before, after = (
        float(np.percentile(np.nonzero(mask)[0], LAST)) for mask in (kept, old, new)
    )
    if after - before < SPOT * side or own_end - before < LONGER * side:
        return none
    if face[int(own_end) :].any():
        return none
    end, reach = own_end + after - before, THICK * side
    thick = square(square(kept, reach, grow=False), reach, grow=True) & kept
    rows = np.arange(len(kept))[:, None]
    last = np.maximum.accumulate(np.where(thick, rows, -len(kept)), axis=0)
    above = own_end - last
    found: Mask = (rows <= end - TAPERS * above) & (above < ENDS * side) & ~kept
    return found


def _long_already(kept: Mask, old: Mask, side: float) -> Mask:
    """Above where own hair ends that is longer than it is drawn: there drawings show hair that it
    has, or does not have there, [h, w]."""
    rows = np.broadcast_to(np.arange(len(kept))[:, None], kept.shape)
    if not (kept.any() and old.any()):
        return np.zeros_like(kept)
    own_end, drawn_end = (np.percentile(np.nonzero(mask)[0], LAST) for mask in (kept, old))
    return (rows < own_end - TOUCHES * side) & (own_end - drawn_end >= LONGER * side)


def longer_to(kept: Mask, old: Mask, new: Mask, gained: Mask, side: float) -> float:
    """The row down to which own hair falls that becomes longer: as far as the end of the drawing
    moves down, or what is drawn more; below zero where that is little.

    kept: own hair beside the face; old, new, gained: what is drawn, and more; all [h, w].
    """
    if not (kept.any() and old.any() and new.any()):
        return -1.0
    own_end, before, after = (
        float(np.percentile(np.nonzero(mask)[0], LAST)) for mask in (kept, old, new)
    )
    if after - before < FURTHER * side:
        return -1.0
    lowest = float(np.percentile(np.nonzero(gained)[0], LAST)) if gained.any() else 0.0
    return max(own_end + after - before, lowest)


def decided(
    own: Plane, before: Plane, after: Plane, free: Mask, face: Mask, side: float, covers: bool,
    falls: Mantle | None = None, person: Mask | None = None, keeps: bool = False,
) -> tuple[Plane, Plane]:  # fmt: skip
    """Where hair goes, as far as there is any, and where there is new one; [h, w] in 0 … 1.

    own: how much of a sample is the person's hair. before, after: how likely hair is in drawings
    without and with the edit. free: where new hair may be though none is drawn, as it shows the
    surroundings, and the person in the drawing. face: see `face_and_forehead`. side: of the
    face's crop, in samples. covers: whether new hair may come before the face; else it hangs
    beside it. falls: where hair that becomes long falls beside it; person: [h, w], skin and clothes
    of the person, which what falls behind does not hide. keeps: whether no hair goes.
    """
    old, new, hair = before > 0.5, after > 0.5, own > 0.5
    stays = after > STAYS
    lost = changed_part(old & ~stays, before - after > CHANGED, SPOT * side) & (not keeps)
    gained = changed_part(new & ~old, after - before > CHANGED, SPOT * side) & ~hair
    gone = nearest(old | stays, lost.astype(np.float32))
    kept = hair & (gone < 0.5)
    gone = nearest(hair, gone)
    inner = square(face, CHEEK * side, grow=False)
    ends = maximum_filter1d(kept, 2 * round(SPREADS * side) + 1, axis=1)
    before_face = np.zeros_like(face)
    if not covers:  # nor above it, from where hair would fall before it
        before_face = inner | under(inner[::-1], kept[::-1])[::-1]
    gained &= ~before_face
    told = np.ones_like(face) if covers else ~_long_already(kept & ~face, old, side)
    gained &= told
    longer = (
        lengthened(kept & ~face, old, new, face, side) & ~hair & ~before_face & ~under(inner, ends)
    )
    longer &= not covers
    fallen_on = np.ones_like(face)
    if falls is not None and person is not None:
        fallen_on = falls.wide
        end = longer_to(kept & ~face, old, new, gained, side)
        here = hanging_on(ends, falls.seen(kept, person, end, TOUCHES * side), HANGS * side)
        longer |= here & ~hair & ~before_face
    if not (gained | longer).any():
        return gone, np.zeros_like(own)
    either, reach = np.pad(kept | gained, round(GAP * side) + 1), GAP * side
    closed = square(square(either, reach, grow=True), reach, grow=False)
    edge = round(GAP * side) + 1
    gaps = closed[edge:-edge, edge:-edge] & ~kept & (new | free)
    # New hair hangs on own hair, over ears, too; what is drawn elsewhere belongs to nobody.
    gaps |= fallen(ends, gained, HANGS * side) & ~inner & fallen_on & told
    gaps &= ~before_face
    filled = binary_propagation(gained | longer, mask=gained | longer | gaps)
    filled = binary_propagation(square(kept, TOUCHES * side, grow=True) & filled, mask=filled)
    low, high = CERTAIN
    share = ((after - low) / (high - low)).clip(0, 1)
    share[filled & ~gained] = 1
    around = square(filled, SPOT * side / 2, grow=True)
    return gone, np.where(around, share, 0).astype(np.float32)


def joined_to(face: Mask, new: Plane, side: float) -> Plane:
    """New hair [h, w] that goes on behind a face [h, w] where it nearly touches it."""
    reach, there = JOINS * side, new > 0.5
    closed = square(square(there | face, reach, grow=True), reach, grow=False)
    near = square(there, 2 * reach, grow=True) & square(face, 2 * reach, grow=True)
    found: Plane = np.where(closed & near & ~face, 1, new).astype(np.float32)
    return found


def face_and_forehead(mesh: NDArray[Any], height: int, width: int) -> Mask:
    """[height, width]: within the oval of a mesh [478, 2], or above it as far as foreheads go."""
    oval = mesh[list(FACE_OVAL)]
    up = FOREHEAD * (mesh[TOP] - mesh[CHIN])
    found: Mask = np.maximum.reduce(
        [polygon_mask(oval + share * up, height, width) > 0.5 for share in (0, 0.5, 1)]
    )
    return found


# ---- the stage


@dataclass(frozen=True)
class Reshaped(Value):
    """levels: uint8 [T, 2, h, w] on the canvas: where own hair goes, as far as there is any, and
    where there is new hair. color: [T, 3], by how much the mean of hair changes in Lab."""

    ROWS: ClassVar[tuple[str, ...]] = ("levels", "color")
    levels: NDArray[np.uint8]
    color: NDArray[np.float32]


@stage(compress=True)
def reshaped(
    hair_drawn: Annotated[HairDrawn, Near(AROUND)],
    labels: Annotated[Labels, Near(AROUND)],
    matte: Annotated[Matte, Near(AROUND)],
    pivots: Annotated[Pivots, Near(AROUND)],
    track: Annotated[FaceTrack, Near(AROUND)],
    span: Span,
    canvas: Canvas,
    region: HeadRegion,
    hair_window: HairWindow,
    drawer: Drawer,
) -> Reshaped:
    """New hair may come before the face."""
    given = hair_drawn, labels, matte, pivots, track, span, canvas, region, hair_window, drawer
    return _reshaped(*given, None)


@stage(version=2, compress=True)
def lengthened_beside_face(
    hair_drawn: Annotated[HairDrawn, Near(AROUND)],
    labels: Annotated[Labels, Near(AROUND)],
    matte: Annotated[Matte, Near(AROUND)],
    pivots: Annotated[Pivots, Near(AROUND)],
    track: Annotated[FaceTrack, Near(AROUND)],
    span: Span,
    canvas: Canvas,
    region: HeadRegion,
    hair_window: HairWindow,
    drawer: Drawer,
    head_pose: Annotated[HeadPose, Near(AROUND)],
    skull: Skull,
) -> Reshaped:
    """New hair comes beside the face alone, and none goes."""
    given = hair_drawn, labels, matte, pivots, track, span, canvas, region, hair_window, drawer
    return _reshaped(*given, _around(skull, head_pose, canvas), keeps=True)


@stage(version=6, compress=True)
def reshaped_beside_face(
    hair_drawn: Annotated[HairDrawn, Near(AROUND)],
    labels: Annotated[Labels, Near(AROUND)],
    matte: Annotated[Matte, Near(AROUND)],
    pivots: Annotated[Pivots, Near(AROUND)],
    track: Annotated[FaceTrack, Near(AROUND)],
    span: Span,
    canvas: Canvas,
    region: HeadRegion,
    hair_window: HairWindow,
    drawer: Drawer,
    head_pose: Annotated[HeadPose, Near(AROUND)],
    skull: Skull,
) -> Reshaped:
    """New hair comes beside the face alone."""
    given = hair_drawn, labels, matte, pivots, track, span, canvas, region, hair_window, drawer
    return _reshaped(*given, _around(skull, head_pose, canvas))


def _around(skull: Skull, head_pose: HeadPose, canvas: Canvas) -> Callable[[int, Mask], Mantle]:
    return lambda row, own: mantle(skull, Place.of(head_pose, row), own, canvas.grid)


def _reshaped(
    hair_drawn: HairDrawn,
    labels: Labels,
    matte: Matte,
    pivots: Pivots,
    track: FaceTrack,
    span: Span,
    canvas: Canvas,
    region: HeadRegion,
    hair_window: HairWindow,
    drawer: Drawer,
    falls: Callable[[int, Mask], Mantle] | None,
    keeps: bool = False,
) -> Reshaped:
    """falls: where hair falls beside the face of a frame with own hair [h, w]; None if it may come
    before it. keeps: whether no hair goes."""
    core, side = span.core(AROUND), track.box.side / canvas.step
    shown = hair_window.seen_from(canvas.grid)
    bottom = shown.top + shown.step * shown.height
    begins = runs(track.present, track.cuts)
    places = faces_of(pivots, track), begins, canvas.grid, track.box

    def own_hair(row: int) -> Tensor:
        alpha = torch.from_numpy(matte.alpha[row])[None, None].float() / 255
        return cut_grid(alpha, canvas.grid, on=hair_window)[0, 0]

    def seen(row: int) -> Tensor:
        """Own hair, surroundings, what is drawn of hair and skin, and the person: [6, h, w]."""
        drawn = drawn_share(pivots, track, np.array([row]), drawer, canvas)
        told = torch.from_numpy(hair_drawn.levels[row : row + 1]).float() / 255 * drawn
        shown = labels.planes[row : row + 1, [Label.BACKGROUND, Label.SKIN, Label.CLOTHES]]
        planes = on_canvas(torch.from_numpy(shown).float() / 255, region, canvas)
        around, person = planes[:, :1], planes[:, 1:].sum(1, keepdim=True)
        return torch.cat([own_hair(row)[None, None], around, told, person], 1)[0]

    evidence = Averaged(seen, TAPS, *places)

    def look(row: int) -> Tensor:
        """Where hair goes and comes, [2, h, w]."""
        around, *told, person = evidence(row)[1:].numpy()
        own, mine = evidence.of(row)[0], own_share(track, range(row, row + 1), canvas.grid)[0]
        before, after, skin = (told[k] for k in (OLD_HAIR, NEW_HAIR, NEW_SKIN))
        free = (around > 0.5) & (after + skin > 0.5)
        face = face_and_forehead(canvas.grid.places(track.mesh[row]), canvas.height, canvas.width)
        given = own.numpy(), before, after, free, face, side, falls is None
        beside = None if falls is None else falls(row, own.numpy() > 0.5)
        found = decided(*given, beside, person > 0.5, keeps)
        shown: Tensor = torch.from_numpy(np.stack(found)) * mine
        return shown

    voters, (low, high) = np.ones(2 * VOTERS + 1), MAJORITY
    decisions = Averaged(look, voters, *places)

    def shares(row: int) -> Tensor:
        """Where hair goes and comes, as most frames around say, [2, h, w]."""
        return ((decisions(row) - low) / (high - low)).clamp(0, 1)

    def hanging(row: int) -> Tensor:
        """New hair as it hangs, what goes and comes as of `shares`, and own hair and the face,
        which are before it, [4, h, w]."""
        assert falls is not None
        share = shares(row)
        mesh = canvas.grid.places(track.mesh[row])[list(FACE_OVAL)]
        face = polygon_mask(mesh, canvas.height, canvas.width) > 0.5
        kept = ((own_hair(row) > 0.5) & (share[0] < 0.5)).numpy()
        new = joined_to(face, share[1].numpy(), side)
        # Own hair swings, and sides of heads move otherwise than faces when these turn, so
        # neighbouring frames do not agree on what lies below it.
        new[fallen(kept, new > 0.5, SWINGS * side) & ~face] = 1
        hung = falls(row, kept).hung(new, kept, face, side, bottom)
        return torch.from_numpy(np.stack([hung, share[0].numpy(), new, kept | face]))

    hung = Averaged(hanging, TAPS, faces_seen(track), *places[1:])
    made = np.zeros((len(span), 2, canvas.height, canvas.width), np.uint8)
    color = np.zeros((len(span), 3), np.float32)
    for row in (np.flatnonzero(track.present[core]) + core.start).tolist():
        if falls is None:
            share = shares(row)
        else:
            around, (_, *alone, before) = hung(row)[0], hung.of(row)
            share = torch.stack(alone)
            share[1][before == 0] = ((around - low) / (high - low)).clamp(0, 1)[before == 0]
        made[row - core.start] = (share * 255).round().to(torch.uint8).numpy()
        color[row - core.start] = neighbour_weights(row, begins, voters) @ hair_drawn.color
    return Reshaped(made, color)
