"""Where hair is seen that falls around a head."""

import numpy as np
from numpy.typing import NDArray

from tests.stages.test_skull import turned
from vidhair.geometry import Grid
from vidhair.stages.mantle import OVER_EARS, mantle, thickness
from vidhair.stages.skull import Place, look, mean_skull

GRID = Grid.of_pixels(160, 120)
SCALE, MIDDLE = 25.0, (60.0, 70.0)  # of half widths of the face, in pixels, and between the ears
SKULL = mean_skull(1.0)
NOBODY = np.zeros((160, 120), bool)


def at(yaw: float = 0.0) -> Place:
    return Place(turned(yaw), SCALE, np.array(MIDDLE))


def close_hair(place: Place) -> NDArray[np.bool_]:
    """A cap as close as the skull, down to the ears."""
    inside = look(SKULL, place, GRID).inside > 0
    return inside & (np.arange(160)[:, None] < 65)


def test_from_the_front_it_is_seen_beside_the_face_alike_and_behind_it() -> None:
    found = mantle(SKULL, at(), close_hair(at()), GRID)
    assert np.abs(found.front[:, ::-1].astype(int) - found.front).mean() < 0.02
    row = found.front[90]
    beside = np.flatnonzero(row)
    assert not row[45:75].any() and found.back[90, 40:80].all()
    reach = SCALE * (SKULL.axes[0] + OVER_EARS)
    assert np.abs([beside[0] - (60 - reach), beside[-1] - (60 + reach)]).max() < 2
    assert not (found.front | found.back)[:48].any(), "above where it falls from"


def test_of_a_turned_head_the_far_side_does_not_face_the_viewer() -> None:
    left, right = (mantle(SKULL, at(yaw), NOBODY, GRID).front[100] for yaw in (-0.6, 0.6))
    for row in (left, right):
        assert row[:60].any() != row[60:].any()
    assert left[:60].any() != right[:60].any()


def test_thick_hair_falls_further_out() -> None:
    place = at()
    near = thickness(SKULL, place, close_hair(place), GRID)
    wide = look(SKULL, place, GRID).inside > -10
    far = thickness(SKULL, place, wide & (np.arange(160)[:, None] < 70), GRID)
    assert near == OVER_EARS and 0.3 < far < 0.45


class TestSeen:
    PLACE = at()
    FALLS = mantle(SKULL, at(), close_hair(at()), GRID)

    def test_it_hides_ears_and_is_behind_the_neck(self) -> None:
        person = np.zeros_like(NOBODY)
        person[60:140, 30:90] = True
        got = self.FALLS.seen(close_hair(self.PLACE), person, 120, 2)
        assert got[70, 31:88].all(), "over ears"
        assert not got[100, 45:75].any(), "before the neck"
        assert got[119, 28:33].any() and not got[122:].any()

    def test_where_own_hair_is_long_it_comes_below_that_alone(self) -> None:
        own = close_hair(self.PLACE)
        own[60:100, 20:34] = True  # on the left
        got = self.FALLS.seen(own, NOBODY, 130, 2)
        assert not got[:80, :58].any() and got[105:128, 32:58].all()
        assert got[70:128, 88].all(), "the other side"


class TestGoingOn:
    """Hair that goes on below own hair, which reaches from column 24 to 96 and ends in row 80."""

    FALLS = mantle(SKULL, at(), close_hair(at()), GRID)
    OWN = np.zeros_like(NOBODY)
    OWN[30:80, 24:97] = True

    def new(self, left: int, right: int, last: int = 120) -> NDArray[np.float32]:
        plane = np.zeros((160, 120), np.float32)
        plane[80:last, left:right] = 1
        return plane

    def sides(self, new: NDArray[np.float32], row: int) -> list[int]:
        return np.flatnonzero(self.FALLS.going_on(new, self.OWN, 2)[row] > 0.5)[[0, -1]].tolist()

    def test_where_it_begins_it_is_as_wide_as_own_hair(self) -> None:
        for new in (self.new(14, 107), self.new(29, 92)):
            assert np.abs(np.subtract(self.sides(new, 81), [24, 96])).max() <= 1
        low, high = self.sides(self.new(14, 107), 119)
        assert 18 <= low < 24 and 96 < high <= 102, "further down it may be wider"
        assert np.abs(np.subtract(self.sides(self.new(29, 92), 119), [24, 96])).max() <= 1

    def test_far_from_the_side_it_is_left_where_it_is(self) -> None:
        assert self.sides(self.new(50, 70), 100) == [50, 69]

    def test_what_lies_apart_below_is_not_widened(self) -> None:
        new = self.new(29, 92, 100)
        new[110:120, 29:34] = 1
        got = self.FALLS.going_on(new, self.OWN, 2)
        assert (got[100:] > 0.5).sum() == 10 * 5

    def test_short_hair_does_not_say_how_wide_it_falls_over_ears(self) -> None:
        own = self.OWN & (np.arange(160)[:, None] < 70)
        new = self.new(14, 107)
        assert np.array_equal(self.FALLS.going_on(new, own, 2), new)
