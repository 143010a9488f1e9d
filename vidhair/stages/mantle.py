"""Where hair is seen that falls around a head: over its sides, and behind it.

Hair that becomes long falls from where the skull is widest, from temple to temple, as far from it
as own hair is thick. Of that, what faces the viewer hides ears and neck, and what does not is seen
beside them. Lengths are in half widths of a face, as those of a `Skull`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening, gaussian_filter1d, grey_opening

from vidhair.geometry import Grid
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.skull import Place, Skull, look

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]
Edge = NDArray[np.float64]

AROUND = 96  # points of the rim
DEEP = 0.85  # of the skull's length: behind, hair falls to the nape
TEMPLE = -0.15  # z of the hair that is furthest to the front
FALLS_FROM, OUT_OF_SIGHT = -0.7, 9.0  # y from which hair falls, and that no frame shows
EARS, AT_EARS = (-0.45, 0.3), -0.1  # y between which ears are, and where they stick out
OVER_EARS = 0.2  # how far hair that hides them stands off the skull, at least
# How far from the skull own hair mostly reaches, in percent of its samples, and what is believed.
THICK, MOST = 90, 0.5
LAST = 97  # percent of own hair that is above where it ends
BEGINS = 5.0  # as multiples of how far new hair reaches into own hair, that it begins above its end
WIDER = 0.15  # than hair falls, that it may be where drawings say so
# Of hair that hangs, in sides of the face's crop: half the width of what is too thin to count, and
# the height of what is too low; how soft bends are, and how much higher it ends outside, also as a
# share of how long it is; the least square that hangs, percent of its rows between which it lies,
# and share of its width, from inside, where it ends lowest.
THIN, FEW, SOFT, ROUND, ROUND_SHARE = 0.02, 0.2, 0.02, 0.14, 0.4
LEAST, BOUNDS, LOWEST = 0.0005, (1, 99), 0.3
WHOLE = 0.6  # of its width, at the bottom of a picture, that hair has which leaves it
# Columns by row by which its edges go at most: the outer one out and in, over ears and below them,
# and the inner one in, below a face and beside it.
SPREADS, DRAWS_IN, INWARDS = (0.8, 0.1), (0.5, 0.25), (0.4, 1.0)


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
        for side, last in self._long(own):
            found &= ~side | (rows > last - BEGINS * joins)
        seen: Mask = found & (rows <= end)
        return seen

    def hung(self, new: Plane, own: Mask, face: Mask, side: float, bottom: float) -> Plane:
        """New hair [h, w] as it hangs on either side of a face [h, w], behind that and own hair
        [h, w], too: its outer edge leaves that of own hair without a step, no edge turns sharply,
        and it ends higher outside, or leaves the picture with own hair or at its bottom. side: of
        the face's crop, bottom: of the picture, in samples."""
        found, columns = new.copy(), np.arange(own.shape[1])
        rows = np.arange(len(own))
        chin = np.nonzero(face)[0].max(initial=-1)
        thick = binary_opening(own, iterations=max(1, round(THIN * side)))
        for way in (-1, 1):
            out = way * (columns - self.middle)
            kept = thick & (out >= 0)
            reach = _reach(kept, out)
            # Temples stay bare: hair that is longer comes from above, and from behind them.
            found[(rows[:, None] < self.ears[0]) & (out >= 0) & (out < reach[:, None])] = 0
            there = (found > 0.5) & (out >= 0)
            outside = there & (out > reach[:, None])
            if outside.sum() > LEAST * side**2:
                first, last = np.percentile(np.nonzero(outside)[0], BOUNDS).astype(int)
                edge = self._outer(there, reach, out, first)
                inner = _inner(there | kept, out, first, rows > chin, side)
                wide = (there | kept).sum(1)
                leaves = wide[-1] > WHOLE * wide[first:].max()
                leaves &= bottom < len(own) + 1 or kept[-1].any()
                last = min(last, len(own) - 3)
                part = _between(inner, edge, out, first, np.inf if leaves else last, side)
                beside = (out >= 0) & ((rows[:, None] >= first) | (out > reach[:, None]))
                found[beside] = part[beside]
        return found

    def _outer(self, new: Mask, reach: Edge, out: Edge, first: int) -> Edge:
        """How far out hair reaches in every row, [h]: from where own hair is widest, no lower than
        `first`, down to where new hair is; above that nowhere. reach: [h], of own hair."""
        top = int(np.argmax(reach[: first + 1]))
        rows = np.arange(len(new))
        over_ears = rows <= self.ears[1]
        most = [np.where(over_ears, *slopes)[top:] for slopes in (SPREADS, DRAWS_IN)]
        edge = np.maximum(_reach(new, out), reach)
        # It spreads early enough to hide the ears from their upper ends on.
        needed = np.where(over_ears, edge, -np.inf) - SPREADS[0] * rows
        edge = np.maximum(edge, np.maximum.accumulate(needed[::-1])[::-1] + SPREADS[0] * rows)
        edge[top] = reach[top] if np.isfinite(reach[top]) else edge[top]
        edge = _filled(edge)
        edge[:top], edge[top:] = -np.inf, _followed(edge[top:], *most)
        return edge

    def _long(self, own: Mask) -> Iterator[tuple[Mask, float]]:
        """Of own hair [h, w], on either side of the head where it hides more than half of the ear:
        its columns, and in which row it ends."""
        columns = np.arange(own.shape[1])
        for side in (columns < self.middle, columns >= self.middle):
            rows = np.nonzero(own & side)[0]
            last = float(np.percentile(rows, LAST)) if len(rows) else 0.0
            if last > sum(self.ears) / 2:
                yield side, last


def _reach(mask: Mask, out: Edge) -> Edge:
    """How far out a mask [h, w] reaches in every row; -inf where it is empty. out: [w]."""
    found: Edge = np.where(mask, out, -np.inf).max(1)
    return found


def _filled(edge: Edge) -> Edge:
    """An edge [h] that goes on where there is none, at -inf."""
    known = np.flatnonzero(np.isfinite(edge))
    found: Edge = np.interp(np.arange(len(edge)), known, edge[known])
    return found


def _followed(wanted: Edge, out: Edge, inwards: Edge) -> Edge:
    """An edge from the first row down, that goes where it is wanted by no more than so much per
    row; all [h]."""
    found = wanted.copy()
    for row in range(1, len(found)):
        before = found[row - 1]
        found[row] = np.clip(found[row], before - inwards[row], before + out[row])
    return found


def _inner(hair: Mask, out: Edge, first: int, below_face: Mask, side: float) -> Edge:
    """How far in hair [h, w] reaches in every row from the first one on, [h]."""
    edge = _filled(_reach(hair, -out)[first:])
    # What is before the neck for a few rows is no hair.
    below, few = below_face[first:], max(1, round(FEW * side))
    edge[below] = grey_opening(edge, few)[below]
    inwards = np.where(below, *INWARDS)
    edge = _followed(edge, inwards, np.ones(len(inwards)))
    whole: Edge = -np.concatenate([np.full(first, edge[0]), edge])
    return whole


def _between(inner: Edge, outer: Edge, out: Edge, first: int, last: float, side: float) -> Plane:
    """Hair between two edges [h], from one row to another, above which it ends outside, [h, w]."""
    top = int(np.isneginf(outer).sum())
    inner, outer = inner.copy(), outer.copy()
    for edge in (inner[first:], outer[top:]):
        edge[:] = gaussian_filter1d(edge, SOFT * side, mode="nearest")
    across = (out - inner[:, None]) / np.maximum(outer - inner, 1)[:, None]
    high = min(ROUND * side, ROUND_SHARE * (last - first))
    end = last + 0.5 - high * (np.abs(across - LOWEST) / (1 - LOWEST)).clip(0, 1) ** 2
    edges = outer[:, None] - out, out - inner[:, None], end - np.arange(len(inner))[:, None]
    found: Plane = np.clip(np.minimum.reduce(edges) + 0.5, 0, 1).astype(np.float32)
    return found


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
    for y, away in ((FALLS_FROM, above), (AT_EARS, off), (OUT_OF_SIGHT, off)):
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
