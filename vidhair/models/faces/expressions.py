"""What goes with an expression of the mouth in the rest of a face.

Lengths are in sides of the face's crop, and shares of how far the corners of the mouth rise. P
points of the mesh.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidhair.models.faces.effects import Effect
from vidhair.models.faces.landmarks import MOUTH_LEFT, MOUTH_RIGHT

# The inner border of the lips from the left corner to the right one.
UPPER_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
UPPER_MIDDLE, LOWER_MIDDLE = 13, 14
LEAST_RISE = 0.002  # of both corners that makes an effect a smile
LEAST_GAP = 0.01  # between the lips
USUAL_RISE = 0.024  # at which tints are as they are told
OPENED = (0.06, 0.45)  # share of its width that a mouth is open: not yet, fully
# A mouth that is open smiles by less width, as its corners lie further in, and more height.
OPEN_SMILE = (0.55, 1.25)


@dataclass(frozen=True)
class Bump:
    """Around points on the left and right: how far they move outwards and up, beside the corners'
    rise, and their change of Lab at USUAL_RISE; reach: deviations across and down."""

    points: tuple[int, int]
    reach: tuple[float, float]
    way: tuple[float, float] = (0.0, 0.0)
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0)


# Cheeks are raised and rounded, which pushes up the lower lids; a fold runs from the wings of the
# nose around the corners of the mouth; lips are drawn thinner.
SMILE = (
    Bump((205, 425), (0.055, 0.045), (0.1, 0.3)),
    Bump((50, 280), (0.06, 0.045), (0.04, 0.24), (2.2, 0.8, 0.6)),
    Bump((230, 450), (0.05, 0.018), (0.0, 0.1)),
    Bump((145, 374), (0.04, 0.009), (0.0, 0.14)),
    Bump((17, 17), (0.05, 0.022), (0.0, 0.18)),
    Bump((203, 423), (0.016, 0.02), (0.06, 0.06), (-2.6, 0.5, -0.3)),
    Bump((206, 426), (0.016, 0.022), (0.0, 0.0), (-3.2, 0.5, -0.3)),
    Bump((216, 436), (0.016, 0.026), (0.0, 0.0), (-3.2, 0.5, -0.3)),
)  # fmt: skip


def rise(effect: Effect) -> float:
    """Of the corners of the mouth, if both go up and apart, as in a smile; else zero."""
    left, right = effect.moved[[MOUTH_LEFT, MOUTH_RIGHT]]
    up = -max(left[1], right[1])
    return float(up) if up > LEAST_RISE and right[0] > left[0] else 0.0


def opens(effect: Effect) -> bool:
    """Whether the lips part."""
    upper, lower = effect.moved[[UPPER_MIDDLE, LOWER_MIDDLE], 1]
    return bool(lower - upper > LEAST_GAP)


def with_face(effect: Effect) -> Effect:
    """A smile in which cheeks, lower lids and folds take part. Where lips part, no tint, which is
    that of the mouth behind them. Other effects as they are."""
    if opens(effect):
        return Effect(effect.face, effect.moved, np.zeros_like(effect.tinted))
    amount = rise(effect)
    if not amount:
        return effect
    moved, tinted = effect.moved.copy(), effect.tinted.copy()
    for bump in SMILE:
        (out, up), reach = bump.way, np.array(bump.reach)
        for side, point in zip((-1, 1), bump.points, strict=True):
            away = (effect.face - effect.face[point]) / reach
            near = amount * np.exp(-0.5 * np.square(away).sum(1, keepdims=True))
            moved += (near * [side * out, -up]).astype(np.float32)
            tinted += (near / USUAL_RISE * bump.tint).astype(np.float32)
    return Effect(effect.face, moved, tinted)


def opening(mesh: NDArray[np.float32]) -> float:
    """How open a mouth is on a mesh [P, 2], in 0 … 1."""
    wide = np.linalg.norm(mesh[MOUTH_RIGHT] - mesh[MOUTH_LEFT])
    gap = np.linalg.norm(mesh[LOWER_MIDDLE] - mesh[UPPER_MIDDLE])
    return float(np.interp(gap / max(float(wide), 1e-6), OPENED, (0, 1)))
