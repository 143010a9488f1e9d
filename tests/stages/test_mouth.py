"""What a mouth holds that opens further than the frame shows it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.stages.faces import face_track
from tests.stages.series import InMemory
from vidhair.geometry import Box, crop_axes
from vidhair.models.faces.expressions import LOWER_INNER, UPPER_INNER
from vidhair.models.faces.landmarks import (
    EYE_LEFT,
    EYE_RIGHT,
    eyes_and_mouth,
)
from vidhair.stages import mouth as mouths
from vidhair.stages.mouth import Mouth, Opening, drawn, mouth, white_of
from vidhair.stages.steady_face import SteadyFace
from vidhair.types import Frames

SKIN, TEETH = (180, 120, 100), (30, 200, 40)
HALF = np.linspace(-0.09, 0.09, 11)
MIDDLE = 5


def lips(gap: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Borders [11, 2] on the face of lips that meet at the corners."""
    bow = gap / 2 * (1 - (HALF / 0.09) ** 2)
    return np.stack([HALF, 0.24 - bow], 1), np.stack([HALF, 0.24 + bow], 1)


def scene(gap: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """A frame [300, 300, 3] of skin, its mesh with lips that are so far apart, and the face."""
    mesh = face_track([(150, 130, 80)], Box(0.0, 0.0, 1.0)).mesh[0]
    for eye, x in ((EYE_LEFT, 100), (EYE_RIGHT, 200)):
        angle = np.linspace(0, 2 * np.pi, len(eye), endpoint=False)
        mesh[list(eye)] = np.stack([x + 14 * np.cos(angle), 110 + 6 * np.sin(angle)], 1)
    axes = crop_axes(*eyes_and_mouth(mesh))
    for _ in range(3):  # the corners of the mouth take part in the axes
        for border, numbers in zip(lips(gap), (UPPER_INNER, LOWER_INNER), strict=True):
            mesh[list(numbers)] = axes.centre + border @ (2 * np.stack([axes.x, axes.y]))
    frame = np.full((300, 300, 3), SKIN, np.uint8)
    return frame, mesh, axes.locate(mesh.astype(np.float64)).astype(np.float32)


def made(frame: NDArray[Any], mesh: NDArray[Any], face: NDArray[Any]) -> Mouth:
    track = face_track([(150, 130, 80)], Box(0.0, 0.0, 1.0))
    track.mesh[0] = mesh
    steady = InMemory(SteadyFace(mesh[None], face))
    return mouth(InMemory(Frames.of_pixels(frame[None])), InMemory(track), steady)


def opened(frame: NDArray[Any], mesh: NDArray[Any], face: NDArray[Any], by: float) -> NDArray[Any]:
    """The frame in 0 … 1 after its lower lip has gone down by so many pixels."""
    moved = np.zeros_like(mesh)
    moved[list(LOWER_INNER), 1] = by * (1 - (HALF / 0.09) ** 2)
    picture = frame.astype(np.float32) / 255
    Opening(frame, mesh, moved, made(frame, mesh, face), 0, face).put_into(picture, (0, 0))
    return picture


def test_teeth_are_bright_at_the_upper_lip_and_what_is_behind_them_is_dark() -> None:
    upper, lower = lips(0.08)
    y = np.linspace(0.2, 0.28, 200)
    places = np.stack([np.full(200, 0.015), y], 1)[:, None]
    colors = drawn(places, upper, lower, 0.24, np.full(3, 200, np.float32), 1.0)[:, 0].mean(-1)
    teeth, dark = colors[(y > 0.225) & (y < 0.245)], colors[(y > 0.258) & (y < 0.268)]
    assert teeth.min() > 90 and dark.max() < 60
    bare = drawn(places, upper, lower, 0.24, np.full(3, 200, np.float32), 0.0)
    assert bare.max() < 110


def test_closed_lips_that_part_show_teeth_and_nothing_else_changes() -> None:
    frame, mesh, face = scene(0.0)
    picture = opened(frame, mesh, face, 16)
    x, y = mesh[UPPER_INNER[MIDDLE]]
    column = picture[int(y) : int(y) + 16, int(x)]
    assert column.max() > 0.45 and column.min() < 0.25
    changed = np.abs(picture - frame / 255).max(-1) > 0.01
    rows, columns = changed.nonzero()
    assert rows.min() > y - 6 and rows.max() < y + 22
    left, right = mesh[[UPPER_INNER[0], UPPER_INNER[-1]], 0]
    assert columns.min() > left - 6 and columns.max() < right + 6


def test_lips_that_stay_closed_stay_as_they_are() -> None:
    frame, mesh, face = scene(0.0)
    assert np.array_equal(opened(frame, mesh, face, 0.2), frame.astype(np.float32) / 255)


def test_what_the_frame_shows_of_its_teeth_stays_and_is_not_drawn_twice() -> None:
    frame, mesh, face = scene(0.1)
    upper, lower = mesh[UPPER_INNER[MIDDLE]], mesh[LOWER_INNER[MIDDLE]]
    frame[int(upper[1]) : int(lower[1]) + 1, 80:220] = TEETH
    picture = opened(frame, mesh, face, 10) * 255
    x, y = int(upper[0]), int(upper[1])
    assert np.allclose(picture[y + 5 : y + 8, x], TEETH, atol=12)
    low = int(lower[1]) + 10
    assert np.allclose(picture[low - 7 : low - 4, x], TEETH, atol=25)


def test_another_frame_tells_what_an_open_mouth_holds() -> None:
    frame, mesh, face = scene(0.1)
    upper, lower = mesh[UPPER_INNER[MIDDLE]], mesh[LOWER_INNER[MIDDLE]]
    frame[int(upper[1]) : int(lower[1]) + 1, 80:220] = TEETH
    told = made(frame, mesh, face)
    assert told.known[0].any()
    middle = told.seen[0][told.known[0] > 0.99]
    assert np.allclose(middle, TEETH, atol=10)
    closed, other, front = scene(0.0)
    moved = np.zeros_like(other)
    moved[list(LOWER_INNER), 1] = 14 * (1 - (HALF / 0.09) ** 2)
    picture = closed.astype(np.float32) / 255
    Opening(closed, other, moved, told, 0, front).put_into(picture, (0, 0))
    x, y = other[UPPER_INNER[MIDDLE]].astype(int)
    green = picture[y + 4 : y + 10, x]
    assert (green[:, 1] > green[:, 0] + 0.2).any()


@pytest.mark.parametrize("white", [90, 220])
def test_teeth_are_as_bright_as_eyes_and_not_darker_than_skin(white: int) -> None:
    frame, mesh, _ = scene(0.0)
    for eye in (EYE_LEFT, EYE_RIGHT):
        (x0, y0), (x1, y1) = mesh[list(eye)].min(0), mesh[list(eye)].max(0)
        frame[int(y0) - 1 : int(y1) + 2, int(x0) - 1 : int(x1) + 2] = white
    found = white_of(frame, mesh)
    assert found.mean() == pytest.approx(max(white, 1.1 * np.mean(SKIN)), rel=0.02)
    frame[:] = SKIN
    mesh[[*EYE_LEFT, *EYE_RIGHT]] = 0  # closed
    assert white_of(frame, mesh).mean() == pytest.approx(1.1 * np.mean(SKIN), rel=0.02)
    assert mouths.IVORY.max() == 1
