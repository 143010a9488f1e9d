"""Where to look for faces in a frame, and the square around a face that the mesh is read from.

Points are in pixels of the frame, x right, y down. Boxes are float64 [N, 4]: left, top, right,
bottom.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILE = 172  # side of the pictures in which the detector looks, in pixels of a reduced frame
OVERLAP = 0.25  # of neighbouring tiles: larger faces are found whole one reduction further
MARGIN = 1.5  # sides of a face that a region around it has
NETWORK = 192  # side of what the landmark network sees
ROOM = 1.5  # sides of a region that its patch shows: all of it, however it is turned
EYE_CORNERS = (33, 263)  # outer ones, of the mesh

# Boxes of one face, in tiles that overlap or at two reductions, share this much of the smaller.
SAME_FACE = 0.5


@dataclass(frozen=True)
class Region:
    """A square: centre (x, y), side, and the angle in radians by which the eyes are turned,
    clockwise as seen. score: 0 … 1, how sure it is that it shows a face."""

    x: float
    y: float
    side: float
    angle: float = 0.0
    score: float = 1.0

    @classmethod
    def around(
        cls,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        eyes: NDArray[np.float64],
        score: float = 1.0,
    ) -> "Region":
        """`MARGIN` times what lies between two corners. eyes: [2, 2], the viewer's left
        one first."""
        x, y = (low + high) / 2
        across = eyes[1] - eyes[0]
        angle = math.atan2(across[1], across[0])
        return cls(float(x), float(y), MARGIN * float(max(high - low)), angle, score)

    @property
    def face(self) -> float:
        """The longer side of the face inside."""
        return self.side / MARGIN

    @property
    def face_box(self) -> tuple[float, float, float, float]:
        """The upright square around the face inside."""
        half = self.face / 2
        return self.x - half, self.y - half, self.x + half, self.y + half

    @classmethod
    def of_mesh(cls, points: NDArray[np.float64]) -> "Region":
        """Where the face of a mesh [478, 2] is looked for in the next frame."""
        return cls.around(points.min(0), points.max(0), points[list(EYE_CORNERS)])


@dataclass(frozen=True)
class Patch:
    """A square of a frame: pixels uint8 [S, S, 3], its corner, frame pixels per pixel of it."""

    pixels: NDArray[np.uint8]
    left: int
    top: int
    step: int

    def to_frame(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Points of the patch [..., 2], in its pixels, in the frame; whole numbers are centres."""
        result: NDArray[np.float64] = (
            np.array([self.left, self.top]) + points * self.step + (self.step - 1) / 2
        )
        return result

    def to_patch(self, x: float, y: float) -> tuple[float, float]:
        middle = (self.step - 1) / 2
        return (x - self.left - middle) / self.step, (y - self.top - middle) / self.step


def cut_patch(frame: NDArray[np.uint8], region: Region, room: float = ROOM) -> Patch:
    """Cut an upright square of `room` sides of the region out of uint8 [H, W, 3].

    It is reduced as far as the landmark network does not mind. What lies outside the frame
    repeats its border.
    """
    step = max(1, int(region.side // NETWORK))
    side = step * math.ceil(region.side * room / step)
    left, top = round(region.x - side / 2), round(region.y - side / 2)
    rows = np.clip(np.arange(top, top + side), 0, frame.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, frame.shape[1] - 1)
    pixels = frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if pixels.shape[:2] != (side, side):
        pixels = pixels.take(rows - rows[0], 0).take(columns - columns[0], 1)
    return Patch(reduce(pixels, step), left, top, step)


def reduce(picture: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Means of blocks: uint8 [H, W, 3] → [⌈H / step⌉, ⌈W / step⌉, 3]."""
    if step == 1:
        return np.ascontiguousarray(picture)
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).reduce(step))


def pad_to_square(picture: NDArray[np.uint8], side: int = 0) -> NDArray[np.uint8]:
    """MediaPipe projects a turned face wrongly out of a picture that is not square."""
    h, w = picture.shape[:2]
    side = max(side, h, w)
    if h == w == side:
        return np.ascontiguousarray(picture)
    square = np.zeros((side, side, 3), np.uint8)
    square[:h, :w] = picture
    return square


def whole_frame(frame: NDArray[np.uint8]) -> Patch:
    """The frame as one square, reduced to at most two tiles."""
    step = 1
    while max(frame.shape[:2]) > 2 * TILE * step:
        step *= 2
    return Patch(pad_to_square(reduce(frame, step)), 0, 0, step)


def tiles(frame: NDArray[np.uint8]) -> Iterator[Patch]:
    """Squares of the frame at every reduction down to half, which together show every face large.

    Faces of a seventh of a tile, 48 frame pixels at the finest, are found as a rule.
    """
    step, reduced = 1, frame
    while max(frame.shape[:2]) > 2 * TILE * step:
        step, reduced = 2 * step, reduce(reduced, 2)
        h, w = reduced.shape[:2]
        for top in _starts(h):
            for left in _starts(w):
                tile = reduced[top : top + TILE, left : left + TILE]
                yield Patch(pad_to_square(tile, TILE), left * step, top * step, step)


def _starts(length: int) -> list[int]:
    count = max(1, math.ceil((length - TILE) / (TILE * (1 - OVERLAP))) + 1)
    return [int(v) for v in np.linspace(0, max(0, length - TILE), count)]


def shared(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area that a box [4] shares with each of [N, 4], as a share of the smaller one: [N]."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    smaller = np.minimum(np.prod(box[2:] - box[:2]), areas)
    result: NDArray[np.float64] = np.prod(np.clip(high - low, 0, None), axis=1) / np.maximum(
        smaller, 1e-9
    )
    return result


def is_known(box: NDArray[np.float64], known: NDArray[np.float64]) -> bool:
    """Whether a box [4] shows the same face as one of [N, 4]."""
    return bool(np.any(shared(box, known) > SAME_FACE))


def mesh_boxes(meshes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Meshes [N, 478, 2] → boxes [N, 4]."""
    result: NDArray[np.float64] = np.concatenate([meshes.min(1), meshes.max(1)], axis=1).astype(
        np.float64
    )
    return result


def face_heights(meshes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The longer side of each mesh [..., 478, 2] in pixels, NaN where it is absent."""
    result: NDArray[np.float32] = np.maximum(np.ptp(meshes[..., 0], -1), np.ptp(meshes[..., 1], -1))
    return result
