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


class TestHung:
    """Below own hair, which reaches from column 24 to 96 beside the face and ends in row 80."""

    FALLS = mantle(SKULL, at(), close_hair(at()), GRID)
    FACE = np.zeros_like(NOBODY)
    FACE[40:90, 45:76] = True
    OWN = np.zeros_like(NOBODY)
    OWN[30:80, 24:97] = True
    OWN &= ~FACE

    def new(self, left: int, right: int, last: int = 140) -> NDArray[np.float32]:
        plane = np.zeros((160, 120), np.float32)
        plane[80:last, left:right] = 1
        plane[:, 40:81] = 0
        return plane

    def hung(self, new: NDArray[np.float32]) -> NDArray[np.bool_]:
        hung = self.FALLS.hung(new, self.OWN, self.FACE, 100.0, 160) > 0.5
        return hung & ~(self.OWN | self.FACE)

    def test_it_leaves_own_hair_without_a_step(self) -> None:
        for left, right in ((14, 107), (34, 87)):
            found = self.hung(self.new(left, right))
            edges = np.array([np.flatnonzero(row)[[0, -1]] for row in found[80:110]])
            assert np.abs(edges[0] - [24, 96]).max() <= 1
            assert np.abs(np.diff(edges, axis=0)).max() <= 1

    def test_it_ends_higher_outside_than_inside(self) -> None:
        lowest = [np.flatnonzero(column)[-1] for column in self.hung(self.new(24, 97)).T[26:38]]
        assert max(lowest) >= 138 and lowest[0] < 133
        assert np.all(np.diff(lowest[:8]) >= 0), "round"

    def test_what_leaves_the_frame_is_not_cut(self) -> None:
        new = self.new(24, 97, 160)
        assert self.hung(new)[159, 26:38].all()
        new[140:, 28:97] = 0
        assert not self.hung(new)[159].any(), "what leaves it is a part"

    def test_a_block_before_the_neck_is_no_hair(self) -> None:
        new = self.new(24, 97)
        new[100:110, 40:55] = 1
        assert not self.hung(new)[100:110, 46:55].any()

    def test_temples_stay_bare(self) -> None:
        new, own = self.new(14, 107), self.OWN.copy()
        own[45:56, 36:45], own[45:56, 76:85] = False, False
        new[45:56, 36:45] = 1
        assert not (self.FALLS.hung(new, own, self.FACE, 100.0, 160) > 0.5)[45:56, 36:45].any()

    def test_nothing_hangs_where_nothing_comes(self) -> None:
        assert not self.hung(self.new(24, 24)).any()
