"""OpenCV, imported at its first use: it may be missing a system library where nothing needs it."""

from functools import cache
from typing import Any

from vidhair.errors import VidhairError


@cache
def opencv() -> Any:
    """The module. Raises VidhairError where it does not load.

    An empty module stands in its place after MediaPipe was imported without it.
    """
    try:
        import cv2

        cv2.DISOpticalFlow  # noqa: B018
    except (ImportError, AttributeError) as error:
        raise VidhairError(
            f"OpenCV, which follows what moves from frame to frame, does not load here ({error}); "
            "install the libGL that it needs (libgl1 of Debian and Ubuntu), or dye with "
            "matte.smooth = 0, which does without"
        ) from error
    return cv2
