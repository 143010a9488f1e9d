"""Where hair goes and comes."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.models.tiny import tiny_generator
from tests.stages.faces import face_mesh, face_track
from vidhair.geometry import Box
from vidhair.models.generators.stylegan3 import Extent
from vidhair.stages import reshaped as module
from vidhair.stages.drawn import NEW_HAIR, OLD_HAIR, HairDrawn
from vidhair.stages.labels import Labels
from vidhair.stages.mantle import Mantle
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow, HeadRegion
from vidhair.stages.render import Canvas, Drawer
from vidhair.stages.reshaped import (
    decided,
    face_and_forehead,
    fallen,
    hanging_on,
    joined_to,
    lengthened,
    longer_to,
    nearest,
    reshaped,
    under,
)
from vidhair.stages.smooth import Pivots
from vidhair.wiring import Span

SIDE = 50.0  # of the face's crop
SIZE = 60, 40
NOTHING = np.zeros(SIZE, bool)


def box(top: int, bottom: int, left: int = 10, right: int = 30) -> NDArray[Any]:
    plane = np.zeros(SIZE, np.float32)
    plane[top:bottom, left:right] = 1
    return plane


class TestReshaped:
    """A cap of hair from row 10 on, which ends further down or up with the edit."""

    def found(
        self, own: Any, before: Any, after: Any, free: Any = NOTHING, *,
        face: Any = NOTHING, covers: bool = True,
    ) -> Any:  # fmt: skip
        gone, new = decided(own, before, after, free, face, SIDE, covers)
        return (gone > 0.5) & (own > 0.5), new > 0.5

    def test_drawings_that_do_not_fit_the_person_change_nothing(self) -> None:
        gone, new = self.found(box(8, 32), box(10, 30, 12, 28), box(10, 30, 11, 28))
        assert not gone.any() and not new.any()

    def test_hair_goes_below_where_it_ends_with_the_edit(self) -> None:
        own = box(8, 52)
        gone, new = self.found(own, box(10, 50, 12, 28), box(10, 30, 12, 28))
        assert gone[31:52, 10:30].all() and not gone[:30].any() and not new.any()

    def test_with_it_goes_what_hangs_beside_it_and_is_not_drawn(self) -> None:
        own = box(8, 50) + box(40, 50, 30, 36)
        gone, _ = self.found(own, box(10, 50, 12, 28), box(10, 30, 12, 28))
        assert gone[41:50, 30:36].all()

    def test_nothing_goes_with_what_makes_hair_longer(self) -> None:
        given = box(8, 52), box(10, 50, 12, 28), box(10, 30, 12, 28), NOTHING, NOTHING, SIDE, False
        assert decided(*given)[0].any() and not decided(*given, keeps=True)[0].any()

    def test_hair_that_may_still_be_there_stays(self) -> None:
        unsure = box(10, 30, 12, 28) + 0.3 * box(30, 50, 12, 28)
        gone, _ = self.found(box(8, 52), box(10, 50, 12, 28), unsure)
        assert not gone.any()

    def test_new_hair_comes_below_own_and_the_gap_between_is_closed(self) -> None:
        own = box(8, 28)  # ends above where it is drawn to end
        gone, new = self.found(own, box(10, 30), box(10, 50))
        assert new[29:50, 11:29].all() and not new[:27].any() and not gone.any()

    def test_what_does_not_hang_on_own_hair_is_not_hair(self) -> None:
        apart = box(10, 30) + box(48, 60, 10, 20)
        _, new = self.found(box(8, 30), box(10, 30), apart)
        assert not new.any()

    def test_surroundings_where_the_person_is_drawn_are_a_gap(self) -> None:
        own, after = box(8, 30), box(10, 30) + box(30, 50, 10, 26)
        drawn_skin = box(30, 50, 26, 28)
        wall = drawn_skin > 0
        _, without = self.found(own, box(10, 30), after)
        _, with_gap = self.found(own + box(30, 50, 28, 30), box(10, 30), after, wall)
        assert not without[34:46, 26:28].any() and with_gap[34:46, 26:28].all()

    def test_hair_that_ends_above_a_place_falls_down_to_it_but_not_before_the_face(self) -> None:
        own = box(8, 20)
        after = box(8, 20) + box(30, 45)
        _, new = self.found(own, own, after)
        assert new[20:45, 12:28].all()
        _, beside = self.found(own, own, after, face=box(20, 45, 14, 26) > 0, covers=False)
        assert beside[22:42, 11:14].all() and beside[22:42, 26:29].all()
        assert not beside[:40, 18:22].any()

    def test_only_what_covers_the_face_comes_before_it(self) -> None:
        own, face = box(8, 20), box(20, 45, 12, 28) > 0
        _, new = self.found(own, own, box(8, 40), face=face)
        assert new[21:39, 14:26].all()
        _, new = self.found(own, own, box(8, 40), face=face, covers=False)
        assert not new[:, 15:25].any()


class TestFalls:
    """Short hair, which is drawn somewhat longer on one side alone; it falls on both."""

    OWN, FACE = box(5, 20, 8, 32), box(12, 45, 14, 26) > 0
    OLD, NEW = box(5, 20, 8, 32), box(5, 20, 8, 32) + box(20, 30, 8, 12)
    WALLS = (box(15, 60, 8, 14) + box(15, 60, 26, 32)) > 0
    FALLS = Mantle(WALLS, box(15, 60, 8, 32) > 0, box(0, 60, 6, 34) > 0, (15.0, 30.0), 20.0)

    def new(self, own: Any, old: Any, new: Any) -> Any:
        given = own, old, new, NOTHING, self.FACE, SIDE, False
        return decided(*given, self.FALLS, box(40, 60, 12, 28) > 0)[1] > 0.5

    def test_on_both_sides_as_far_as_it_is_drawn(self) -> None:
        got = self.new(self.OWN, self.OLD, self.NEW)
        assert got[21:27, 9:13].all() and got[21:27, 27:31].all()
        assert not got[33:].any() and not got[21:, 16:24].any()

    def test_a_drawing_that_is_hardly_longer_makes_none_fall(self) -> None:
        assert not self.new(self.OWN, self.OLD, self.OLD).any()

    def test_what_is_drawn_above_the_end_of_longer_own_hair_does_not_count(self) -> None:
        own = box(5, 50, 8, 14) + box(5, 20, 14, 32) + box(5, 50, 26, 30)
        got = self.new(own, self.OLD, self.OLD + box(20, 35, 30, 34))
        assert not got[:38, 30:].any()


def test_no_gap_is_left_beside_a_face() -> None:
    new, face = box(10, 50, 4, 12), box(20, 45, 14, 30) > 0
    got = joined_to(face, new, SIDE)
    assert got[25:40, 12:14].all() and not got[:, 14:].any() and not got[:16, 12:].any()
    assert np.array_equal(joined_to(box(20, 45, 22, 30) > 0, new, SIDE), new), "far away"


def test_how_far_down_longer_hair_comes() -> None:
    own, old, new = box(8, 20) > 0, box(8, 22) > 0, box(8, 34) > 0
    assert abs(longer_to(own, old, new, new & ~old, SIDE) - 32) <= 2
    assert longer_to(own, old, box(8, 23) > 0, NOTHING, SIDE) < 0
    assert longer_to(NOTHING, old, new, NOTHING, SIDE) < 0


def test_what_is_not_known_is_as_what_is_nearest() -> None:
    values = np.zeros((1, 5), np.float32)
    values[0, 4] = 1
    known = np.array([[True, False, False, False, True]])
    assert nearest(known, values)[0].tolist()[1::2] == [0, 1]
    assert not nearest(np.zeros_like(known), values).any()


class TestLengthened:
    """Own hair down to row 30, drawn down to 20, and with the edit to 30."""

    OWN, OLD, NEW = box(8, 30) > 0, box(8, 20) > 0, box(8, 30) > 0
    FACE = box(12, 25, 15, 25) > 0

    def test_hair_longer_than_it_is_drawn_ends_as_much_further_down(self) -> None:
        got = lengthened(self.OWN, self.OLD, self.NEW, self.FACE, SIDE)
        rows = np.flatnonzero(got[:, 20])
        assert rows[0] == 30 and abs(rows[-1] - 39) <= 1
        assert not got[:, :10].any() and not got[:, 30:].any()

    def test_what_hangs_out_thinly_or_ends_far_above_does_not(self) -> None:
        own = self.OWN | (box(20, 21, 30, 38) > 0) | (box(4, 8, 0, 10) > 0)
        got = lengthened(own, self.OLD, self.NEW, self.FACE, SIDE)
        assert not got[:, 31:].any() and not got[:, :9].any()

    def test_hair_that_is_no_longer_than_it_is_drawn_is_left_to_the_drawing(self) -> None:
        for own in (self.OLD, box(8, 16) > 0):
            assert not lengthened(own, self.OLD, self.NEW, self.FACE, SIDE).any()

    def test_a_drawing_that_is_no_longer_changes_nothing(self) -> None:
        assert not lengthened(self.OWN, self.OLD, self.OLD, self.FACE, SIDE).any()
        assert not lengthened(NOTHING, self.OLD, self.NEW, self.FACE, SIDE).any()

    def test_hair_that_ends_above_the_chin_falls_around_the_head_instead(self) -> None:
        face = box(12, 32, 15, 25) > 0
        assert not lengthened(self.OWN, self.OLD, self.NEW, face, SIDE).any()


def test_what_lies_between() -> None:
    above, below = np.zeros((8, 2), bool), np.zeros((8, 2), bool)
    above[:2], below[5:, 0] = True, True
    assert fallen(above, below, 3)[:, 0].tolist() == [False, False, True, True, True, *[False] * 3]
    assert not fallen(above, below, 2).any() and not fallen(above, below, 3)[:, 1].any()


def test_what_is_under_one_of_two() -> None:
    one, other = np.zeros((6, 2), bool), np.zeros((6, 2), bool)
    one[1], other[3, 0] = True, True
    assert under(one, other)[:, 0].tolist() == [False, True, True, False, False, False]
    assert under(one, other)[:, 1].tolist() == [False, *[True] * 5]


def test_a_forehead_is_above_the_oval() -> None:
    mesh = face_mesh(20.0, 35.0, 12.0)
    face = face_and_forehead(mesh, *SIZE)
    rows = np.flatnonzero(face[:, 20])
    assert abs(rows[-1] - 47) <= 1 and abs(rows[0] - (23 - 0.3 * 24)) <= 1


class TestStage:
    """A canvas of as many pixels as the frame."""

    def new(self, after: list[NDArray[Any]], absent: tuple[int, ...] = ()) -> NDArray[Any]:
        """How far there is new hair below own hair, by frames, at a place of the head."""
        shown: NDArray[Any] = reshaped(*self.given(after, absent)).levels[:, 1, 38, 20] / 255
        return shown

    def given(self, after: list[NDArray[Any]], absent: tuple[int, ...] = ()) -> tuple[Any, ...]:
        own, count = box(8, 30), len(after)
        drawn = np.zeros((count, 3, *SIZE), np.uint8)
        drawn[:, OLD_HAIR], drawn[:, NEW_HAIR] = 255 * own, 255 * np.stack(after)
        alpha = np.stack([(255 * own).astype(np.uint8)] * count)
        places = [None if k in absent else (20.0, 30.0, 8.0) for k in range(count)]
        generator = tiny_generator(16, num_layers=4)
        return (
            HairDrawn(drawn, np.zeros((count, 3), np.float32)),
            Labels(np.zeros((count, 5, 30, 20), np.uint8)),
            Matte(alpha, np.zeros(count, np.float32), np.zeros((count, 3), np.float32)),
            Pivots(np.zeros((count, 1, 1), np.float32), np.array([[0, 0, 0, 1.0]] * count)),
            face_track(places, Box(8.0, 18.0, 24.0)), Span(0, count),
            Canvas(40, Extent(top=10, bottom=10), 0.0, 0.0, 1.0),
            HeadRegion(0, 0, 2.0, 30, 20), HairWindow(0, 0, 1, *SIZE, 24.0),
            Drawer(generator.synthesis),
        )  # fmt: skip

    def test_beside_a_face_it_goes_on_from_own_hair_of_each_frame(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        class Narrow(Mantle):
            def hung(self, new: Any, own: Any, *_: Any) -> Any:
                asked.append(own)
                return new * (np.arange(SIZE[1]) < 20)

        anywhere, nowhere = np.ones(SIZE, bool), np.zeros(SIZE, bool)
        falls = Narrow(nowhere, nowhere, anywhere, (0.0, 5.0), 20.0)
        monkeypatch.setattr(module, "_around", lambda *_: lambda *_: falls)
        stage: Any = module.reshaped_beside_face
        new = stage(*self.given([box(8, 50)] * 3), None, None).levels[:, 1]
        assert new[:, 38, 12:20].all() and not new[:, 38, 20:].any()
        assert len(asked) == 3 and all((own == (box(8, 30) > 0)).mean() > 0.99 for own in asked)

    def test_how_it_hangs_is_that_of_neighbouring_frames_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Flickers(Mantle):
            def hung(self, new: Any, own: Any, *_: Any) -> Any:
                return new * (np.arange(SIZE[1]) < self.middle)

        anywhere, nowhere = np.ones(SIZE, bool), np.zeros(SIZE, bool)
        given = nowhere, nowhere, anywhere, (0.0, 5.0)
        falls = [Flickers(*given, 20.0), Flickers(*given, 24.0)]
        monkeypatch.setattr(module, "_around", lambda *_: lambda row, _: falls[row % 2])
        stage: Any = module.reshaped_beside_face
        new = stage(*self.given([box(8, 50)] * 7), None, None).levels[2:5, 1, 45]
        assert (new[:, 18] == 255).all() and np.abs(new[:, 22] / 255 - 0.5).max() < 0.05

    def test_what_is_drawn_in_every_frame_comes(self) -> None:
        assert self.new([box(8, 50)] * 3).tolist() == [1, 1, 1]
        assert not self.new([box(8, 30)] * 3).any()

    def test_what_one_frame_says_otherwise_does_not_count(self) -> None:
        longer, same = box(8, 50), box(8, 30)
        assert self.new([*[longer] * 5, same, *[longer] * 5]).min() > 0.9
        assert self.new([*[same] * 5, longer, *[same] * 5]).max() < 0.1

    def test_frames_without_the_face_say_nothing(self) -> None:
        found = self.new([box(8, 50)] * 4, absent=(1,))
        assert found.tolist() == [1, 0, 1, 1]


def test_hair_that_falls_begins_at_own_hair() -> None:
    own, new = np.zeros((2, 20, 12), bool)
    own[2:6, 3:9] = True
    new[9:, 2:] = True
    found = hanging_on(own, new, 4)
    assert found[6:, 3:9].all() and not found[:6].any(), "the gap is closed"
    assert not found[:, :3].any() and not found[:, 9:].any(), "nothing begins in the air"
    assert not hanging_on(own, new, 2)[6:9].any(), "what is further away stays apart"
