"""Face meshes drawn by hand: what the stages read of a mesh, without MediaPipe."""

from collections.abc import Collection, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidhair.geometry import Box, crop_axes
from vidhair.models.faces.landmarks import (
    EYE_LEFT,
    EYE_RIGHT,
    FACE_OVAL,
    MIDDLE_OF_FACE,
    MOUTH_LEFT,
    MOUTH_RIGHT,
    POINTS,
    eyes_and_mouth,
)
from vidhair.stages.align import FaceTrack
from vidhair.types import Clip


def _ring(count: int, width: float, height: float) -> NDArray[Any]:
    """Points on an ellipse, clockwise as seen from its top on."""
    angle = np.arange(count) / count * 2 * np.pi
    return np.stack([width * np.sin(angle), -height * np.cos(angle)], 1)


def face_mesh(x: float, y: float, size: float, turn_deg: float = 0) -> NDArray[Any]:
    """float32 [478, 2]: an upright face around (x, y), `size` from its centre to its chin.

    Its FFHQ crop is centred 0.13 sizes above (x, y) and has a side of 2.8 sizes.
    """
    mesh = np.zeros((POINTS, 2))
    mesh[list(FACE_OVAL)] = _ring(len(FACE_OVAL), 0.75, 1)
    mesh[list(MIDDLE_OF_FACE)] = _ring(len(MIDDLE_OF_FACE), 0.5, 0.7)
    mesh[list(EYE_LEFT)] = np.array([-0.35, -0.2]) + _ring(len(EYE_LEFT), 0.1, 0.05)
    mesh[list(EYE_RIGHT)] = np.array([0.35, -0.2]) + _ring(len(EYE_RIGHT), 0.1, 0.05)
    mesh[MOUTH_LEFT], mesh[MOUTH_RIGHT] = [-0.25, 0.5], [0.25, 0.5]
    a = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    return (mesh @ turn.T * size + [x, y]).astype(np.float32)


Place = tuple[float, ...]  # what `face_mesh` takes


def face_track(
    places: Sequence[Place | None], box: Box, cuts: Collection[int] = (), *beside: Place | None
) -> FaceTrack:
    """A face at its place in every frame, or none; `beside`: another one's in every frame."""
    none = np.full((POINTS, 2), np.nan, np.float32)
    meshes = np.stack([none if place is None else face_mesh(*place) for place in places])
    present = np.array([place is not None for place in places])
    starts = np.isin(np.arange(len(places)), [0, *cuts])
    neighbours = np.full((len(places), 1 if beside else 0, 5), np.nan, np.float32)
    for frame, place in enumerate(beside):
        if place is not None:
            axes = crop_axes(*eyes_and_mouth(face_mesh(*place).astype(np.float64)))
            own = places[frame]
            larger = np.inf if own is None else place[2] / own[2]
            neighbours[frame, 0] = [*axes.centre, *axes.x, larger]
    return FaceTrack(meshes, present, present, starts, box, neighbours)


def clip_of(width: int, height: int, milliseconds: Sequence[int]) -> Clip:
    """A clip that is no file, whose frames appear at these times."""
    pts = np.array(milliseconds, np.int64)
    return Clip(Path("made up.mp4"), width, height, pts, int(pts[-1]) + 40, Fraction(1, 1000))
