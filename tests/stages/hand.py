"""A hand made up: what the stages read of landmarks, without MediaPipe."""

import numpy as np
from numpy.typing import NDArray

from vidhair.models.faces.landmarks import HAND_POINTS


def flat_hand(middle: tuple[float, float], length: float) -> NDArray[np.float32]:
    """Landmarks [21, 2] of a hand whose fingers point up, in pixels."""
    points = np.zeros((HAND_POINTS, 2))
    points[0] = 0, 0.5
    points[1:5] = np.linspace((-0.16, 0.38), (-0.4, 0.0), 4)
    for finger in range(4):
        x = -0.18 + 0.12 * finger
        points[5 + 4 * finger : 9 + 4 * finger] = np.linspace((x, 0.0), (1.2 * x, -0.5), 4)
    return (points * length + middle).astype(np.float32)
