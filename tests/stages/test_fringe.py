"""A fringe of own hair."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.stages.faces import face_track
from tests.stages.series import InMemory
from vidhair.geometry import Box
from vidhair.stages.bent import Move, bent
from vidhair.stages.fringe import Hairline, bared, combed, even_light, hairline, shaded
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow, on_face

SIZE, SKIN, HAIR = (120, 100), 200, 60
TRACK = face_track([(50.0, 70.0, 20.0)] * 2 + [None], Box(0.0, 10.0, 100.0))
AXES = TRACK.axes_of(np.array([0]))
WINDOW = HairWindow(0, 0, 1, *SIZE, float(AXES.side[0]))
PLACES = on_face(AXES, WINDOW)
NO_LOCKS = np.zeros(SIZE, np.float32)


def cap(end: int, sides: bool = False) -> NDArray[Any]:
    """Hair down to a row, and beside the face to its chin."""
    alpha = np.zeros(SIZE, np.uint8)
    alpha[10:end, 20:80] = 255
    if sides:
        alpha[10:100, 20:42] = 255
    return alpha


def seen_line(alpha: NDArray[Any]) -> Hairline:
    numbers = np.zeros(3, np.float32), np.zeros((3, 3), np.float32)
    return hairline(InMemory(Matte(np.stack([alpha] * 3), *numbers)), InMemory(TRACK), WINDOW)


def row_of(y: float) -> float:
    """Of a place below the middle of a face."""
    return float(AXES.centre[0, 1] + 2 * y * AXES.y[0, 1])


class TestHairline:
    def test_it_begins_and_ends_where_hair_does(self) -> None:
        line = seen_line(cap(45))
        middle = line.end.shape[1] // 2
        assert abs(row_of(line.end[0, middle]) - 45) < 2
        assert abs(row_of(line.top[0, middle]) - 10) < 2
        assert line.bare[0, middle] < line.brows[0, middle] and line.free[0, middle] > 0.9
        assert np.isnan(line.end[2]).all(), "no face"

    def test_what_hangs_beside_the_face_is_no_fringe(self) -> None:
        free = seen_line(cap(45, sides=True)).free[0]
        assert free[0] < 0.3 and free[len(free) // 2] > 0.9

    def test_where_no_hair_is_it_is_not_known(self) -> None:
        line = seen_line(cap(0))
        assert np.isnan(line.end).all() and not line.move(0, PLACES, 1.0, NO_LOCKS).of.any()

    def test_where_a_picture_ends_below_it_nothing_falls(self) -> None:
        beside = cap(45, sides=True)
        beside[:, 40:60] = 0
        line = seen_line(np.maximum(beside, beside[:, ::-1]))
        assert np.isnan(line.end).all() and not line.move(0, PLACES, 1.0, NO_LOCKS).of.any()

    def test_a_sparse_fringe_is_one_and_a_low_forehead_is_none(self) -> None:
        line = seen_line(cap(45))
        bare, brows = (row_of(float(values[0, 24])) for values in (line.bare, line.brows))
        ends = [seen_line(cap(round(bare + k * (brows - bare)))) for k in (0.04, 0.3)]
        low, sparse = (one.fringed(0) for one in ends)
        assert low == 0 < 0.3 < sparse


class TestMove:
    def made(self, alpha: NDArray[Any], amount: float) -> Any:
        mixed = np.rint(SKIN + alpha / 255 * (HAIR - SKIN))
        seen = mixed.astype(np.uint8)[..., None].repeat(3, -1)
        move = seen_line(alpha).move(0, PLACES, amount, NO_LOCKS)
        bare, share = np.full_like(seen, SKIN), alpha.astype(np.float32) / 255
        return seen, bent(seen, bare, np.zeros_like(share), share, move, AXES, WINDOW)

    def test_hair_falls_to_the_brows_and_stays_above(self) -> None:
        alpha = cap(45)
        line = seen_line(alpha)
        brows = int(row_of(line.brows[0, line.brows.shape[1] // 2]))
        assert brows > 50
        seen, (levels, _, there) = self.made(alpha, 1.0)
        assert levels[45 : brows - 3, 50, 0].max() < 80 and there[brows - 3, 50] > 0.9
        assert np.array_equal(levels[brows + 8 :], seen[brows + 8 :])
        assert np.array_equal(levels[:, :20], seen[:, :20]) and (there >= alpha / 255).all()

    def test_ends_thin_out_where_thin_hair_lies_below_a_hairline(self) -> None:
        alpha = cap(45)
        alpha[45:50, 30:70] = 110
        _, (_, _, there) = self.made(alpha, 1.0)
        brows = int(row_of(float(seen_line(alpha).brows[0, 24])))
        assert there[brows - 2, 50] > 0.9 and there[brows + 1, 50] < 0.2, "it is cut in a line"

    def test_a_fringe_goes_up_to_where_the_forehead_begins(self) -> None:
        brows = int(row_of(float(seen_line(cap(45)).brows[0, 24])))
        seen, (levels, _, there) = self.made(cap(brows), -1.0)
        bare = int(row_of(float(seen_line(cap(brows)).bare[0, 24])))
        assert levels[bare + 5 :, 50].min() > SKIN - 30 and there[bare + 5 :, 50].max() < 0.2
        assert np.array_equal(levels[brows + 8 :], seen[brows + 8 :])

    def test_where_there_is_none_nothing_goes(self) -> None:
        alpha = cap(int(row_of(float(seen_line(cap(45)).bare[0, 24]))) + 1)
        seen, (levels, changed, _) = self.made(alpha, -1.0)
        assert np.array_equal(levels, seen) and not changed.any()


class TestLook:
    ALPHA = np.ones(SIZE, np.float32)

    def move(self) -> Move:
        of = np.zeros((*SIZE, 2), np.float32)
        of[60:, :, 1] = -0.2
        return Move(of, np.ones(SIZE, np.float32), leaves=True)

    def test_the_shine_of_a_crown_does_not_come_along(self) -> None:
        seen = np.full((*SIZE, 3), 100, np.uint8)
        seen[30:60] = 200
        light = even_light(seen, self.ALPHA, self.move(), AXES, WINDOW).light
        assert (light[:60] == 1).all() and light[70, 50] < 0.75

    def test_where_hair_went_up_its_shadow_goes_as_well(self) -> None:
        made, bare = np.full((*SIZE, 3), 150, np.uint8), np.full((*SIZE, 3), SKIN, np.uint8)
        there = np.zeros(SIZE, np.float32)
        there[:40] = 1
        up = Move(-self.move().of, np.ones(SIZE, np.float32), leaves=False)
        none = np.zeros(SIZE, np.uint8)
        got, changed = bared(made, there, none, up, bare, WINDOW)
        assert (got[:55] == 150).all() and (got[66:] == SKIN).all() and (changed[66:] == 255).all()
        down, _ = bared(made, there, none, self.move(), bare, WINDOW)
        assert np.array_equal(down, made)

    def test_hair_that_fell_throws_a_shadow_below(self) -> None:
        made, none = np.full((*SIZE, 3), SKIN, np.uint8), np.zeros(SIZE, np.uint8)
        alpha, there = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
        alpha[:40], there[:60] = 1, 1
        got, changed = shaded(made, none, there, alpha, WINDOW)
        assert got[60].max() < 0.9 * SKIN and changed[60].all()
        assert (got[:58] == SKIN).all() and (got[70:] == SKIN).all() and not changed[70:].any()
        assert np.array_equal(shaded(made, none, alpha, alpha, WINDOW)[0], made), "nor of old hair"

    def test_strands_run_down_where_hair_fell(self) -> None:
        noise = np.random.default_rng(0).integers(80, 120, (*SIZE, 1)).astype(np.uint8)
        seen = noise.repeat(3, -1)
        given = seen, self.ALPHA, seen, self.ALPHA, self.move(), PLACES, WINDOW
        got = combed(*given).astype(float)
        assert np.array_equal(got[:60], seen[:60])
        before, after = (np.abs(np.diff(x[65:], axis=0)).mean() for x in (seen.astype(float), got))
        assert after < 0.5 * before and abs(got[65:].mean() - 100) < 8

    def test_streaks_have_the_tones_of_hair_with_highlights(self) -> None:
        seen = np.full((*SIZE, 3), (90, 60, 40), np.uint8)
        seen[:, ::4] = (200, 170, 110)
        got = combed(seen, self.ALPHA, seen, self.ALPHA, self.move(), PLACES, WINDOW)[66:]
        red, blue = got[..., 0].astype(float), got[..., 2].astype(float)
        assert np.ptp(red.mean(0)) > 40, "some are light, and some dark"
        assert np.corrcoef(red.ravel(), blue.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("ends", "fringed"), [((0.9, 0.9, 0.05), True), ((0.9, 0.05, 0.05), False)]
)
def test_a_fringe_is_told_by_most_frames_with_hair(ends: tuple[float, ...], fringed: bool) -> None:
    """ends: of the way from where a forehead begins to the brows, in frames that show hair."""
    end = np.repeat(np.array([*ends, np.nan], np.float32)[:, None], 49, 1)
    ones, none = np.ones_like(end), np.zeros_like(end)
    line = Hairline(none[:, 0], ones[:, 0], -ones, end, ones, none, ones)
    assert line.mostly_fringed == fringed
