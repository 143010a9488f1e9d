"""Where hair is seen that falls around a head: over its sides, and behind it.

Hair that becomes long falls from where the skull is widest, from temple to temple, as far from it
as own hair is thick. Of that, what faces the viewer hides ears and neck, and what does not is seen
beside them. Lengths are in half widths of a face, as those of a `Skull`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidhair.geometry import Grid
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.skull import Place, Skull, look

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

AROUND = 96  # points of the rim
TEMPLE = -0.15  # z of the hair that is furthest to the front
FALLS_FROM, LOWEST = -0.6, 9.0  # y from which hair falls, and that no frame shows
EARS, OVER_EARS = -0.1, 0.18  # y of what hair that falls has to hide, and how far it stands off then
# How far from the skull own hair mostly reaches, in percent of its samples, and what is believed.
THICK, LEAST, MOST = 90, 0.02, 0.5
WIDER = 0.15  # than hair falls, that it may be where drawings say so


@dataclass(frozen=True)
class Mantle:
    """front, back: [h, w], where falling hair faces the viewer, and where it does not; wide: [h, w],
    within a little more than either."""

    front: Mask
    back: Mask
    wide: Mask


def thickness(skull: Skull, at: Place, own: Mask, grid: Grid) -> float:
    """How far own hair [h, w] stands off the skull, to its sides."""
    rows = np.arange(grid.height)[:, None]
    lower = own & (rows > grid.places(at.seen(skull.centre))[1])
    outside = -look(skull, at, grid).inside[lower]
    outside = outside[outside > 0]
    if not len(outside):
        return LEAST
    found = np.percentile(outside, THICK) * grid.step / at.scale
    return float(np.clip(found, LEAST, MOST))


def mantle(skull: Skull, at: Place, own: Mask, grid: Grid) -> Mantle:
    """Around a head with own hair [h, w]."""
    thick = thickness(skull, at, own, grid)
    front, back = _walls(skull, at, thick, grid)
    wide = np.logical_or(*_walls(skull, at, thick + WIDER, grid))
    return Mantle(front, back, wide)


def _walls(skull: Skull, at: Place, thick: float, grid: Grid) -> tuple[Mask, Mask]:
    """Of a tube around the skull, open before the face: what faces the viewer, and the rest."""
    angles = np.linspace(-np.pi, np.pi, AROUND + 1)
    way = np.stack([np.sin(angles), -np.cos(angles)], 1)
    normal = way / skull.axes[[0, 2]]
    facing = normal @ at.rotation[2, [0, 2]] < 0
    beside = skull.centre[2] + way[:, 1] * skull.axes[2] > TEMPLE
    rims = []
    for y, off in ((FALLS_FROM, thick), (EARS, max(thick, OVER_EARS)), (LOWEST, max(thick, OVER_EARS))):
        x, z = (way * (skull.axes[[0, 2]] + off)).T
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
