"""A person's mesh without the trembling of how it is read: what moves is followed at once, and what
holds still does so.

P points of the mesh, T frames.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vidhair.geometry import CropAxes
from vidhair.models.faces.landmarks import POINTS
from vidhair.stages.align import FaceTrack, frontal
from vidhair.stages.smooth import runs
from vidhair.wiring import Series, Value, ranges, stage

REACH = 6  # frames on either side
TAPS = np.hanning(2 * REACH + 3)[1:-1]
# Degrees of the curves in time that are tried one after the other, and how far off them a face may
# be that still follows them, in crop sides: about what the mesh of a still face trembles by.
CURVES = ((2, 0.003), (0, 0.0012))


@dataclass(frozen=True)
class SteadyFace(Value):
    """mesh: [T, P, 2] in pixels, anything where the face is absent; face: [P, 2], the person's
    where it is seen most from the front, in sides of its crop."""

    ROWS: ClassVar[tuple[str, ...]] = ("mesh",)
    mesh: NDArray[np.float32]
    face: NDArray[np.float32]


def affine(
    face: NDArray[np.float32], mesh: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The map of places on a face [P, 2] to those on a mesh [P, 2] (least squares), as [2, 2] and
    [2]: how the face is turned, its size and place."""
    known = np.concatenate([face, np.ones((len(face), 1))], 1).astype(np.float64)
    found, *_ = np.linalg.lstsq(known, mesh.astype(np.float64), rcond=None)
    return found[:2].T, found[2]


def fitted(
    values: NDArray[np.float64], begins: NDArray[np.bool_], degree: int
) -> NDArray[np.float64]:
    """Values [T, …] on curves of a degree through what is around them, without a lag (Savitzky and
    Golay 1964). begins: [T], where runs begin that do not tell of each other."""
    count, offsets = len(values), np.arange(-REACH, REACH + 1)
    rows = np.arange(count)[:, None] + offsets
    run = np.cumsum(begins)
    there = rows.clip(0, count - 1)
    known = (rows == there) & (run[there] == run[:, None])
    patterns, which = np.unique(known, axis=0, return_inverse=True)
    powers = offsets[:, None].astype(np.float64) ** np.arange(degree + 1)
    taps = []
    for pattern in patterns:
        weight = np.sqrt(TAPS * pattern)
        taps.append(np.linalg.pinv(powers * weight[:, None])[0] * weight)
    share = np.array(taps)[which.reshape(-1)]
    total = np.zeros_like(values)
    for k in range(len(offsets)):
        one = share[:, k].reshape(-1, *[1] * (values.ndim - 1))
        total += np.where(one != 0, one * values[there[:, k]], 0)
    return total


def calmed(
    values: NDArray[np.float64],
    begins: NDArray[np.bool_],
    unit: NDArray[np.float64],
    whole: bool,
) -> NDArray[np.float64]:
    """Points [T, P, 2], each along the simplest curve that it follows. unit: [T], a crop's side;
    whole: whether all points of a frame follow together."""
    result = values
    for degree, most in CURVES:
        smooth = fitted(values, begins, degree)
        away = np.square(smooth - result).sum(-1) / (most * unit[:, None]) ** 2
        away = away.mean(1, keepdims=True) if whole else away
        result = result + (smooth - result) / (1 + away[..., None] ** 2)
    return result


def steady(
    mesh: NDArray[np.float32],
    face: NDArray[np.float32],
    unit: NDArray[np.float64],
    present: NDArray[np.bool_],
    cuts: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Meshes [T, P, 2]: the face [P, 2] as it is turned there, calmed as one, and what a mesh has
    beside it, point by point. unit: [T], the crops' sides."""
    whole = np.zeros(mesh.shape)
    for row in np.flatnonzero(present):
        turn, shift = affine(face, mesh[row])
        whole[row] = face @ turn.T + shift
    own, begins = np.where(present[:, None, None], mesh - whole, 0), runs(present, cuts)
    side = np.where(present, unit, 1)
    found = calmed(whole, begins, side, whole=True) + calmed(own, begins, side, whole=False)
    return np.where(present[:, None, None], found, mesh).astype(np.float32)


def face_of(track: Series[FaceTrack]) -> NDArray[np.float32]:
    """The person's face where it is seen most from the front, [P, 2] in sides of its crop."""
    best, face = -1.0, np.zeros((POINTS, 2), np.float32)
    for start, stop in ranges(track.count):
        rows = track.rows(start, stop)
        axes = rows.axes
        straight = np.where(rows.present, frontal(rows.mesh, axes), -1)
        row = int(np.argmax(straight))
        if straight[row] > best:
            best = float(straight[row])
            own = CropAxes(axes.centre[row], axes.x[row])
            face = own.locate(rows.mesh[row]).astype(np.float32)
    return face


@stage(keep=False)
def steady_face(track: Series[FaceTrack]) -> SteadyFace:
    face, present = face_of(track), track.field("present")
    mesh = track.field("mesh")
    unit = np.concatenate([track.rows(*some).axes.side for some in ranges(track.count)])
    return SteadyFace(steady(mesh, face, unit, present, track.field("cuts")), face)
