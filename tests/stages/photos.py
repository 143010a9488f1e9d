"""A made-up photo: a head that faces the camera, with hair around."""

import numpy as np
from numpy.typing import NDArray

from vidhair.stages.photo import PhotoHair
from vidhair.stages.skull import NUMBERS, REFERENCE, Place

SIDE = 200


def turned(degrees: float) -> NDArray[np.float64]:
    """A head's rotation about the vertical, [3, 3]."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def mesh_at(at: Place) -> NDArray[np.float32]:
    """[478, 2]: the points that are known of a head there, the others in its middle."""
    mesh = np.tile(at.seen(np.array([0, 0, -0.9])), (478, 1))
    mesh[NUMBERS] = at.seen(REFERENCE)
    return mesh.astype(np.float32)


def photo(degrees: float = 0.0) -> PhotoHair:
    rotation, shift = turned(degrees), np.array([120.0, 150.0])
    y, x = np.mgrid[:300, :240].astype(np.float64)
    waves = 128 + 60 * np.sin(x / 13)[..., None] * [1, 0.8, 0.5]
    levels = np.rint(waves).astype(np.uint8)
    away = np.hypot(x - 120, y - 130)
    alpha = (255 * ((away < 90) & (away > 55))).astype(np.uint8)
    mesh = mesh_at(Place(rotation, 50.0, shift))
    return PhotoHair(levels, alpha, alpha, levels, mesh, rotation, 50.0, shift, 1.0, float(SIDE))
