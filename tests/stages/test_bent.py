"""Hair that is moved, on small pictures of a dark head before a light wall."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from vidhair.geometry import CropAxes
from vidhair.stages.bent import Bent, Move, bent, fuller, waved
from vidhair.stages.region import HairWindow, on_face

Levels = NDArray[np.uint8]
Plane = NDArray[np.float32]

SIZE = 160
GRID = HairWindow(0, 0, 1, SIZE, SIZE, 80.0)
AXES = CropAxes(np.array([[80.0, 80.0]]), np.array([[40.0, 0.0]]))


def head() -> tuple[Levels, Levels, Plane]:
    """A picture with hair around the face and beside it, the same without, and its alpha."""
    y, x = np.mgrid[:SIZE, :SIZE] - 79.5
    alpha = ((np.hypot(x, 0.8 * y) < 40) & (np.hypot(x / 22, y / 29) > 1)).astype(np.float32)
    bare = np.full((SIZE, SIZE, 3), 200, np.uint8)
    seen = np.where(alpha[..., None] > 0, 40, bare).astype(np.uint8)
    return seen, bare, alpha


def moved(move: Move) -> tuple[Levels, Levels, Plane]:
    seen, bare, alpha = head()
    return bent(seen, bare, np.zeros_like(alpha), alpha, move, AXES, GRID)


@pytest.mark.parametrize("move", (waved, fuller))
def test_nothing_moves_by_nothing_nor_on_the_face(move: Callable[[Plane, float], Move]) -> None:
    seen, _, alpha = head()
    levels, changed, shown = moved(move(on_face(AXES, GRID), 0.0))
    assert (levels == seen).all() and not changed.any() and np.allclose(shown, alpha)
    levels, changed, _ = moved(move(on_face(AXES, GRID), 1.5))
    assert changed.any() and not changed[70:90, 70:90].any()
    assert (levels[changed == 0] == seen[changed == 0]).all()


def test_more_volume_adds_hair_outside_and_takes_none() -> None:
    _, _, alpha = head()
    levels, _, shown = moved(fuller(on_face(AXES, GRID), 1.0))
    assert (shown >= alpha - 1e-6).all()
    grown = (shown > 0.5) & (alpha < 0.5)
    assert grown[:40].sum() > 100 and not grown[140:].any()
    assert levels[grown].mean() < 80


def test_less_volume_shows_what_is_behind_but_no_scalp() -> None:
    seen, bare, alpha = head()
    move = fuller(on_face(AXES, GRID), -1.0)
    plain = bent(seen, bare, np.zeros_like(alpha), alpha, move, AXES, GRID)
    lost = (plain[2] < 0.5) & (alpha > 0.5)
    assert lost[:60].sum() > 100 and plain[0][lost].mean() > 150
    kept = bent(seen, bare, np.ones_like(alpha), alpha, move, AXES, GRID)
    assert (kept[2][alpha > 0.5] > 0.9).all() and kept[0][lost].mean() < 60


def test_waves_swing_to_both_sides_and_never_fold() -> None:
    for amount in (0.7, 1.5):
        move = waved(on_face(AXES, GRID), amount)
        aside = move.of[..., 0] * 80
        assert aside.max() > amount and aside.min() < -amount and not move.of[..., 1].any()
        assert (np.diff(np.arange(SIZE) + aside, axis=1) > 0).all()
        assert move.light.max() > 1.05 and move.light.min() < 0.95


def test_volume_never_folds() -> None:
    places = on_face(AXES, GRID)
    for amount in (-1.5, 1.5):
        taken = places + fuller(places, amount).of
        assert (np.diff(taken[..., 0], axis=1) > 0).all()
        assert (np.diff(taken[..., 1], axis=0) > -1e-6).all()


def test_what_is_made_is_cut_by_frames() -> None:
    planes = np.zeros((3, 4, 4), np.uint8)
    made = Bent(np.zeros((3, 4, 4, 3), np.uint8), planes, planes)
    assert len(made.rows(1, 3).alpha) == 2
