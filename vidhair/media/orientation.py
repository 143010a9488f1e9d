"""How a stored picture is turned (and mirrored) to stand upright.

An orientation is [2, 2] of −1, 0, 1: row 0 says where the stored "right" points in the upright
picture, row 1 where the stored "down" points; columns are (right, down).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av

_TO_THE_LEFT = np.array([[0, -1], [1, 0]])
_ROTATIONS = {(0, 1): 0, (-1, 0): 90, (0, -1): 180, (1, 0): 270}


def orientation_of(frame: av.VideoFrame) -> NDArray[Any] | None:
    """From the display matrix; None where that is no quarter turn."""
    try:
        data: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # one kind that PyAV does not know, such as Exif, hides all others
        turns = round(frame.rotation / 90) % 4
        return np.linalg.matrix_power(_TO_THE_LEFT, turns)
    if data is None:
        return np.eye(2, dtype=int)
    matrix = np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2]
    turned = np.where(abs(matrix) * 2 > abs(matrix).max(), np.sign(matrix), 0)
    return turned if (abs(turned).sum(0) == 1).all() and (abs(turned).sum(1) == 1).all() else None


def rotation(orientation: NDArray[Any]) -> int:
    """Degrees clockwise from stored to upright."""
    right, down = orientation[1].tolist()
    return _ROTATIONS[right, down]


def turned(orientation: NDArray[Any], quarters: int) -> NDArray[Any]:
    """That of the same pictures, turned further by so many quarters of a circle to the left."""
    found: NDArray[Any] = orientation @ np.linalg.matrix_power(_TO_THE_LEFT, quarters % 4)
    return found


def turned_fields(fields: str, orientation: NDArray[Any], height: int) -> str:
    """Which field is shown first in the upright picture; fields of columns are none."""
    if orientation[0, 0] == 0:
        return "progressive"
    flipped = orientation[1, 1] < 0 and height % 2 == 0
    return {"top": "bottom", "bottom": "top"}[fields] if flipped else fields


def upright(image: NDArray[Any], orientation: NDArray[Any]) -> NDArray[Any]:
    """Turn [H, W, 3] from stored to upright."""
    if orientation[0, 0] == 0:
        image = image.swapaxes(0, 1)
    to_right, to_down = orientation.sum(0)
    return image[::to_down, ::to_right]
