"""Where hair is seen that falls around a head: over its sides, and behind it.

Hair that becomes long falls from where the skull is widest, from temple to temple, as far from it
as own hair is thick. Of that, what faces the viewer hides ears and neck, and what does not is seen
beside them. Lengths are in half widths of a face, as those of a `Skull`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidhair.geometry import Grid
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.skull import Place, Skull, look

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

AROUND = 96  # points of the rim
DEEP = 0.85  # of the skull's length: behind, hair falls to the nape
TEMPLE = -0.15  # z of the hair that is furthest to the front
FALLS_FROM, LOWEST = -0.7, 9.0  # y from which hair falls, and that no frame shows
EARS, AT_EARS = (-0.45, 0.3), -0.1  # y between which ears are, and where they stick out
OVER_EARS = 0.18  # how far hair that hides them stands off the skull, at least
# How far from the skull own hair mostly reaches, in percent of its samples, and what is believed.
THICK, MOST = 90, 0.5
LAST = 97  # percent of own hair that is above where it ends
# As multiples of how far new hair reaches into own hair: how far above its end that begins, and how
# much of it tells how wide it is; and by how much new hair spreads, as a share of how far it falls.
BEGINS, ENDS, SPREADS = 5.0, 4.0, 0.1
NARROWER = 4.0  # by so many of these rows, at most, that it may be before it is widened
WIDER = 0.15  # than hair falls, that it may be where drawings say so


@dataclass(frozen=True)
class Mantle:
    """Masks [h, w] of hair that falls. front, back: where it faces the viewer, and where it does
    not; wide: within a little more than either; ears: the rows in which they begin and end; middle:
    the column of the head's middle."""

    front: Mask
    back: Mask
    wide: Mask
    ears: tuple[float, float]
    middle: float

    def seen(self, own: Mask, person: Mask, end: float, joins: float) -> Mask:
        """Where such hair is seen, [h, w], down to a row: before ears, but behind neck and
        shoulders, and on a side where own hair is long already, below that alone.

        own, person: own hair that stays, and skin and clothes, [h, w]; joins: rows by which new
        hair reaches into it.
        """
        rows = np.arange(len(own))[:, None]
        ears = (rows > self.ears[0]) & (rows < self.ears[1])
        found = self.front | (self.back & ~(person & ~ears))
        for side, last, _ in self.long(own, joins):
            found &= ~side | (rows > last - BEGINS * joins)
        seen: Mask = found & (rows <= end)
        return seen

    def going_on(self, new: Plane, own: Mask, joins: float) -> Plane:
        """New hair [h, w] whose sides go on from those of own hair, where that is long already: it
        begins as wide and spreads. own, joins: as of `seen`."""
        rows, columns = np.arange(len(own))[:, None], np.arange(own.shape[1])
        out, found = np.abs(columns - self.middle), new.copy()
        for side, last, edge in self.long(own, joins):
            below = side & (rows >= last - BEGINS * joins)
            reach = np.where(below & (new > 0.5), out, -np.inf).max(1, keepdims=True)
            near = edge - reach < NARROWER * joins
            # What lies apart below is left as it is.
            ended = np.logical_or.accumulate(near & (rows > last)) & ~near
            near &= ~np.logical_or.accumulate(ended)
            found[below & near & (out > reach) & (out <= edge)] = 1
            found[below & (out > edge + SPREADS * np.maximum(0, rows - last))] = 0
        return found

    def long(self, own: Mask, joins: float) -> Iterator[tuple[Mask, float, float]]:
        """Of own hair [h, w], on either side of the head where it hides more than half of the ear:
        its columns, in which row it ends, and how far from the middle it reaches there."""
        columns = np.arange(own.shape[1])
        for side in (columns < self.middle, columns >= self.middle):
            down, across = np.nonzero(own & side)
            last = float(np.percentile(down, LAST)) if len(down) else 0.0
            if last > sum(self.ears) / 2:
                out = np.abs(across - self.middle)[down > last - ENDS * joins]
                yield side, last, float(np.percentile(out, LAST))


def thickness(skull: Skull, at: Place, own: Mask, grid: Grid) -> float:
    """How far own hair [h, w] stands off the skull, to its sides; if it ends above the ears' lower
    ends, at least as far as it has to, to hide them."""
    rows = np.arange(grid.height)[:, None]
    heights = (skull.centre[1], AT_EARS, EARS[1])
    high, low, lobes = (grid.places(at.seen(np.array([0, y, 0])))[1] for y in heights)
    there = np.nonzero(own)[0]
    long = len(there) > 0 and np.percentile(there, LAST) > lobes
    outside = -look(skull, at, grid).inside[own & (rows > high) & (rows < low)]
    outside = outside[outside > 0]
    found = np.percentile(outside, THICK) * grid.step / at.scale if len(outside) else 0.0
    return float(np.clip(found, 0.0 if long else OVER_EARS, MOST))


def mantle(skull: Skull, at: Place, own: Mask, grid: Grid) -> Mantle:
    """Around a head with own hair [h, w]."""
    thick = thickness(skull, at, own, grid)
    front, back = _walls(skull, at, 0.0, thick, grid)
    wide = np.logical_or(*_walls(skull, at, WIDER, thick + WIDER, grid))
    (_, high), (middle, low) = grid.places(at.seen(np.array([[0, y, 0] for y in EARS]))).tolist()
    return Mantle(front, back, wide, (high, low), middle)


def _walls(skull: Skull, at: Place, above: float, off: float, grid: Grid) -> tuple[Mask, Mask]:
    """Of a tube around the skull, open before the face: what faces the viewer, and the rest.

    above, off: how far it stands off the skull where it begins, and from the ears on.
    """
    angles = np.linspace(-np.pi, np.pi, AROUND + 1)
    way = np.stack([np.sin(angles), -np.cos(angles)], 1)
    normal = way / skull.axes[[0, 2]]
    facing = normal @ at.rotation[2, [0, 2]] < 0
    beside = skull.centre[2] + way[:, 1] * skull.axes[2] > TEMPLE
    rims = []
    for y, away in ((FALLS_FROM, above), (AT_EARS, off), (LOWEST, off)):
        x, z = (way * (skull.axes[[0, 2]] * [1, DEEP] + away)).T
        rims.append(grid.places(at.seen(np.stack([x, np.full_like(x, y), z + skull.centre[2]], 1))))
    found = []
    for chosen in (beside & facing, beside & ~facing):
        wall = np.zeros((grid.height, grid.width), bool)
        steps = np.flatnonzero(np.diff(np.concatenate([[0], chosen, [0]])))
        for start, stop in zip(steps[::2], steps[1::2], strict=True):
            top, middle, bottom = (rim[start:stop] for rim in rims)
            outline = np.concatenate([top, middle[-1:], bottom[::-1], middle[:1]])
            wall |= polygon_mask(outline, grid.height, grid.width) > 0.5
        found.append(wall)
    return found[0], found[1]
