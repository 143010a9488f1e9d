"""A person's own hair, moved: it bends and spreads, and what it leaves shows what was behind it.

A move is a field over the head: for every place, how far from it the hair is that is seen there.
It is fixed to the head, so that hair bends the same way in all frames.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.geometry import CropAxes
from vidhair.imaging.matting import split_colors
from vidhair.imaging.motion import fetch
from vidhair.stages.align import FACE
from vidhair.stages.bare_view import grown, soft
from vidhair.stages.region import HairWindow
from vidhair.wiring import Value

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]

# Lengths are in sides of the face's crop, from the middle of that, and down is positive.
WAVE, LENGTH = 0.028, 0.3  # how far hair swings aside, and over which length
BEGINS = (-0.5, 0.05)  # where waves begin below the crown, and where they are whole
TURNS, LOCKS = 5.0, (0.8, 14.0)  # by how much waves are later further aside; locks differ
BESIDE = (0.8, 1.2)  # sizes of the face's oval between which hair before the face begins to move
SHINE = 0.1  # by how much hair is lighter where a wave comes forward
VOLUME = 0.3  # how much further from the middle of the head full hair stands than flat hair
STANDS = (1.0, 1.9)  # sizes of the face's oval between which it begins to
HANGS = (0.3, 0.8)  # what hangs further down stands off no more
EDGE, HIDDEN = 0.012, 0.04  # around hair and scalp, that may be theirs; share that is some
COLOR_REACH = 0.03  # over which colors of hair at its border are looked for
STILL, MOVES = 0.05, 0.5  # samples of a move that are none, and that are seen


@dataclass(frozen=True)
class Bent(Value):
    """The person with hair that was moved, in the hair's window. levels: uint8 [T, h, w, 3];
    changed: uint8 [T, h, w], how far a sample is not the frame's; alpha: uint8 [T, h, w], of the
    hair where it is now."""

    ROWS = ("levels", "changed", "alpha")
    levels: Picture
    changed: Picture
    alpha: Picture


@dataclass(frozen=True)
class Move:
    """of: [h, w, 2], from where a place's hair is taken, in sides of the crop, along the face's
    own axes; light: [h, w], a factor of that hair's light; leaves: whether hair stays below that
    which moves, too; thins: [h, w] or one for all, alpha up to which hair that moved is none."""

    of: Plane
    light: Plane
    leaves: bool
    thins: Plane | float = 0.0


def _ramp(values: Plane, ends: tuple[float, float]) -> Plane:
    """Smoothly from 0 to 1 between two ends."""
    share = np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1)
    found: Plane = share * share * (3 - 2 * share)
    return found


def _ovals(places: Plane) -> Plane:
    """How many sizes of the face's oval a place is away from its middle."""
    found: Plane = np.hypot(places[..., 0] / FACE[0], places[..., 1] / FACE[1])
    return found


def waved(places: Plane, amount: float) -> Move:
    """Hair swings from side to side on its way down, the more the further down."""
    across, down = places[..., 0], places[..., 1]
    share = _ramp(down, BEGINS) * _ramp(_ovals(places), BESIDE)
    lock, often = LOCKS
    phase = 2 * np.pi * down / LENGTH + TURNS * across + lock * np.sin(often * across)
    aside = np.float32(amount * WAVE) * share * np.sin(phase)
    light = 1 + np.float32(amount * SHINE) * share * np.cos(phase)
    return Move(np.stack([aside, np.zeros_like(aside)], -1), light.astype(np.float32), True)


def fuller(places: Plane, amount: float) -> Move:
    """Hair stands further off the head, above and at the sides, or less far."""
    down = places[..., 1]
    grows = np.float32(amount * VOLUME) * _ramp(_ovals(places), STANDS) * (1 - _ramp(down, HANGS))
    inwards = -(grows / (1 + grows))[..., None] * places
    inwards[..., 1] *= down < 0
    return Move(inwards, np.ones_like(down), amount > 0)


def samples_of(move: Move, axes: CropAxes, grid: HairWindow) -> Plane:
    """How far from a place its hair is taken, [h, w, 2] in samples. axes: of the face."""
    onto = np.stack([axes.x[0], axes.y[0]]) * 2 / grid.step  # a side of the crop
    found: Plane = (move.of @ onto.astype(np.float32)).astype(np.float32)
    return found


def bent(
    seen: Picture, bare: Picture, scalp: Plane, alpha: Plane, move: Move, axes: CropAxes,
    grid: HairWindow,
) -> tuple[Picture, Picture, Plane]:  # fmt: skip
    """A picture whose hair was moved, how far that is not the picture's own, and where hair is.

    seen: [h, w, 3] on the grid; bare: the same without hair; scalp: [h, w], how far that shows skin
    which hair hid; alpha: [h, w], of the hair; axes: of the face. Hair that moves leaves hair on
    the scalp, and everywhere if the move says so.
    """
    motion = samples_of(move, axes, grid)
    share = np.clip((np.hypot(*np.moveaxis(motion, -1, 0)) - STILL) / (MOVES - STILL), 0, 1)
    edge = EDGE * grid.side
    unit = torch.from_numpy(seen).movedim(-1, 0)[None].contiguous() / 255
    found, _, _ = split_colors(
        unit, torch.from_numpy(alpha)[None, None], max(2, round(COLOR_REACH * grid.side))
    )
    own = found[0].movedim(0, -1).numpy() * (255 * alpha[..., None])
    taken = fetch(np.dstack([own, alpha]), motion)
    there = ((taken[..., 3] - move.thins) / np.maximum(1 - move.thins, 1e-3)).clip(0, 1)
    hair = taken[..., :3] * (move.light * there / np.maximum(taken[..., 3], 1e-3))[..., None]
    kept = np.ones_like(alpha)
    if not move.leaves:
        kept = soft(grown(scalp > HIDDEN, edge), 0.5 * edge)
        kept = np.maximum(kept, 1 - soft(grown(alpha > HIDDEN, edge), 0.5 * edge))
    left = bare + kept[..., None] * (seen.astype(np.float32) - bare)
    made = hair + (1 - there[..., None]) * left
    levels = np.rint(seen + share[..., None] * (made - seen)).clip(0, 255).astype(np.uint8)
    shown: Plane = alpha + share * (np.maximum(there, kept * alpha) - alpha)
    changed = np.where((levels != seen).any(-1), np.ceil(share * 255), 0)
    return levels, changed.astype(np.uint8), shown
