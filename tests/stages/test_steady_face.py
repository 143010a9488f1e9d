"""A mesh that holds still where the face does, and follows where it moves."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.stages.faces import face_mesh, face_track
from tests.stages.series import InMemory
from tests.stages.test_difference import located
from vidhair.geometry import Box
from vidhair.models.faces.landmarks import MOUTH_LEFT, MOUTH_RIGHT, POINTS
from vidhair.stages.align import FaceTrack
from vidhair.stages.steady_face import REACH, affine, face_of, fitted, steady, steady_face

BOX = Box(0.0, 0.0, 1.0)
MESH = face_mesh(80, 75, 40)
FACE = located(MESH)


def steadied(track: FaceTrack) -> NDArray[Any]:
    return steady(track.mesh, FACE, track.axes.side, track.present, track.cuts)


def test_an_affine_map_is_found() -> None:
    a = np.array([[30.0, -8.0], [5.0, 41.0]])
    turn, shift = affine(FACE, (FACE @ a.T + [7, 9]).astype(np.float32))
    assert np.allclose(turn, a, atol=1e-3) and np.allclose(shift, [7, 9], atol=1e-3)


def test_curves_of_a_degree_are_followed_to_the_ends_and_not_across_cuts() -> None:
    t = np.arange(20.0)
    values = np.where(t < 11, 3 + t - 0.2 * t**2, 50 - 2 * t)
    begins = (t == 0) | (t == 11)
    assert np.allclose(fitted(values, begins, 2), values, atol=1e-6)
    assert np.allclose(fitted(values, begins, 0)[11 + REACH :], values[11 + REACH :], atol=8)


def test_a_still_head_whose_mesh_trembles_is_held() -> None:
    track = face_track([(80, 75, 40)] * 24, BOX)
    rng = np.random.default_rng(0)
    unit = float(track.axes.side[0])
    noise = 0.0008 * rng.standard_normal((24, 1, 2)) + 0.0004 * rng.standard_normal((24, POINTS, 2))
    track.mesh[:] += (unit * noise).astype(np.float32)
    found = steadied(track)
    trembling = [np.abs(np.diff(m[:, MOUTH_LEFT], 2, axis=0)).mean() for m in (track.mesh, found)]
    assert trembling[1] < 0.15 * trembling[0]


def test_a_head_that_moves_is_followed_at_once() -> None:
    places = [(80 + 3 * k, 75 - k, 40 + k, 5.0 * k) for k in range(9)]
    track = face_track(places, BOX)
    assert np.abs(steadied(track) - track.mesh).max() < 0.3


def test_a_mouth_that_opens_is_followed_and_cuts_are_kept() -> None:
    track = face_track([(80, 75, 40)] * 10 + [None], BOX, cuts=(5,))
    track.mesh[5:10, MOUTH_RIGHT] += 6
    track.mesh[3, MOUTH_LEFT] += 6
    found = steadied(track)
    assert np.allclose(found[:10, MOUTH_RIGHT], track.mesh[:10, MOUTH_RIGHT], atol=0.2)
    assert np.allclose(found[3, MOUTH_LEFT], track.mesh[3, MOUTH_LEFT], atol=0.3)
    assert np.isnan(found[10]).all()


def test_the_straightest_face_is_the_persons() -> None:
    track = face_track([(80, 75, 40), None, (60, 50, 20)], BOX)
    turned = track.mesh[0].copy()
    turned[1, 0] += 20  # the nose
    track.mesh[0] = turned
    assert np.allclose(face_of(InMemory(track)), FACE, atol=0.01)
    assert np.allclose(steady_face(InMemory(track)).face, FACE, atol=0.01)
