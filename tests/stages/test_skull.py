"""Poses of heads, and the skull and ears that move with them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vidhair.geometry import Grid
from vidhair.models.faces.landmarks import POINTS
from vidhair.stages.skull import (
    HAIR_THICKNESS,
    NUMBERS,
    REFERENCE,
    SMALLEST,
    Place,
    ear_on,
    look,
    mean_skull,
    outline,
    poses,
    within_hair,
)

GRID = Grid.of_pixels(120, 100)


def turned(yaw: float, pitch: float = 0, roll: float = 0) -> NDArray[np.float64]:
    (a, b, c), (d, e, f) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    across = np.array([[a, 0, d], [0, 1, 0], [-d, 0, a]])
    nod = np.array([[1, 0, 0], [0, b, -e], [0, e, b]])
    return np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]]) @ nod @ across


def meshes(places: list[Place], long: float = 1.0) -> NDArray[np.float32]:
    found = np.full((len(places), POINTS, 2), np.nan, np.float32)
    for mesh, at in zip(found, places, strict=True):
        mesh[NUMBERS] = at.seen(REFERENCE * [1, long, 1])
    return found


AT = Place(np.eye(3), 25.0, np.array([50.0, 70.0]))


@pytest.mark.parametrize("long", [0.93, 1.0, 1.08])
def test_the_pose_and_length_of_a_face_are_found(long: float) -> None:
    at = Place(turned(0.4, -0.2, 0.1), 30.0, np.array([60.0, 40.0]))
    pose, found = poses(meshes([at] * 3, long), np.ones(3, bool), np.array([1, 0, 0], bool))
    assert found == pytest.approx(long, abs=0.01)
    assert np.allclose(pose.rotation, at.rotation, atol=0.02)
    assert np.allclose(pose.scale, 30, rtol=0.02)
    assert np.allclose(pose.shift, at.shift, atol=0.6)


def test_absent_frames_and_other_shots_are_left_out() -> None:
    near, far = AT, Place(np.eye(3), 50.0, np.array([10.0, 10.0]))
    mesh = meshes([near, near, far])
    mesh[1] = np.nan
    pose, _ = poses(mesh, np.array([1, 0, 1], bool), np.array([1, 0, 1], bool))
    assert np.allclose(pose.scale, [25, 1, 50], rtol=0.01)


def test_the_mean_skull_passes_through_the_forehead() -> None:
    skull = mean_skull(1)
    high = REFERENCE[(REFERENCE[:, 1] < -0.6) & (abs(REFERENCE[:, 0]) < 0.9)]
    away = np.linalg.norm((high - skull.centre) / skull.axes, axis=1)
    assert np.allclose(away, 1, atol=0.05)


@pytest.mark.parametrize("yaw", [0.0, 0.6])
def test_inside_counts_samples_from_the_outline(yaw: float) -> None:
    at, skull = Place(turned(yaw, 0.1), AT.scale, AT.shift), mean_skull(1)
    seen = look(skull, at, GRID)
    points, y = outline(skull, at.rotation)
    upper = points[y < -0.9] * at.scale + at.shift
    for reach in (-3, 0, 3):
        outwards = upper - at.seen(skull.centre)
        outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
        column, row = np.floor(upper - reach * outwards).astype(int).T
        there = seen.inside[row, column]
        assert np.allclose(there, reach, atol=1.3)
    assert np.allclose(np.square(seen.place).sum(0), 1, atol=1e-5)


def test_a_place_on_the_skull_turns_with_the_head() -> None:
    skull = mean_skull(1)
    for at in (AT, Place(turned(0.3), 25.0, AT.shift)):
        point = skull.centre + skull.axes * [0.3, -0.6, -np.sqrt(1 - 0.45)]
        column, row = np.floor(at.seen(point)).astype(int)
        assert np.allclose(
            look(skull, at, GRID).place[:, row, column], [0.3, -0.6, -0.742], atol=0.04
        )


def test_short_hair_makes_the_skull_smaller_and_high_hair_does_not() -> None:
    skull = mean_skull(1)
    rows = np.arange(GRID.height)[:, None] + 0.5
    top = AT.seen(skull.centre - skull.axes * [0, 1, 0])[1]
    everywhere = np.ones((GRID.height, GRID.width), bool)
    for cap, least, most in ((-20, 1, 1), (0, 0.86, 0.96), (30, SMALLEST, SMALLEST)):
        hidden = everywhere & (rows > top + cap)
        found = within_hair(skull, [AT], [hidden], GRID).axes[1] / skull.axes[1]
        assert least - 1e-9 <= found <= most + 1e-9
    assert min(HAIR_THICKNESS) > 0


def test_both_ears_are_seen_from_before_and_one_from_aside() -> None:
    left, right = (ear_on(side, AT, GRID) for side in (-1, 1))
    assert left is not None and right is not None
    assert np.allclose(left[1], right[1][:, ::-1], atol=0.05)
    columns = np.flatnonzero(right[1].max(0) > 0.5)
    assert columns.min() > 70 and columns.max() < 50 + 1.3 * 25
    assert ear_on(1, Place(turned(1.1), 25.0, AT.shift), GRID) is None or (
        ear_on(-1, Place(turned(1.1), 25.0, AT.shift), GRID) is None
    )
