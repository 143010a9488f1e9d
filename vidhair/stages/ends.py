"""Where hair ends, what hangs below where it is cut, and how long hair falls further down.

Heights are y on the head, in half widths of a face, as those of a `Skull`: a cut moves and tilts
with the head, as hair does that grows on it.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, label
from torch import Tensor

from vidhair.geometry import CropAxes, Grid
from vidhair.stages.align import FaceTrack
from vidhair.stages.bent import Move
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.stages.skull import HeadPose, Place, Skull, look
from vidhair.wiring import Series, Value, stage

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

LOOKED_AT = 10  # frames
# Percent of the samples of hair above where it ends, and of frames where it ends no lower, as some
# show less of it.
LAST, LOWEST = 99, 75
LEAST = 0.002  # of the crop's square, that hair is which ends anywhere
LEAST_PART = (
    0.15  # of the largest part of hair, that others have, which are no clothes of its color
)
# In half widths, how much an amount of one of length is; y above which hair is not cut, within the
# upper half of ears, and by how much less it is not worth it.
OF_LENGTH, HIGHEST, LEAST_CUT = 1.35, -0.2, 0.1
# y below which hair that ends there falls further down where it becomes longer, as all of it does
# below another one; and share of that length over which it begins to.
LONG, BEGINS, BEGIN = 1.0, -0.5, 0.4
UPRIGHT = 0.5  # how long the head's own axis is seen, at least, where it tells heights
# Lengths are in sides of the face's crop. Streaks, as long and as wide as strands and locks are,
# around the head, and the waves in which they hang.
AROUND_HEAD, FINENESS = 1.5, 320
WAVES = (0.012, 9.0)
# Of a cut: how wide and long locks and strands are, by how much each ends differently, and how soft
# its border is.
LOCKS, LOCK_LENGTH, LOCKS_END = (0.03, 0.08), 0.5, 0.014
STRANDS, STRAND_LENGTH = (0.004, 0.012), 0.3
MOST, SOFT = 1.5, 0.03
# How much higher it lies at the sides of what hangs, how far inwards, and blur of these sides.
ROUND, CORNER, SIDES = 0.06, 0.1, 0.02
# In half widths: how far hair stands off the head at a cut through the ears, by how much more for
# every one that it is cut lower, and that it hangs above the cut.
CLOSE, LOWER, ABOVE = 0.1, 0.9, 0.6


@cache
def _hanging(widths: tuple[float, ...], length: float) -> Tensor:
    """What hangs around a head in widths and a length, [1, 1, n, n], of mean 0 and deviation 1."""
    rng = np.random.default_rng(round(widths[0] / 1e-3))  # so that several are not alike
    count = round(2 * AROUND_HEAD * FINENESS)
    total = np.zeros((count, count), np.float32)
    for width in widths:
        noise = rng.standard_normal((count, count)).astype(np.float32)
        layer = gaussian_filter(noise, (length * FINENESS, width * FINENESS), mode="wrap")
        total += layer / layer.std()
    return torch.from_numpy(total / total.std())[None, None]


def hanging_at(places: Tensor, widths: tuple[float, ...], length: float) -> Plane:
    """Of strands or locks that hang in waves, [h, w], of about mean 0 and deviation 1.

    places: [1, h, w, 2], on the head, in sides of the face's crop, as widths and length are.
    """
    x, y = places.unbind(-1)
    bent = x + WAVES[0] * torch.sin(WAVES[1] * y + 5 * x)
    at = torch.stack([bent, y], -1) / AROUND_HEAD
    hanging = _hanging(widths, length)
    found = F.grid_sample(hanging, at.float(), padding_mode="reflection", align_corners=False)
    return found[0, 0].numpy()


def locks_at(places: Tensor) -> Plane:
    """By how much locks and strands end further up or down, [h, w], in deviations of locks. places:
    as in `hanging_at`."""
    locks = hanging_at(places, LOCKS, LOCK_LENGTH).clip(-MOST, MOST)
    strands = hanging_at(places, STRANDS, STRAND_LENGTH).clip(-MOST, MOST)
    found: Plane = locks + strands
    return found


def heights(at: Place, grid: Grid) -> Plane:
    """y on the head of what a grid shows, [h, w], as if all of it lay between the ears: there a
    head that nods moves what hangs least."""
    down = at.rotation[:2, 1]
    long = max(float(down @ down), UPRIGHT**2)
    x = grid.left + (np.arange(grid.width) + 0.5) * grid.step - at.shift[0]
    y = grid.top + (np.arange(grid.height) + 0.5) * grid.step - at.shift[1]
    found: Plane = (x[None] * down[0] + y[:, None] * down[1]) / (at.scale * long)
    return found.astype(np.float32)


def large_parts(hair: Mask) -> Mask:
    """Of hair [h, w], what hangs together with enough of it: strays and what of clothes is taken
    for hair tell of no end."""
    parts, _ = label(hair)
    size = np.bincount(parts.ravel())
    size[0] = 0
    found: Mask = hair & (size[parts] >= LEAST_PART * size.max())
    return found


def from_sides(hair: Mask, blur: float) -> Plane:
    """How far samples of hair [h, w] are from where it ends to the left and right, in samples; zero
    beside it. blur: of these sides, and of what hangs out of them or lies between strands."""
    hair = gaussian_filter(hair.astype(np.float32), blur) > 0.5
    columns = np.arange(hair.shape[1], dtype=np.float32)
    left = columns - np.maximum.accumulate(np.where(hair, -1, columns), axis=1)
    right = np.minimum.accumulate(np.where(hair, np.inf, columns)[:, ::-1], axis=1)[:, ::-1]
    near = np.minimum(left, np.minimum(right - columns, hair.shape[1]))
    found: Plane = gaussian_filter1d(np.where(hair, near, 0), blur, axis=0).astype(np.float32)
    return found


def cut_away(
    y: Plane, off: Plane, cut: float, scale: float, hair: Mask, places: Tensor, side: float
) -> Plane:
    """How far hair is gone, that is cut at a height, [h, w] in 0 … 1: below that, some locks and
    strands earlier than others, and sooner at the sides of what hangs. Hair that ends beside an ear
    lies close to the head there.

    y: [h, w], heights; off: [h, w], from the head; scale: of these, in samples; hair: [h, w], own;
    places: [1, h, w, 2], on the head, in sides of the face's crop; side: of that, in samples.
    """
    if not np.isfinite(cut) or (y < cut).all():
        return np.zeros_like(y)
    corner = np.clip(1 - from_sides(hair, SIDES * side) / (CORNER * side), 0, 1)
    below = (y - cut) * scale + ROUND * side * corner**2
    stands = CLOSE + LOWER * max(0.0, cut) + ABOVE * np.maximum(cut - y, 0)
    below = np.maximum(below, (off - stands) * scale)
    below += LOCKS_END * side * locks_at(places)
    gone: Plane = np.clip(below / (SOFT * side) + 0.5, 0, 1).astype(np.float32)
    return gone


def further_down(y: Plane, end: float, longer: float) -> Plane:
    """How far above a place [h, w] the hair was that falls there, in half widths: none at the
    temples, and as far as hair is longer from its end on. y: heights; end: of own hair."""
    share = ((y - BEGINS) / (end + longer - BEGINS)).clip(0, 1)
    smooth = np.where(share < BEGIN, share**2 / (2 * BEGIN), share - BEGIN / 2) / (1 - BEGIN / 2)
    found: Plane = np.float32(longer) * smooth.astype(np.float32)
    return found


# ---- stages


@dataclass(frozen=True)
class HairFall(Value):
    """cut: [T] float32, the y where hair is cut; inf where it is not. longer: [T] float32, by how
    many half widths own hair that is long falls further down. grows: [T] bool, whether other hair
    is worn in place of what is too short for that, and cut. end: the y where own hair ends."""

    ROWS: ClassVar[tuple[str, ...]] = ("cut", "longer", "grows")
    cut: NDArray[np.float32]
    longer: NDArray[np.float32]
    grows: NDArray[np.bool_]
    end: float

    def move(self, row: int, pose: HeadPose, axes: CropAxes, grid: HairWindow) -> Move:
        """Of hair that is longer in a frame: none goes. axes: of the face there."""
        at = Place.of(pose, row)
        away = further_down(heights(at, grid), self.end, float(self.longer[row]))
        sides = np.float32(at.scale * np.hypot(*at.rotation[:2, 1]) / float(axes.side[0]))
        of = np.stack([np.zeros_like(away), -sides * away], -1)
        return Move(of, np.ones_like(away), leaves=True)

    def gone(
        self, row: int, skull: Skull, pose: HeadPose, alpha: NDArray[Any], places: Tensor,
        grid: HairWindow,
    ) -> Plane:  # fmt: skip
        """How far hair is gone, [h, w] in 0 … 1, with a frame's cut. alpha: [h, w] in 0 … 1, of
        own hair, or of what is worn; places: [1, h, w, 2], on the head, in sides of the face's
        crop."""
        at, cut = Place.of(pose, row), float(self.cut[row])
        if not np.isfinite(cut):
            return np.zeros(alpha.shape, np.float32)
        scale = at.scale / grid.step
        off = -look(skull, at, grid).inside / np.float32(scale)
        given = heights(at, grid), off, cut, scale
        return cut_away(*given, alpha > 0.5, places, grid.side)


@dataclass(frozen=True)
class HairEnd(Value):
    """y: where a person's own hair ends; −inf without hair."""

    y: float

    @property
    def long(self) -> bool:
        """Whether it falls further down where it becomes longer."""
        return self.y > LONG

    @property
    def highest(self) -> bool:
        """Whether it ends too high to be cut."""
        return self.y < HIGHEST + LEAST_CUT

    def grown(self, amount: Any) -> Any:
        """Where other hair ends that grew from here by an amount."""
        return max(self.y, HIGHEST) + OF_LENGTH * amount

    def moved(self, amounts: NDArray[np.float32], most: float) -> "HairFall":
        """Shorter by amounts [T], where these are below zero; longer where above, by other hair if
        it is not long. most: of all amounts of the clip."""
        cut = np.where(amounts < 0, np.maximum(self.y + OF_LENGTH * amounts, HIGHEST), np.inf)
        longer = OF_LENGTH * amounts.clip(0) * self.long
        grows = (amounts > 0) & (not self.long)
        y = self.grown(amounts)
        cut = np.where(grows & (y < self.grown(most) - LEAST_CUT), y, cut)
        return HairFall(cut.astype(np.float32), longer.astype(np.float32), grows, self.y)


@stage(version=2)
def hair_end(
    matte: Series[Matte],
    head_pose: Series[HeadPose],
    track: Series[FaceTrack],
    hair_window: HairWindow,
) -> HairEnd:
    """From LOOKED_AT frames that are spread over the clip."""
    present = np.flatnonzero(track.field("present"))
    chosen = present[np.linspace(0, len(present) - 1, min(LOOKED_AT, len(present))).astype(int)]
    found = []
    for row in chosen.tolist():
        one = row, row + 1
        hair = large_parts(matte.rows(*one).alpha[0] > 127)
        if hair.sum() >= LEAST * hair_window.side**2:
            y = heights(Place.of(head_pose.rows(*one), 0), hair_window)
            found.append(np.percentile(y[hair], LAST))
    return HairEnd(float(np.percentile(found, LOWEST)) if found else -np.inf)


@stage(keep=False)
def as_it_is(track: FaceTrack) -> HairFall:
    none = np.zeros(len(track.present), np.float32)
    return HairFall(none + np.float32(np.inf), none, none > 0, -np.inf)
