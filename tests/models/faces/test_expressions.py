"""What goes with an expression of the mouth."""

import numpy as np
import pytest

from tests.stages.faces import face_mesh
from tests.stages.test_difference import located
from vidhair.models.faces.effects import Effect
from vidhair.models.faces.expressions import (
    LOWER_MIDDLE,
    UPPER_MIDDLE,
    opening,
    opens,
    rise,
    with_face,
)
from vidhair.models.faces.landmarks import MOUTH_LEFT, MOUTH_RIGHT, POINTS

FACE = located(face_mesh(80, 75, 40))
PLACES = {
    (205, 425): (0.146, 0.13), (50, 280): (0.177, 0.1), (230, 450): (0.126, 0.024),
    (145, 374): (0.127, -0.01), (203, 423): (0.095, 0.135), (206, 426): (0.115, 0.16),
    (216, 436): (0.13, 0.19),
}  # fmt: skip
for (left, right), (x, y) in PLACES.items():
    FACE[left], FACE[right] = (-x, y), (x, y)


def effect(corners: float, jaw: float = 0.0) -> Effect:
    moved, tinted = np.zeros((POINTS, 2), np.float32), np.ones((POINTS, 3), np.float32)
    moved[[MOUTH_LEFT, MOUTH_RIGHT]] = (-0.01, -corners), (0.01, -corners)
    moved[LOWER_MIDDLE, 1] = jaw
    return Effect(FACE, moved, tinted)


def test_in_a_smile_cheeks_and_lower_lids_take_part_as_far_as_the_corners_rise() -> None:
    whole, half = with_face(effect(0.024)), with_face(effect(0.012))
    for point in (205, 425, 145, 374):
        lifted = -(whole.moved - effect(0.024).moved)[point, 1]
        assert lifted > 0.002
        assert -(half.moved - effect(0.012).moved)[point, 1] == pytest.approx(lifted / 2)
    assert whole.tinted[206, 0] < 0.5 < 1.5 < whole.tinted[50, 0]


def test_what_is_no_smile_stays() -> None:
    for other in (effect(0.0), effect(-0.02)):
        assert rise(other) == 0 and with_face(other) is other


def test_lips_that_part_are_not_tinted_by_what_was_seen_behind_them() -> None:
    given = effect(0.0, jaw=0.05)
    found = with_face(given)
    assert opens(given) and not found.tinted.any() and np.array_equal(found.moved, given.moved)


def test_how_open_a_mouth_is() -> None:
    mesh = np.zeros((POINTS, 2), np.float32)
    mesh[MOUTH_RIGHT, 0] = 100
    found = []
    for gap in (2, 25, 60):
        mesh[LOWER_MIDDLE, 1] = mesh[UPPER_MIDDLE, 1] + gap
        found.append(opening(mesh))
    assert found[0] == 0 < found[1] < found[2] == 1
