"""Hair pigment: melanin and dye → absorption → color.

Absorption is per radius of a fibre, in linear sRGB. Albedo is the color of a thick mass of hair in
white light. Both are arrays [..., 3].
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Colors = NDArray[np.float32]  # [..., 3], linear light

# Per unit of concentration (Donner and Jensen 2006, as in d'Eon et al. 2011).
EUMELANIN = np.array([0.419, 0.697, 1.37], np.float32)
PHEOMELANIN = np.array([0.187, 0.4, 1.05], np.float32)
# Denominator of Chiang et al. 2016 at an azimuthal roughness of 0.3.
_ROUGH = 0.3
_SCALE = (
    5.969
    - 0.215 * _ROUGH
    + 2.532 * _ROUGH**2
    - 10.73 * _ROUGH**3
    + 5.574 * _ROUGH**4
    + 0.245 * _ROUGH**5
)


def melanin(eumelanin: float, pheomelanin: float = 0.0) -> Colors:
    """Absorption [3] of natural hair.

    Eumelanin is about 4 in black hair, ½ in brown and 0.05 in blonde hair; reddish hair has more of
    pheomelanin, white hair has neither.
    """
    absorbed: Colors = eumelanin * EUMELANIN + pheomelanin * PHEOMELANIN
    return absorbed


def absorption_of(albedo: Colors) -> Colors:
    """The absorption with which a mass of hair has an albedo (Chiang et al. 2016)."""
    found: Colors = (np.log(np.clip(albedo, 1e-4, 0.99)) / _SCALE) ** 2
    return found


def albedo_of(absorption: Colors) -> Colors:
    """The inverse of `absorption_of`."""
    found: Colors = np.exp(-_SCALE * np.sqrt(absorption))
    return found


def linear(display: NDArray[Any]) -> Colors:
    """sRGB in 0 … 1 → linear light."""
    low = display / 12.92
    high = ((np.maximum(display, 0) + 0.055) / 1.055) ** 2.4
    return np.where(display <= 0.04045, low, high).astype(np.float32)


def srgb_levels(light: Colors) -> NDArray[np.uint8]:
    """Linear light → sRGB in 8 bits."""
    levels: NDArray[np.uint8] = np.rint(srgb(light) * 255).astype(np.uint8)
    return levels


def srgb(light: Colors) -> Colors:
    """Linear light → sRGB in 0 … 1."""
    light = np.clip(light, 0, 1)
    found: Colors = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return found
