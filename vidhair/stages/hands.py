"""Where hands are: they come before hair in all frames of many clips, and look like necks."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vidhair.geometry import Grid
from vidhair.models.faces.landmarks import HAND_POINTS, HandMarks
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.region import HairWindow, window_on
from vidhair.types import Clip, Frames
from vidhair.wiring import Meter, Series, Value, ranges, stage

MOST = 4  # hands around a head
AT_ONCE = 8  # frames that are read
AROUND = 0.75  # of the hair's window that is looked at as well, in crop sides: hands are seen whole
# Points of a hand: joints of each finger from its base to its tip, and what spans the palm.
FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
PALM, ACROSS, ALONG = (0, 1, 5, 9, 13, 17), (5, 17), (0, 9)
# Half the width of fingers, of hands as wide as across the palm, or as so much of its length where
# a hand is seen from its side.
FINGER, LEAST_WIDE = 0.17, 0.6


@dataclass(frozen=True)
class Hands(Value):
    """points: float32 [T, MOST, 21, 2] in pixels of the frame, in MediaPipe's order (wrist, then
    thumb to little finger, each from its base to its tip). NaN where there are fewer hands."""

    ROWS: ClassVar[tuple[str, ...]] = ("points",)
    points: NDArray[np.float32]


def hands_on(points: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """How far hands [N, 21, 2] cover samples of a grid, [h, w] in 0 … 1."""
    cover = np.zeros((grid.height, grid.width), np.float32)
    rows, columns = (np.arange(n, dtype=np.float32) + 0.5 for n in cover.shape)
    for marks in grid.places(points[np.isfinite(points[:, 0, 0])]):
        across, along = (np.hypot(*(marks[b] - marks[a])) for a, b in (ACROSS, ALONG))
        half = FINGER * max(across, LEAST_WIDE * along)
        low, high = marks.min(0) - 2 * half, marks.max(0) + 2 * half
        (left, top), (right, bottom) = (
            np.clip(corner, 0, cover.shape[::-1]).astype(int) for corner in (low, high)
        )
        if right <= left or bottom <= top:
            continue
        part = cover[top:bottom, left:right]
        np.maximum(part, polygon_mask(marks[list(PALM)] - (left, top), *part.shape), out=part)
        lines = [*FINGERS, PALM, (0, 17)]
        y, x = rows[top:bottom, None], columns[None, left:right]
        for a, b in (pair for line in lines for pair in pairwise(line)):
            (x0, y0), way = marks[a], marks[b] - marks[a]
            share = ((x - x0) * way[0] + (y - y0) * way[1]) / max(float(way @ way), 1e-6)
            share = share.clip(0, 1)
            away = np.hypot(x - x0 - share * way[0], y - y0 - share * way[1])
            np.maximum(part, (half + 0.5 - away).clip(0, 1), out=part)
    return cover


def wider(window: HairWindow, clip: Clip) -> HairWindow:
    """What is looked at of a clip's frames."""
    step, more = int(window.step), math.ceil(AROUND * window.side)
    height, width = window.height + 2 * more, window.width + 2 * more
    around = Grid(window.left - more * step, window.top - more * step, step, height, width)
    return window_on(around, step, window.side, (clip.width, clip.height))


@stage()
def hands(
    frames: Series[Frames],
    track: Series[FaceTrack],
    hair_window: HairWindow,
    clip: Clip,
    meter: Meter,
) -> Hands:
    """Followed from frame to frame."""
    count, present, seen = track.count, track.field("present"), wider(hair_window, clip)
    found, finder = np.full((count, MOST, HAND_POINTS, 2), np.nan, np.float32), HandMarks(MOST)
    corner = np.array([seen.left, seen.top], np.float32)
    for some in ranges(count, AT_ONCE):
        for row, frame in zip(range(*some), frames.rows(*some), strict=True):
            if present[row]:
                marks = finder(seen.cut(frame))
                found[row, : len(marks)] = corner + seen.step * marks
        meter(some[1])
    finder.close()
    return Hands(found)
