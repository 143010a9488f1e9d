"""Where hair ends, and what goes below where it is cut."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.stages.faces import face_track
from tests.stages.series import InMemory
from vidhair.geometry import Box, Grid
from vidhair.stages.ends import (
    BEGINS,
    HIGHEST,
    HairEnd,
    HairFall,
    as_it_is,
    cut_away,
    from_sides,
    further_down,
    hair_end,
    hanging_at,
    heights,
)
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.stages.skull import AXES, CENTRE, HeadPose, Place, Skull
from vidhair.stages.steady import places_of

SIZE, SIDE, SCALE = (100, 80), 60.0, 20.0
WINDOW = HairWindow(0, 0, 1, *SIZE, SIDE)
UPRIGHT = Place(np.eye(3), SCALE, np.array([40.0, 40.0]))


def box(top: int, bottom: int, left: int = 20, right: int = 60) -> NDArray[Any]:
    plane = np.zeros(SIZE, bool)
    plane[top:bottom, left:right] = True
    return plane


def test_what_hangs_stays_on_the_head() -> None:
    area, grid = Box(0.0, 0.0, 100.0), Grid.of_pixels(120, 100)
    places = places_of(grid, area)
    found = hanging_at(places, (0.003, 0.02), 0.12)
    assert abs(found.mean()) < 0.5 and 0.5 < found.std() < 1.5
    across, along = (np.abs(np.diff(found, axis=axis)).mean() for axis in (1, 0))
    assert along < 0.4 * across
    moved = hanging_at(places + torch.tensor([0.05, 0.1]), (0.003, 0.02), 0.12)
    np.testing.assert_allclose(moved[:-10, :-5], found[10:, 5:], atol=0.05)


class TestHeights:
    def test_they_are_counted_from_between_the_ears(self) -> None:
        y = heights(UPRIGHT, WINDOW)
        assert abs(y[39:41].mean()) < 1e-6 and np.ptp(y, axis=1).max() == 0
        assert abs(y[60, 0] - y[40, 0] - 1) < 1e-6

    def test_and_tilt_with_the_head(self) -> None:
        turn, (c, s) = np.eye(3), (np.cos(0.4), np.sin(0.4))
        turn[:2, :2] = [[c, -s], [s, c]]
        y = heights(Place(turn, SCALE, np.array([40.0, 40.0])), WINDOW)
        below = np.array([40 - 20 * s, 40 + 20 * c])
        column, row = below.astype(int)
        assert abs(y[row, column] - 1) < 0.05


def test_how_far_hair_is_from_its_sides() -> None:
    hair = box(10, 90) & ~box(10, 90, 38, 42)
    found = from_sides(hair, 0.1)
    assert not found[:, :20].any() and not found[:, 38:42].any()
    assert found[50, 20] == 1 and found[50, 28] == found[50, 29] == 9
    assert from_sides(np.ones(SIZE, bool), 0.1).max() <= SIZE[1], "no side is seen"


class TestCut:
    HAIR, Y = box(10, 90), heights(UPRIGHT, WINDOW)
    PLACES = places_of(Grid.of_pixels(*SIZE), Box(10.0, 10.0, SIDE))

    def gone(self, cut: float, off: float = 0.0) -> NDArray[np.float32]:
        away = np.full_like(self.Y, off)
        return cut_away(self.Y, away, cut, SCALE, self.HAIR, self.PLACES, SIDE)

    def test_all_below_goes_and_nothing_far_above(self) -> None:
        gone = self.gone(1.0)  # row 60
        assert (gone[65:] == 1).all() and not gone[:50].any()

    def test_locks_end_at_different_heights(self) -> None:
        ends = (self.gone(1.0) < 0.5)[:, 28:52].sum(0)
        assert 1 <= np.ptp(ends) <= 8

    def test_and_higher_at_the_sides(self) -> None:
        ends = (self.gone(1.0) < 0.5).sum(0)
        assert ends[[20, 21, 58, 59]].mean() < ends[30:50].mean() - 1.5

    def test_hair_that_ends_at_ears_lies_close_there(self) -> None:
        gone = self.gone(0.0, off=0.4)  # row 40
        assert (gone[34:40] > 0.5).all() and not gone[:22].any()
        assert not self.gone(0.0, off=0.0)[:30].any(), "hair on the head stays"
        assert not self.gone(1.0, off=0.4)[:50].any(), "nor does a bob lie close"

    def test_no_cut_takes_none(self) -> None:
        assert not self.gone(np.inf).any()
        assert not self.gone(9.0).any()


def test_longer_hair_falls_from_the_temples_on() -> None:
    y = np.linspace(-2, 4, 121, dtype=np.float32)[:, None]
    away = further_down(y, 1.0, 0.6)[:, 0]
    assert not away[y[:, 0] <= BEGINS].any() and away[y[:, 0] >= 1.6] == pytest.approx(0.6)
    above = y[:, 0] - away
    assert (np.diff(above) > 0).all(), "no hair passes other hair"
    assert np.diff(above).max() < 1.01 * 0.05, "nor is any shorter than it was"


class TestStages:
    POSE = HeadPose(np.stack([np.eye(3)] * 3), np.full(3, SCALE), np.full((3, 2), 40.0))

    def given(self, ends: list[int]) -> tuple[Any, ...]:
        alpha = np.stack([(255 * box(10, end)).astype(np.uint8) for end in ends])
        numbers = np.zeros(3, np.float32), np.zeros((3, 3), np.float32)
        track = face_track([(40.0, 45.0, 10.0)] * 2 + [None], Box(10.0, 10.0, SIDE))
        return InMemory(Matte(alpha, *numbers)), InMemory(self.POSE), InMemory(track), WINDOW

    def test_hair_ends_where_most_of_it_does(self) -> None:
        assert abs(hair_end(*self.given([60, 60, 99])).y - 1) < 0.06
        assert hair_end(*self.given([0, 0, 0])).y == -np.inf

    def test_clothes_that_are_taken_for_hair_tell_of_no_end(self) -> None:
        matte, *rest = self.given([60, 60, 60])
        alpha = matte.whole().alpha.copy()
        alpha[:, 90:98, 5:30] = 255
        with_scraps = InMemory(Matte(alpha, np.zeros(3, np.float32), np.zeros((3, 3), np.float32)))
        assert abs(hair_end(with_scraps, *rest).y - 1) < 0.06

    def test_how_far_up_it_is_cut(self) -> None:
        cut = HairEnd(1.0).moved(np.array([-0.5, 0.0, 0.5, -1.5], np.float32), 0.5).cut
        assert 0 < cut[0] < 1 and np.isinf(cut[1:3]).all() and cut[3] == np.float32(HIGHEST)
        falls = HairEnd(1.1).moved(np.array([-0.5, 0.0, 0.5], np.float32), 0.5)
        assert not falls.longer[:2].any() and falls.longer[2] > 0 and not falls.grows.any()
        assert HairEnd(HIGHEST).highest and not HairEnd(1.0).highest

    def test_short_hair_gives_way_to_other_that_is_cut_where_it_grew_less(self) -> None:
        end = HairEnd(0.2)
        grown = end.moved(np.array([-0.1, 0.0, 0.3, 0.9], np.float32), 0.9)
        assert grown.grows.tolist() == [False, False, True, True] and not grown.longer.any()
        assert grown.cut[2] == pytest.approx(end.grown(0.3)) and np.isinf(grown.cut[[1, 3]]).all()
        assert HairEnd(-np.inf).grown(0.5) == HairEnd(HIGHEST).grown(0.5), "a bald head has an end"

    def test_a_cut_is_of_each_frame(self) -> None:
        none = np.zeros(3, np.float32)
        cut = HairFall(np.array([0.5, np.inf, np.inf], np.float32), none, none > 0, 1.0)
        skull = Skull(np.array(CENTRE), np.array(AXES))
        given = skull, self.POSE, box(10, 90).astype(np.float32), TestCut.PLACES, WINDOW
        assert cut.gone(0, *given)[60:].all() and not cut.gone(1, *given).any()
        assert np.isinf(as_it_is(face_track([None], Box(0.0, 0.0, 10.0))).cut).all()
