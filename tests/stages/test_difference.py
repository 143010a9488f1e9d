"""What an edit moves and tints, done to the source's own pixels."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.models.tiny import random
from tests.stages.faces import face_mesh, face_track
from vidhair.geometry import Box, Grid, crop_axes
from vidhair.models.faces.expressions import LOWER_MIDDLE, UPPER_MIDDLE
from vidhair.models.faces.landmarks import MOUTH_LEFT, MOUTH_RIGHT, POINTS, eyes_and_mouth
from vidhair.stages import difference
from vidhair.stages.difference import (
    FaceEffect,
    FaceMotion,
    dense,
    flowing_effect,
    former_motion,
    motion_of,
    resampled,
    seen_effect,
    sharpened,
    warped,
    warped_patch,
)
from vidhair.stages.fade import Fade
from vidhair.stages.layers import fold
from vidhair.stages.mouth import Mouth
from vidhair.stages.steady_face import SteadyFace
from vidhair.types import Frames

HEIGHT, WIDTH = 150, 160
MESH = face_mesh(80, 75, 40)
BOX = Box(0.0, 0.0, 1.0)


def waves(height: int = HEIGHT, width: int = WIDTH) -> NDArray[Any]:
    """A picture that is nowhere even, uint8 [H, W, 3]."""
    y, x = np.mgrid[:height, :width]
    planes = [128 + 90 * np.sin(x / 3 + k) * np.cos(y / (4 + k)) for k in range(3)]
    return np.stack(planes, -1).astype(np.uint8)


def no_mouth(count: int) -> Mouth:
    """One that tells nothing of what other frames show."""
    empty = np.zeros((1, 4, 4), np.float32)
    white = np.full((1, 3), 220, np.float32)
    shot = np.zeros(count, np.int64)
    return Mouth(
        shot, 0.24, white, empty[..., None].repeat(3, -1), empty, np.zeros((1, 2), np.float32)
    )


def located(mesh: NDArray[Any]) -> NDArray[Any]:
    return crop_axes(*eyes_and_mouth(mesh)).locate(mesh.astype(np.float64)).astype(np.float32)


def no_tint() -> NDArray[Any]:
    return np.zeros((POINTS, 3), np.float32)


def smiling(by: float) -> NDArray[Any]:
    """Corners of the mouth that rise by so many pixels, as what is near does less, [P, 2]."""
    moved = np.zeros((POINTS, 2), np.float32)
    for corner in (MOUTH_LEFT, MOUTH_RIGHT):
        away = np.linalg.norm(MESH - MESH[corner], axis=1)
        moved[:, 1] -= by * np.exp(-0.5 * (away / 8) ** 2)
    return moved


def test_nothing_moves_nothing() -> None:
    assert warped_patch(waves(), MESH, smiling(0), no_tint()) is None


def test_what_is_moved_comes_from_where_it_was_and_the_rest_stays() -> None:
    frame = waves()
    x, y = np.round(MESH[MOUTH_LEFT]).astype(int)
    frame[y - 2 : y + 3, x - 2 : x + 3] = (250, 0, 0)
    patch = warped_patch(frame, MESH, smiling(4), no_tint())
    assert patch is not None
    new = fold(frame, [patch]).astype(int)
    red = (new[..., 0] - new[..., 1] > 200).nonzero()
    assert y - red[0].mean() == pytest.approx(4, abs=1.2)
    changed = (new != frame).any(-1)
    assert changed.any() and not changed[:40].any() and not changed[:, :20].any()
    outside = ~patch.alpha.astype(bool)
    seen = patch.window.pixels
    assert np.array_equal(new[seen][outside], frame[seen][outside])


def test_a_tint_is_laid_on_the_face_alone() -> None:
    frame = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    tinted = no_tint()
    tinted[:, 0] = 6
    patch = warped_patch(frame, MESH, smiling(0), tinted)
    assert patch is not None
    new = fold(frame, [patch]).astype(int)
    assert new[75, 80].min() > 125 and (new[:5] == 120).all() and (new[:, -5:] == 120).all()


def test_a_face_beside_the_frame_is_no_patch() -> None:
    assert warped_patch(waves(), MESH + np.float32(1000), smiling(3), no_tint()) is None


class TestResampled:
    window = Grid.of_pixels(20, 30, 8, 9)

    def test_no_shift_gives_the_pixels(self) -> None:
        picture = random(1, 3, 40, 50).sigmoid()
        found = resampled(picture, self.window, torch.zeros(1, 2, 20, 30))
        assert torch.allclose(found, picture[:, :, 9:29, 8:38], atol=1e-5)

    def test_a_whole_shift_gives_other_ones(self) -> None:
        picture = random(1, 3, 40, 50).sigmoid()
        shift = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 20, 30)
        found = resampled(picture, self.window, shift)
        assert torch.allclose(found, picture[:, :, 7:27, 11:41], atol=1e-5)

    def test_what_is_pressed_together_does_not_alias(self) -> None:
        """Columns that alternate, two to a pixel, are grey and no longer black or white."""
        picture = (torch.arange(200) % 2).float().expand(1, 3, 40, 200)
        shift = torch.zeros(1, 2, 20, 60)
        shift[:, 0] = torch.arange(60).float() + 0.5
        found = resampled(picture, Grid.of_pixels(20, 60, 8, 9), shift)
        assert (found - 0.5).abs().max() < 0.1


def test_dense_values_are_smooth_and_zero_where_still() -> None:
    grid = Grid(0.0, 0.0, 1.0, 40, 40)
    still = np.ones((40, 40), np.float32)
    still[8:32, 8:32] = 0
    points = np.stack(np.meshgrid(np.arange(14, 27, 3.5), np.arange(14, 27, 3.5)), -1)
    points = points.reshape(-1, 2)
    found = dense(points, np.tile([4.0, -1.0], (len(points), 1)), still, grid)
    assert found.shape == (1, 2, 40, 40)
    assert not found[0][:, torch.from_numpy(still) > 0].any()
    assert float(found[0, 0].max()) == pytest.approx(4, rel=0.1)
    steps = found[0, 0].diff(dim=0).abs().max()
    assert 0 < steps < 1.5


class TestMotion:
    face = located(MESH)

    def effect(self) -> FaceEffect:
        moved, tinted = np.zeros((POINTS, 2), np.float32), no_tint()
        moved[:, 1] = -0.02
        tinted[:, 1] = 2
        return FaceEffect(self.face, moved, tinted, 8)

    @pytest.mark.parametrize("turn", [0.0, 30.0])
    def test_it_follows_the_face_and_the_strength(self, turn: float) -> None:
        track = face_track([(80, 75, 40, turn), None, (60, 50, 20, turn)], BOX)
        strength = np.array([1, 1, -0.5], np.float32)
        found = motion_of(self.effect(), strength, track, track.mesh, former_motion(track))
        side = track.axes.side
        up = np.array([-np.sin(np.deg2rad(turn)), -np.cos(np.deg2rad(turn))])
        assert np.allclose(found.moved[0, MOUTH_LEFT], 0.02 * side[0] * up, atol=0.02)
        assert np.allclose(found.moved[2, MOUTH_LEFT], -0.01 * side[2] * up, atol=0.02)
        assert not found.moved[1].any() and not found.tinted[1].any()
        assert np.allclose(found.tinted[0, :, 1], 2) and np.allclose(found.tinted[2, :, 1], -1)

    def test_edits_add_up(self) -> None:
        track = face_track([(80, 75, 40)], BOX)
        once = motion_of(
            self.effect(), np.ones(1, np.float32), track, track.mesh, former_motion(track)
        )
        twice = motion_of(self.effect(), np.ones(1, np.float32), track, track.mesh, once)
        assert np.allclose(twice.moved, 2 * once.moved) and not former_motion(track).moved.any()

    def test_an_open_mouth_smiles_by_less_width_and_more_height(self) -> None:
        track = face_track([(80, 75, 40), (80, 75, 40)], BOX)
        wide = abs(MESH[MOUTH_RIGHT, 0] - MESH[MOUTH_LEFT, 0])
        track.mesh[1, LOWER_MIDDLE, 1] = track.mesh[1, UPPER_MIDDLE, 1] + wide
        moved = np.zeros((POINTS, 2), np.float32)
        moved[[MOUTH_LEFT, MOUTH_RIGHT]] = (-0.02, -0.02), (0.02, -0.02)
        effect = FaceEffect(self.face, moved, no_tint(), -1)
        ones = np.ones(2, np.float32)
        found = motion_of(effect, ones, track, track.mesh, former_motion(track)).moved
        closed, opened = found[:, MOUTH_RIGHT]
        assert opened[0] < 0.7 * closed[0] and opened[1] < 1.1 * closed[1] < 0


def test_the_layer_fades_and_leaves_out_who_is_absent() -> None:
    track = face_track([(80, 75, 40), None, (80, 75, 40), (80, 75, 40)], BOX)
    moved = np.repeat(smiling(6)[None], 4, 0)
    motion = FaceMotion(moved, np.zeros((4, POINTS, 3), np.float32))
    pixels = np.repeat(waves()[None], 4, 0)
    fade = Fade(np.array([1.0, 1.0, 0.3, 0.0]))
    face = SteadyFace(track.mesh, located(MESH))
    layer = warped(Frames.of_pixels(pixels), track, face, fade, motion, no_mouth(4))
    full, absent, faded, gone = layer.patches
    assert absent is None and gone is None and full is not None and faded is not None
    change = [np.abs(p.pixels.astype(int) - waves()[p.window.pixels]).sum() for p in (full, faded)]
    assert 0 < change[1] < change[0]


class TestSeenEffect:
    """Of a generator that draws no faces: its pictures move as its codes say."""

    @staticmethod
    def generator() -> Any:
        def draw(ws: torch.Tensor, transform: torch.Tensor) -> torch.Tensor:
            assert transform.shape == (1, 3, 3)
            rows = torch.arange(64).float().expand(64, 64).t() + 8 * float(ws.mean())
            return torch.sin(rows / 4).expand(len(ws), 3, 64, 64)

        mapping = SimpleNamespace(w_avg=torch.zeros(4))
        config = SimpleNamespace(c_dim=1, num_ws=3, w_dim=4)
        return SimpleNamespace(config=config, mapping=mapping, synthesis=draw)

    def test_without_a_face_the_pictures_motion_tells(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        blind = SimpleNamespace(close=lambda: None)
        monkeypatch.setattr(difference, "EffectReader", lambda: _Blind(blind))
        face = np.zeros((POINTS, 2), np.float32)
        effect, seen = seen_effect(self.generator(), None, torch.full((4,), 0.25), face)
        assert seen == 0
        # The rows show what lay two rows of 64 further down.
        assert np.allclose(effect.moved[:, 1], -2 / 64, atol=0.01)
        assert np.allclose(effect.moved[:, 0], 0, atol=0.005)

    def test_pictures_that_are_the_same_do_not_move(self) -> None:
        picture = waves(64, 64)
        effect = flowing_effect(picture, picture, np.zeros((POINTS, 2), np.float32))
        assert np.allclose(effect.moved, 0, atol=1e-3) and np.allclose(effect.tinted, 0)


class _Blind:
    def __init__(self, hidden: Any):
        self.close = hidden.close

    def __call__(self, before: NDArray[Any], after: NDArray[Any]) -> None:
        return None


def test_detail_that_interpolation_takes_is_given_back() -> None:
    picture = random(1, 3, 40, 50).sigmoid()
    shift = torch.full((1, 2, 20, 30), 0.5)
    found = resampled(picture, Grid.of_pixels(20, 30, 8, 9), shift)
    whole = sharpened(picture, torch.zeros(1, 2, 40, 50))
    assert torch.allclose(whole, picture) and found.std() > 0.6 * picture.std()
