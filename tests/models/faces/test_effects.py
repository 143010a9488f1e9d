"""What changes of a drawn face do to its mesh."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.models.tiny import random
from tests.stages.faces import face_mesh
from vidhair.checkpoints.packs import open_pack, write_pack
from vidhair.errors import PackDamaged
from vidhair.geometry import crop_axes
from vidhair.models.faces.effects import (
    STRONGEST_TINT,
    Effect,
    FaceEffects,
    at_points,
    colors_at,
    effect_between,
    local,
    pack_effects,
    part_of,
    typical,
)
from vidhair.models.faces.landmarks import MOUTH_LEFT, MOUTH_RIGHT, POINTS, eyes_and_mouth
from vidhair.models.pack import load_pack

MESH = face_mesh(64, 60, 36)
FACE = crop_axes(*eyes_and_mouth(MESH)).locate(MESH.astype(np.float64)).astype(np.float32)
LIPS = part_of("lips")


def effect(moved: NDArray[Any], tint: float = 0.0) -> Effect:
    return Effect(FACE, moved.astype(np.float32), np.full((POINTS, 3), tint, np.float32))


def test_parts_are_found_by_words() -> None:
    assert part_of("smile") and part_of("Mouth_Slightly_Open") and part_of("brow_raise")
    assert MOUTH_LEFT in part_of("Smiling") and 159 in part_of("Narrow_Eyes")
    assert part_of("age_boundary") == part_of("hair_length") == part_of("yaw") == ()


def test_values_at_points() -> None:
    rows = torch.arange(20.0).view(1, 1, 20, 1).expand(1, 1, 20, 30)
    found = at_points(rows, np.array([[4.0, 3.5], [10.0, 12.0], [-5.0, -5.0]]))
    assert np.allclose(found[:, 0], [3, 11.5, 0])


def test_colors_around_points() -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, 20:] = 255
    found = colors_at(picture, np.array([[5.0, 20.0], [35.0, 20.0], [20.0, 20.0]]), 2.0)
    assert np.allclose(found[:, 0], [0, 100, 50], atol=1)


def test_an_effect_is_in_sides_of_the_first_faces_crop() -> None:
    picture = np.full((130, 130, 3), 90, np.uint8)
    brighter = np.full((130, 130, 3), 100, np.uint8)
    side = float(crop_axes(*eyes_and_mouth(MESH)).side)
    raised = MESH.copy()
    raised[:, 1] -= 0.1 * side
    found = effect_between(picture, brighter, MESH, raised)
    assert np.allclose(found.face, FACE) and np.allclose(found.moved, [0, -0.1], atol=1e-5)
    assert (found.tinted[:, 0] > 2).all() and np.allclose(found.tinted[:, 1:], 0, atol=0.1)


def test_what_is_typical_heeds_no_odd_one() -> None:
    usual, odd = np.full((POINTS, 2), 0.01), np.full((POINTS, 2), 3.0)
    found = typical([effect(usual, 1), effect(odd, 90), effect(usual, 1)])
    assert np.allclose(found.moved, 0.01) and np.allclose(found.tinted, 1)
    assert np.allclose(typical([effect(odd, -90)]).tinted, -STRONGEST_TINT)
    assert np.allclose(typical([effect(usual, 1)]).times(-2).moved, -0.02)


class TestLocal:
    def test_what_the_whole_face_does_is_left_out(self) -> None:
        longer = FACE * [0, 0.1] + [0.02, 0]
        assert np.abs(local(effect(longer), LIPS).moved).max() < 1e-5

    def test_what_the_part_does_beside_stays(self) -> None:
        moved = FACE * [0, 0.1]
        moved[[MOUTH_LEFT, MOUTH_RIGHT], 1] -= 0.02
        found = local(effect(moved), LIPS).moved
        assert np.allclose(found[[MOUTH_LEFT, MOUTH_RIGHT]], [0, -0.02], atol=1e-3)
        assert np.abs(found[10]).max() < 1e-3

    def test_tints_end_around_it(self) -> None:
        found = local(effect(np.zeros((POINTS, 2)), 5), LIPS).tinted
        assert np.allclose(found[MOUTH_LEFT], 5) and np.abs(found[10]).max() < 1e-3


def effects(*names: str) -> FaceEffects:
    count = len(names)
    return FaceEffects(names, random(POINTS, 2), random(count, POINTS, 2), random(count, POINTS, 3))


class TestOfAPack:
    @staticmethod
    def written(folder: Path, names: list[str], found: FaceEffects) -> Path:
        write_pack(folder, "p", {"effects": ("effects", {"names": names}, found.tensors())}, {})
        return folder

    def test_they_come_back_by_their_names(self, tmp_path: Path) -> None:
        given = effects("smile", "jaw_width")
        found = pack_effects(open_pack(self.written(tmp_path, ["smile", "jaw_width"], given)))
        assert found is not None and found.of("age") is None
        jaw = found.of("jaw_width")
        assert jaw is not None and np.allclose(jaw.moved, given.moved[1], atol=1e-2)

    def test_names_that_do_not_fit(self, tmp_path: Path) -> None:
        folder = self.written(tmp_path, ["smile"], effects("smile", "jaw_width"))
        with pytest.raises(PackDamaged, match="effects of pack 'p' do not fit"):
            pack_effects(open_pack(folder))

    def test_the_bundled_ones_smile(self) -> None:
        found = load_pack().effects
        assert found is not None
        smile = found.of("smile")
        assert smile is not None
        left, right = smile.moved[[MOUTH_LEFT, MOUTH_RIGHT]]
        assert left[1] < -0.015 and right[1] < -0.015, "the corners rise"
        assert left[0] < -0.01 and right[0] > 0.01, "and go apart"
        assert np.abs(smile.moved[10]).max() < 0.006, "the forehead does not move"
        opened = found.of("mouth_open")
        assert opened is not None and opened.moved[14, 1] - opened.moved[13, 1] > 0.02
