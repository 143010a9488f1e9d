"""The skin of a bare head: what frames show of it, carried on over the skull.

It lies on an atlas, in which all directions from the skull's centre have equal areas (Lambert).
What is seen in no frame has the person's own color, in low-order light fitted to what is seen.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from vidhair.imaging.motion import sample
from vidhair.imaging.patches import spread
from vidhair.stages.bare_view import Mask, Plane, View, grown, soft
from vidhair.stages.skull import Look, Skull

TEXELS, SPAN = 256, 2.0  # along the atlas, and how far it reaches, in radii
MIDDLE = np.array([0.0, -0.6, -0.8])  # the direction to its middle: the top of the forehead
ACROSS = np.array([1.0, 0.0, 0.0])
DOWN = np.cross(MIDDLE, ACROSS)
FACING = 0.25  # least share of a texel that faces the viewer, to be looked at
SEEN = 0.02  # share of the most that texels are seen, from which on they tell
CARRIED = 0.12, 0.1  # how far unevenness and saturation go on, in sides of the atlas
PALER = 0.04  # share of its color that a scalp lacks beside a face
# Light from all around, from the right, from below, from the front; how much such numbers are
# believed beside what skin tells.
USUAL_LIGHT = np.array([0.76, 0.0, -0.1, 0.24])
BELIEF = np.array([0.02, 0.08, 0.3, 0.12])
HIGH, LEAST_HIGH = -0.45, 200  # y on the head; texels
FITS, OFF_LIGHT = 5, 0.1  # rounds; share of its tone by which skin may be off it
SHADES = (0.45, 1.15)  # the darkest and the brightest, as shares of the usual tone
# Exponents of a shade by channel, as light in skin turns red, and how much they are believed, as a
# mean square of logarithms of shades.
TINTS, TINT_BELIEF = np.array([0.96, 1.01, 1.03]), 0.01
SHEEN_WIDTH, SHEEN = 10, (0.02, 0.1)  # exponent of the lobe, and how strong it may be
TEXTURE = 0.6, 2.0  # deviations, in texels, between which fine texture is carried on
ITS_OWN = 0.5  # share of that which is skin's, and not the picture's


def to_atlas(place: NDArray[Any]) -> NDArray[np.float32]:
    """Unit vectors [3, h, w] → places on the atlas [h, w, 2], columns and rows."""
    share = np.sqrt(2 / np.maximum(1 + np.tensordot(MIDDLE, place, 1), 1e-3))
    flat = np.stack([np.tensordot(axis, place, 1) * share for axis in (ACROSS, DOWN)], -1)
    found: NDArray[np.float32] = ((flat / SPAN + 1) * TEXELS / 2 - 0.5).astype(np.float32)
    return found


def from_atlas() -> NDArray[np.float64]:
    """The unit vectors [3, n, n] of texels; beyond its circle those on it."""
    steps = ((np.arange(TEXELS) + 0.5) / TEXELS * 2 - 1) * SPAN
    x, y = np.meshgrid(steps, steps)
    square = np.minimum(x * x + y * y, 3.99)
    share = np.sqrt(1 - square / 4)
    planes = np.stack([x * share, y * share, 1 - square / 2])
    found: NDArray[np.float64] = np.tensordot(np.stack([ACROSS, DOWN, MIDDLE], 1), planes, 1)
    return found


class Atlas:
    """Of one skull. normals: [3, n, n]."""

    def __init__(self, skull: Skull):
        place, axes = from_atlas(), skull.axes[:, None, None]
        self._points = np.moveaxis(skull.centre[:, None, None] + axes * place, 0, -1)
        normals = place / axes
        self.normals = normals / np.sqrt(np.square(normals).sum(0))

    def seen_in(self, view: View) -> tuple[NDArray[np.float32], Plane]:
        """Where texels lie in a view, [n, n, 2], and how much each faces the viewer."""
        places = view.grid.places(view.at.seen(self._points)) - 0.5
        facing = -np.tensordot(view.at.rotation[2], self.normals, 1)
        return places.astype(np.float32), np.where(facing > FACING, facing, 0).astype(np.float32)

    def skin(self, views: Sequence[View]) -> Plane:
        """[n, n, 3] in levels, of all of it."""
        total = np.zeros((TEXELS, TEXELS, 3))
        weight, turn = np.zeros((TEXELS, TEXELS)), np.zeros((3, 3))
        for view in views:
            places, facing = self.seen_in(view)
            share = _inside(view.skin.astype(np.float32), places) ** 2 * facing**2
            total += share[..., None] * sample(view.picture.astype(np.float32), places)
            weight += share
            turn += view.at.rotation / len(views)
        known: Mask = weight > SEEN * weight.max()
        if not known.any():
            return np.full((TEXELS, TEXELS, 3), 128, np.float32)
        mean = (total / np.maximum(weight, 1e-6)[..., None]).astype(np.float32)
        high = self._points[..., 1] < HIGH
        model = lit(mean, known, np.tensordot(turn, self.normals, 1), high)
        away = distance_transform_edt(~known)[..., None] / TEXELS
        found = model + spread(mean - model, known) * np.exp(-away / CARRIED[0])
        grey = found.mean(-1, keepdims=True)
        found = grey + (1 - PALER * (1 - np.exp(-away / CARRIED[1]))) * (found - grey)
        found = np.where(known[..., None], mean, found) + uneven(mean, known & high)[..., None]
        skin: Plane = found.clip(0, 255).astype(np.float32)
        return skin

    def hair(self, views: Sequence[View]) -> Plane:
        """How far hair covers it, [n, n] in 0 … 1."""
        total, weight = np.zeros((TEXELS, TEXELS)), np.full((TEXELS, TEXELS), 1e-6)
        for view in views:
            places, facing = self.seen_in(view)
            total += _inside(view.alpha, places) * facing
            weight += facing
        found: Plane = (total / weight).astype(np.float32)
        return spread(found[..., None], weight > 0.1)[..., 0]


def _inside(plane: Plane, places: NDArray[np.float32]) -> Plane:
    """A plane [h, w] at places, zero beyond it."""
    h, w = plane.shape
    x, y = places[..., 0], places[..., 1]
    there = (x > -0.5) & (y > -0.5) & (x < w - 0.5) & (y < h - 0.5)
    found: Plane = np.where(there, sample(plane, places), 0)
    return found


def on_head(atlas: Plane, look: Look) -> Plane:
    """An atlas [n, n] or [n, n, C] as a view of the skull shows it, [h, w] or [h, w, C]."""
    found: Plane = sample(atlas, to_atlas(look.place))
    return found


def lit(mean: Plane, known: Mask, normals: NDArray[np.float64], high: Mask) -> Plane:
    """Skin [n, n, 3] in the light that fits best where it is known [n, n].

    normals: [3, n, n], in the picture; high: [n, n], what is above the nose. Its tone is
    a + b · normal, and a sheen of that light.
    """
    everywhere = np.stack([np.ones(known.shape), normals[0], normals[1], -normals[2]])
    basis, colors = everywhere[:, known], mean[known].astype(np.float64)
    usual = usual_color(colors, mean[known & high])
    tone = colors.mean(1) / usual.mean()
    share, light = np.ones(len(tone)), USUAL_LIGHT
    for _ in range(FITS):
        left = (basis * share) @ basis.T + np.diag(BELIEF * len(tone))
        light = np.linalg.solve(left, (basis * share) @ tone + BELIEF * len(tone) * USUAL_LIGHT)
        share = 1 / (1 + ((tone - light @ basis) / OFF_LIGHT) ** 2)
    shade = np.clip(np.tensordot(light, everywhere, 1), *SHADES)
    towards = np.array([light[1], light[2], -light[3]])
    half = towards / (np.linalg.norm(towards) + 1e-9) - [0, 0, 1]
    half /= np.linalg.norm(half) + 1e-9
    sheen = np.clip(np.percentile(tone - light @ basis, 95), *SHEEN)
    shade = shade + sheen * np.clip(np.tensordot(half, normals, 1), 0, 1) ** SHEEN_WIDTH
    result: Plane = (usual * shade[..., None] ** _exponents(colors / usual, share)).astype(
        np.float32
    )
    return result


def _exponents(shades: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much red, green and blue [3] follow their mean, of skin that is as bright as shades
    [k, 3] of the usual one: the shade is as red as what else lights it.

    The slopes of logarithms, believed by share [k] beside TINTS.
    """
    given = np.log(np.maximum(shades, 0.05))
    mean = given.mean(1)
    weight = share / share.sum()
    slopes = (weight * mean) @ (given - mean[:, None]) + TINT_BELIEF * (TINTS - 1)
    found: NDArray[np.float64] = 1 + slopes / (weight @ mean**2 + TINT_BELIEF)
    return found


def usual_color(colors: NDArray[Any], upper: NDArray[Any]) -> NDArray[np.float64]:
    """Of a scalp [3], by colors [k, 3] of the face and of its upper part [l, 3]: as bright as the
    upper part, if enough of it is known, and of the paler tint, as cheeks are red of blood and a
    forehead is of hair that hangs beside it."""
    found: NDArray[np.float64] = np.median(colors, 0)
    if len(upper) < LEAST_HIGH:
        return found
    high = np.median(upper, 0)
    paler = min(found, high, key=lambda color: np.ptp(color) / max(1.0, color.mean()))
    found = paler * (high.mean() / max(1.0, float(paler.mean())))
    return found


def uneven(skin: Plane, known: Mask) -> Plane:
    """Fine texture, as much as skin [n, n, 3] has of it where it is known [n, n]: [n, n] in levels.

    Of all views together: what is in one of them alone is the picture's noise.
    """
    inner = ~grown(~known, 3 * TEXTURE[1])
    if not inner.any():
        return np.zeros(known.shape, np.float32)
    amount = 1.4826 * float(np.median(np.abs(_fine(skin.mean(-1)))[inner]))
    noise = _fine(np.random.default_rng(0).standard_normal(known.shape).astype(np.float32))
    return noise * np.float32(ITS_OWN * amount / noise.std())


def _fine(plane: NDArray[Any]) -> Plane:
    """What a plane [n, n] has of the size of its texels."""
    narrow, wide = (soft(plane, size) for size in TEXTURE)
    return narrow - wide
