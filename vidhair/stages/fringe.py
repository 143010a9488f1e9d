"""A fringe: hair of the person's own from above the forehead, which falls further down over it, or
less far.

Lengths are in sides of the face's crop, from the middle of that; down and to the viewer's right are
positive. T frames, K columns from temple to temple.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from scipy.special import ndtr

from vidhair.geometry import CropAxes
from vidhair.imaging.motion import fetch, sample
from vidhair.stages.align import FaceTrack
from vidhair.stages.bent import Move, samples_of
from vidhair.stages.ends import hanging_at
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.wiring import Series, Value, stage

Plane = NDArray[np.float32]

COLUMNS, ROWS, HIGHEST = 49, 160, -1.1
# Of the mesh: temples and the place between the brows, which lie at one height; forehead and chin.
TEMPLES, BETWEEN, TOP, CHIN = (21, 251), 9, 10, 152
WIDER = 0.06  # than from temple to temple, a fringe is, as a share of that
FOREHEAD = 0.09  # share of a face's length, that its hairline is above the mesh in the middle
ARCHED = 2.5  # exponent by which it falls to the temples
SIDES = 0.22  # share of its width at either side, over which a fringe begins
# How far below the brows fringes end, at most: what hangs further down is no fringe.
EYES = 0.14
# How far below where it mostly ends hair ends, and shades skin; blur of the border of that.
TIPS, SHADOW, BORDER = 0.04, 0.1, 0.015
LEAST_HAIR = 0.3  # share of the columns that have hair, and of the middle half of them
# Deviations of means over frames and columns, and over those of what hangs beside the face.
OVER_TIME, ACROSS, BESIDE = 2.0, 1.5, 3.0
DEEP = 0.85  # share of the hair above a hairline that falls further down, from there
LEAST_DEEP = 0.1
FRINGED = (0.12, 0.35)  # share of a forehead under hair, from which on that is a fringe, and surely
MOSTLY = 0.7  # how far hair hangs over the forehead, that is a fringe of its own
SURE = 0.02  # how far above a hairline hair is that falls down to its new end: there it hides all
# Of the light of hair that falls: blur that tells it from strands, and how far it becomes that of
# all hair, by factors in bounds; and how far hair falls that fully does.
LIGHT_BLUR, EVEN, BOUNDS, FALLS = 0.06, 0.8, (0.6, 1.6), 0.08
# How far strands run down then, though those of a crown run aside, and how far hair falls that has
# them fully; their widths and length, of how many tones they are, and how far they go through them.
COMBED, FALLS_COMBED = 0.7, 0.18
STREAKS, STREAK_LENGTH, TONES, CONTRAST = (0.002, 0.007), 0.3, 9, 0.8
BARE = 3.0  # how many times further hair counts as fallen that comes where none was
ENDS = 0.012  # by how much locks end at different heights
# Hair that fell throws a shadow on the skin below: how dark, how soft and how far down.
DARK, DARK_BLUR, DARK_FALL = 0.3, 0.015, 0.02


@dataclass(frozen=True)
class Hairline(Value):
    """Where hair is above a face. left, right: [T], where columns begin and end; top, end: [T, K],
    the first hair of each, and the last above the face; free: [T, K] in 0 … 1, whether it ends
    there, and does not hang beside the face; bare, brows: [T, K], where foreheads begin and end.
    All NaN in frames without hair there."""

    ROWS: ClassVar[tuple[str, ...]] = ("left", "right", "top", "end", "free", "bare", "brows")
    left: Plane
    right: Plane
    top: Plane
    end: Plane
    free: Plane
    bare: Plane
    brows: Plane

    def fringed(self, row: int) -> float:
        """How far hair hangs over the forehead in a frame, rather than ends where it grows, in
        0 … 1."""
        middle = slice(self.end.shape[1] // 4, -self.end.shape[1] // 4)
        end, bare, brows = (values[row, middle] for values in (self.end, self.bare, self.brows))
        low, high = FRINGED
        covered = float(np.median((end - bare) / np.maximum(brows - bare, 1e-3)))
        return float(np.clip((covered - low) / (high - low), 0, 1))

    @property
    def mostly_fringed(self) -> bool:
        """Whether a fringe is seen in most frames with hair."""
        told = [self.fringed(row) for row in np.flatnonzero(~np.isnan(self.end).any(1)).tolist()]
        return bool(told) and float(np.median(told)) > MOSTLY

    def move(self, row: int, places: Plane, amount: float, locks: Plane) -> Move:
        """Of hair that falls by so much of the way to the brows further down, or if that is below
        zero, up to where a forehead begins. places: [h, w, 2], on the face; locks: [h, w], by how
        much further than others each falls, of deviation 1."""
        x, y = places[..., 0], places[..., 1]
        light = np.ones_like(x)
        still = Move(np.zeros_like(places), light, leaves=amount > 0)
        if np.isnan(self.end[row]).any():
            return still
        left, right = float(self.left[row]), float(self.right[row])
        across = (x - left) / (right - left)
        columns = np.linspace(0, 1, self.end.shape[1])
        top, end, free, bare, brows = (
            np.interp(across, columns, values[row]).astype(np.float32)
            for values in (self.top, self.end, self.free, self.bare, self.brows)
        )
        share = (np.minimum(across, 1 - across) / SIDES).clip(0, 1)
        share = share * share * (3 - 2 * share) * free
        to = (brows - end).clip(0) if amount > 0 else self.fringed(row) * (end - bare).clip(0)
        away = amount * share * to
        begins = end - np.maximum(DEEP * (end - top), LEAST_DEEP)
        until = np.maximum(end + away, begins + LEAST_DEEP / 2)
        down = ((y - begins) / (until - begins)).clip(0)
        last = end - SURE * (amount > 0) * share
        source = np.where(down < 1, begins + down * (last - begins), last + y - until)
        # Strands stay as they lie, and end at different heights.
        source -= ENDS * locks * down.clip(0, 1) ** 4 * np.abs(away) / (np.abs(away) + ENDS)
        below = np.maximum(until, end) + (TIPS if amount > 0 else SHADOW)
        of = np.where((y > begins) & (y < below) & (share > 0), source - y, 0).astype(np.float32)
        # Ends thin out, as what is faint below a hairline would end in a line where it is cut.
        thins = ((y - until) / TIPS).clip(0, 1) if amount > 0 else np.zeros_like(y)
        move = np.stack([np.zeros_like(of), of], -1)
        return Move(move, light, amount > 0, thins.astype(np.float32))


def even_light(
    seen: NDArray[np.uint8], alpha: Plane, move: Move, axes: CropAxes, grid: HairWindow
) -> Move:
    """A move of hair, alpha [h, w], of a picture [h, w, 3], whose shine and shade become less as it
    moves: a crown's are none of a fringe. axes: of the face."""
    if not (alpha > 0.5).any():
        return move
    light, blur = seen.mean(-1, dtype=np.float32), LIGHT_BLUR * grid.side
    around = gaussian_filter(light * alpha, blur) / (gaussian_filter(alpha, blur) + 1e-3)
    wanted = np.clip(np.median(light[alpha > 0.5]) / (around + 1), *BOUNDS) ** EVEN
    there = fetch(wanted.astype(np.float32), samples_of(move, axes, grid))
    share = np.clip(np.abs(move.of).max(-1) / FALLS, 0, 1)
    return replace(move, light=(1 + share * (there - 1)).astype(np.float32))


def bared(
    made: NDArray[np.uint8], there: Plane, changed: NDArray[np.uint8], move: Move,
    bare: NDArray[np.uint8], grid: HairWindow,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:  # fmt: skip
    """What is made of a picture [h, w, 3] with hair [h, w], and how far it is changed [h, w], where
    hair went up: without what it did to the skin below. bare: [h, w, 3], without hair."""
    went = gaussian_filter((move.of[..., 1] > 0).astype(np.float32), BORDER * grid.side)
    share = np.clip(2 * went - 1, 0, 1) * (1 - there)
    mixed = made + share[..., None] * (bare - made.astype(np.float32))
    levels: NDArray[np.uint8] = np.rint(mixed).clip(0, 255).astype(np.uint8)
    return levels, np.maximum(changed, np.ceil(255 * share).astype(np.uint8))


def combed(
    seen: NDArray[np.uint8], alpha: Plane, made: NDArray[np.uint8], there: Plane, move: Move,
    places: Plane, grid: HairWindow,
) -> NDArray[np.uint8]:  # fmt: skip
    """What is made of a picture [h, w, 3] with hair, alpha [h, w], whose strands run down the more
    the further they fell. there: [h, w], the hair that is made; places: [h, w, 2], on the face."""
    sure = alpha > 0.9
    if not sure.any():
        return made
    light, blur = seen.mean(-1, dtype=np.float32), LIGHT_BLUR * grid.side
    around = gaussian_filter(light * alpha, blur) / (gaussian_filter(alpha, blur) + 1e-3)
    even = np.clip(np.median(light[sure]) / (around[sure] + 1), *BOUNDS)
    tones = tones_of(seen[sure] * even[:, None])
    streaks = hanging_at(torch.from_numpy(places)[None], STREAKS, STREAK_LENGTH)
    level = (len(tones) - 1) * ndtr(CONTRAST * streaks)
    low = np.minimum(level.astype(int), len(tones) - 2)
    strands = tones[low] + (level - low)[..., None] * (tones[low + 1] - tones[low])
    # Before a bare forehead nothing tells how strands lay there, so even little is combed.
    falls = move.of[..., 1] / -FALLS_COMBED * (1 + BARE * (1 - gaussian_filter(alpha, blur)))
    share = COMBED * there * np.clip(falls, 0, 1)
    mixed = made + share[..., None] * (strands - made)
    found: NDArray[np.uint8] = np.rint(mixed).clip(0, 255).astype(np.uint8)
    return found


def tones_of(colors: NDArray[Any]) -> Plane:
    """The mean color of each of TONES parts of equal size of colors [N, 3], from dark to light."""
    order = np.argsort(colors.mean(1))
    found = [colors[part].mean(0) for part in np.array_split(order, TONES) if len(part)]
    return np.asarray(found * 2 if len(found) < 2 else found, np.float32)


def shaded(
    made: NDArray[np.uint8], changed: NDArray[np.uint8], there: Plane, alpha: Plane,
    grid: HairWindow,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:  # fmt: skip
    """What is made of a picture [h, w, 3] and how far it is changed [h, w], with the shadow of hair
    that is there [h, w] where none was, alpha [h, w]."""
    came = gaussian_filter((there - alpha).clip(0), DARK_BLUR * grid.side)
    fall = max(1, round(DARK_FALL * grid.side))
    below = np.zeros_like(came)
    below[fall:] = came[:-fall]
    share = DARK * below * (1 - there)
    share = np.where(share > 1 / 255, share, 0)
    levels: NDArray[np.uint8] = np.rint(made * (1 - share[..., None])).astype(np.uint8)
    return levels, np.maximum(changed, np.ceil(255 * share).astype(np.uint8))


def profile(hair: Plane, axes: CropAxes, mesh: NDArray[Any], grid: HairWindow) -> tuple[Plane, ...]:
    """A row of each field of `Hairline`, of hair [h, w] in 0 … 1. axes, mesh: of the face."""
    points = axes.locate(mesh[None, [*TEMPLES, BETWEEN, TOP, CHIN]])[0]
    (left, right), middle, (top, chin) = points[:2], points[2], points[3:, 1]
    wide = WIDER * (right[0] - left[0])
    first, last = left[0] - wide, right[0] + wide
    x = np.linspace(first, last, COLUMNS)
    brows = np.interp(x, [left[0], middle[0], right[0]], [left[1], middle[1], right[1]])
    off = np.abs((2 * x - first - last) / (last - first)) ** ARCHED
    bare = top - FOREHEAD * (chin - top)
    bare = bare + (0.5 * (left[1] + right[1]) - bare) * off
    share = np.linspace(1, 0, ROWS)[:, None]
    y = brows + EYES + share * (HIGHEST - brows - EYES)
    at = axes.centre[0] + 2 * (np.broadcast_to(x, y.shape)[..., None] * axes.x[0] +
                               y[..., None] * axes.y[0])  # fmt: skip
    there = (grid.places(at.reshape(-1, 2)).reshape(at.shape) - 0.5).astype(np.float32)
    seen = sample(np.pad(hair, 1), there + 1) > 0.5
    known, columns = seen.any(0), np.arange(COLUMNS)
    # A picture may end below the hairline, and show what hangs beside the face alone.
    if min(known.mean(), known[COLUMNS // 4 : -COLUMNS // 4].mean()) < LEAST_HAIR:
        ends = np.full((3, COLUMNS), np.nan)
    else:
        rows = seen.argmax(0), ROWS - 1 - seen[::-1].argmax(0)
        ends = np.stack(
            [np.interp(columns, columns[known], y[row, columns][known]) for row in rows]
            + [(rows[1] < ROWS - 1).astype(float)]
        )
    found = np.array(first), np.array(last), *ends, bare, brows
    return tuple(np.asarray(one, np.float32) for one in found)


@stage(version=2)
def hairline(matte: Series[Matte], track: Series[FaceTrack], hair_window: HairWindow) -> Hairline:
    """Smooth over the frames of a shot."""
    present, shot = track.field("present"), np.cumsum(track.field("cuts"))
    count = len(present)
    sizes = (), (), *[(COLUMNS,)] * 5
    made = [np.full((count, *size), np.nan, np.float32) for size in sizes]
    for row in np.flatnonzero(present).tolist():
        one, seen = (row, row + 1), track.rows(row, row + 1)
        hair = matte.rows(*one).alpha[0].astype(np.float32) / 255
        for values, found in zip(made, profile(hair, seen.axes, seen.mesh[0], hair_window),
                                 strict=True):  # fmt: skip
            values[row] = found
    haired = present & ~np.isnan(made[3]).any(1)
    for number in np.unique(shot[haired]):
        rows = np.flatnonzero(haired & (shot == number))
        for values, across in zip(made[2:5], (ACROSS, ACROSS, BESIDE), strict=True):
            smooth = gaussian_filter1d(values[rows], across, axis=1, mode="nearest")
            values[rows] = gaussian_filter1d(smooth, OVER_TIME, axis=0, mode="nearest")
    return Hairline(*made)
