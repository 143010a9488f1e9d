"""What is said about the mesh without running MediaPipe."""

import numpy as np
import pytest

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

CONTOURS = [EYE_LEFT, EYE_RIGHT, FACE_OVAL, MIDDLE_OF_FACE]


@pytest.mark.parametrize("indices", CONTOURS, ids=["left eye", "right eye", "oval", "middle"])
def test_a_contour_visits_points_of_the_mesh_once(indices: tuple[int, ...]) -> None:
    assert len(set(indices)) == len(indices)
    assert min(indices) >= 0 and max(indices) < POINTS


def test_parts_of_the_face_share_no_points() -> None:
    mouth = {MOUTH_LEFT, MOUTH_RIGHT}
    parts = [set(EYE_LEFT), set(EYE_RIGHT), set(FACE_OVAL), mouth]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert len(EYE_LEFT) == len(EYE_RIGHT)


def test_eyes_are_the_means_of_their_contours_and_the_mouth_its_corners() -> None:
    mesh = np.random.default_rng(0).uniform(0, 100, (2, 3, POINTS, 2))
    mesh[..., list(EYE_LEFT), :] = [10, 20]
    mesh[..., list(EYE_LEFT)[:2], :] = [[6, 20], [14, 20]]
    mesh[..., list(EYE_RIGHT), :] = [30, 21]
    mesh[..., MOUTH_LEFT, :], mesh[..., MOUTH_RIGHT, :] = [12, 40], [28, 41]
    points = eyes_and_mouth(mesh)
    for point, want in zip(points, [(10, 20), (30, 21), (12, 40), (28, 41)], strict=True):
        assert point.shape == (2, 3, 2)
        np.testing.assert_allclose(point, np.broadcast_to(want, point.shape))


def test_an_absent_face_has_no_eyes() -> None:
    assert all(np.isnan(p).all() for p in eyes_and_mouth(np.full((POINTS, 2), np.nan)))
