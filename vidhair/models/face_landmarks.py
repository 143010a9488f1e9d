"""MediaPipe's face mesh and selfie segmentation; the only module that imports MediaPipe.

Both models are inside the mediapipe wheel, so nothing is downloaded.
"""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import numpy as np

log = logging.getLogger(__name__)

QUIET_CALLS = 2
_BLACK = np.zeros((64, 64, 3), np.uint8)

POINTS = 478  # 468 of the mesh and five of each iris

# Mesh indices. "Left" is the viewer's left, as everywhere in vidhair.
EYE_LEFT = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
EYE_RIGHT = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
MOUTH_LEFT, MOUTH_RIGHT = 61, 291
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
# Around brows, eyes, cheeks and chin: skin that hair covers only when it hangs into the face.
MIDDLE_OF_FACE = (
    9, 336, 296, 334, 293, 300, 383, 372, 345, 352, 411, 434, 430, 431, 262, 428, 199, 208, 32,
    211, 210, 214, 187, 123, 116, 143, 156, 70, 63, 105, 66, 107,
)  # fmt: skip


def eyes_and_mouth(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mesh [..., 478, 2] → eye centres (mean of the contour) and mouth corners, each [..., 2]."""
    return (
        points[..., list(EYE_LEFT), :].mean(-2),
        points[..., list(EYE_RIGHT), :].mean(-2),
        points[..., MOUTH_LEFT, :],
        points[..., MOUTH_RIGHT, :],
    )


class FaceMesh:
    """Face landmarks of frames in order; faces found in one frame are followed into the next.

    max_faces: how many to follow. min_confidence: 0 … 1, of the detector and of the tracker.
    still: every picture by itself, without tracking.
    """

    def __init__(self, *, max_faces: int = 1, min_confidence: float = 0.5, still: bool = False):
        solutions = _mediapipe().solutions
        with _quiet():
            self._mesh = solutions.face_mesh.FaceMesh(
                static_image_mode=still,
                max_num_faces=max_faces,
                refine_landmarks=True,
                min_detection_confidence=min_confidence,
                min_tracking_confidence=min_confidence,
            )
            self._mesh.process(_BLACK)
        self._quiet_calls = QUIET_CALLS

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """frame: uint8 [H, W, 3] → float32 [faces, 478, 2] in pixels of the frame."""
        square = _pad_to_square(frame)
        # The landmark model reports about itself when it runs first, on the first face.
        with _quiet() if self._quiet_calls else contextlib.nullcontext():
            found = self._mesh.process(square).multi_face_landmarks or []
        if found and self._quiet_calls:
            self._quiet_calls -= 1
        rows = [[(p.x, p.y) for p in face.landmark] for face in found]
        return np.array(rows, np.float32).reshape(-1, POINTS, 2) * len(square)

    def close(self) -> None:
        self._mesh.close()


class PersonSegmenter:
    """How likely each pixel belongs to a person."""

    def __init__(self):
        solutions = _mediapipe().solutions
        with _quiet():
            self._model = solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
            self._model.process(_BLACK)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """picture: uint8 [H, W, 3], best about square → float32 [H, W] in 0 … 1."""
        mask = self._model.process(np.ascontiguousarray(picture)).segmentation_mask
        return np.clip(np.asarray(mask, np.float32), 0, 1)

    def close(self) -> None:
        self._model.close()


def _pad_to_square(frame: np.ndarray) -> np.ndarray:
    """MediaPipe projects a turned face wrongly out of a picture that is not square."""
    h, w = frame.shape[:2]
    if h == w:
        return np.ascontiguousarray(frame)
    side = max(h, w)
    square = np.zeros((side, side, 3), np.uint8)
    square[:h, :w] = frame
    return square


@cache
def _mediapipe() -> ModuleType:
    """MediaPipe, quietly, and without cv2 where that cannot load.

    The mediapipe wheel needs OpenCV only to draw; on a machine without libGL its import would fail
    for nothing.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        importlib.import_module("cv2")
    except ImportError as error:
        log.debug("cv2 does not load (%s); MediaPipe goes without", error)
        sys.modules["cv2"] = ModuleType("cv2")
    with _quiet():
        return importlib.import_module("mediapipe")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Catch what native code writes to the error stream; it goes to the debug log."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            sink.seek(0)
            for line in sink.read().decode(errors="replace").splitlines():
                log.debug("mediapipe: %s", line)
