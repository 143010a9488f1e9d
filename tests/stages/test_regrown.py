"""Hair whose shape changes: where it goes and comes, and what is seen there then."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.models.tiny import tiny_generator
from tests.stages.faces import face_track
from vidhair.geometry import Box
from vidhair.imaging.color import levels_to_lab
from vidhair.models.generators.stylegan3 import Extent
from vidhair.stages.bare import Bare
from vidhair.stages.compose import ComposeConfig, Fade
from vidhair.stages.drawn import NEW_HAIR, NEW_SKIN, OLD_HAIR, HairDrawn
from vidhair.stages.labels import Labels
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow, HeadRegion
from vidhair.stages.regrown import (
    nearest,
    recolored,
    regrown,
    regrown_picture,
    reshaped,
    strands_below,
)
from vidhair.stages.render import Canvas, Drawer
from vidhair.stages.smooth import Pivots
from vidhair.types import Frames

SIDE = 50.0  # of the face's crop
SIZE = 60, 40
NOTHING = np.zeros(SIZE, bool)


def box(top: int, bottom: int, left: int = 10, right: int = 30) -> NDArray[Any]:
    plane = np.zeros(SIZE, np.float32)
    plane[top:bottom, left:right] = 1
    return plane


class TestReshaped:
    """A cap of hair from row 10 on, which ends further down or up with the edit."""

    def found(self, own: Any, before: Any, after: Any, free: Any = NOTHING) -> Any:
        gone, new = reshaped(own, before, after, free, SIDE)
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


def test_what_is_not_known_is_as_what_is_nearest() -> None:
    values = np.zeros((1, 5), np.float32)
    values[0, 4] = 1
    known = np.array([[True, False, False, False, True]])
    assert nearest(known, values)[0].tolist()[1::2] == [0, 1]
    assert not nearest(np.zeros_like(known), values).any()


class TestStrands:
    def test_they_are_mirrored_below_their_end_and_again_at_their_top(self) -> None:
        own = np.zeros((12, 1), bool)
        own[1:4] = True
        detail = np.arange(12, dtype=np.float32)[None, :, None]
        got = strands_below(own, detail, 3, 0)[0, :, 0]
        assert got[3:].tolist() == [3, 2, 1, 2, 3, 2, 1, 2, 3] and not got[:3].any()

    def test_single_samples_have_none_to_give(self) -> None:
        own = np.zeros((12, 1), bool)
        own[1:4], own[8] = True, True
        detail = np.arange(12, dtype=np.float32)[None, :, None]
        assert strands_below(own, detail, 3, 0)[0, 7:, 0].tolist() == [3, 2, 1, 2, 3]
        assert not strands_below(np.zeros_like(own), detail, 2, 0).any()

    def test_neighbors_end_alike(self) -> None:
        own = np.zeros((40, 30), bool)
        own[5:20] = True
        own[18:20, ::2] = False  # every other column ends two samples higher
        detail = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None], (1, 40, 30))
        rough, smooth = (strands_below(own, detail, 3, even)[0, 26] for even in (0, 3))
        assert np.ptp(rough) >= 4 and np.ptp(smooth[7:-7]) < 1


WALL, HAIR, SKIN = (150, 180, 170), (90, 60, 40), (210, 160, 140)


def painted(hair: NDArray[Any]) -> NDArray[np.uint8]:
    picture = np.full((*hair.shape, 3), WALL, np.uint8)
    picture[hair > 0.5] = HAIR
    return picture


class TestPicture:
    OWN = box(8, 30)

    def made(self, gone: Any, new: Any) -> Any:
        bare = np.full((*SIZE, 3), SKIN, np.uint8)
        given = painted(self.OWN), self.OWN, bare, gone.astype(np.float32), new.astype(np.float32)
        return regrown_picture(*given, SIDE)

    def test_where_hair_goes_the_bare_head_is_seen(self) -> None:
        got = self.made(box(20, 60, 0, 40), box(0, 0))
        assert np.abs(got[23:, 3:37] - SKIN).max() < 2
        assert np.array_equal(got[:17], painted(self.OWN)[:17])

    def test_new_hair_has_the_color_of_own_hair_which_stays_as_it_was(self) -> None:
        got = self.made(box(0, 0), box(20, 50))
        assert np.abs(got[32:48, 12:28] - HAIR).max() < 6
        assert np.array_equal(got[:30], painted(self.OWN)[:30])
        assert np.array_equal(got[52:], painted(self.OWN)[52:])


class TestColor:
    ALPHA = torch.from_numpy(box(8, 30))[None, None]

    def test_a_change_as_small_as_drawings_are_uncertain_by_is_none(self) -> None:
        picture = painted(box(8, 30))
        small = np.array([6.0, 4.0, 0.0], np.float32)
        assert recolored(picture, self.ALPHA, small, SIDE, ComposeConfig()) is None

    def test_the_mean_of_own_hair_moves_by_a_larger_one(self) -> None:
        picture, change = painted(box(8, 30)), np.array([20.0, 6.0, 8.0], np.float32)
        got = recolored(picture, self.ALPHA, change, SIDE, ComposeConfig())
        assert got is not None
        lab = [levels_to_lab(torch.from_numpy(x)[None])[0, :, 19, 20] for x in (picture, got)]
        np.testing.assert_allclose((lab[1] - lab[0]).numpy(), change, atol=3)
        assert np.array_equal(got[40:], picture[40:])


class TestStage:
    """Two frames, of which the second shows no face; a canvas of as many pixels as the frame."""

    COUNT, SIDE = 2, 24.0
    CANVAS = Canvas(40, Extent(top=10, bottom=10), 0.0, 0.0, 1.0)

    def layer(self, after: NDArray[Any], place: bool = True) -> tuple[Any, Any]:
        own = box(8, 30)
        frames = np.stack([painted(own)] * self.COUNT)
        places = [(20.0, 30.0, 8.0) if place else None, None]
        drawn = np.zeros((self.COUNT, 3, *SIZE), np.uint8)
        drawn[:, OLD_HAIR], drawn[:, NEW_HAIR] = 255 * own, 255 * after
        drawn[:, NEW_SKIN] = 0
        alpha = np.stack([(255 * own).astype(np.uint8)] * self.COUNT)
        bare = np.full((self.COUNT, *SIZE, 3), SKIN, np.uint8)
        numbers = np.zeros(self.COUNT, np.float32), np.zeros((self.COUNT, 3), np.float32)
        transform = np.array([[0, 0, 0, 1.0]] * self.COUNT)
        generator = tiny_generator(16, num_layers=4)
        given = Frames.of_pixels(frames)
        layer = regrown(
            given, HairDrawn(drawn, numbers[1]), Labels(np.zeros((2, 5, 30, 20), np.uint8)),
            Matte(alpha, *numbers), Bare(bare, alpha, alpha),
            Pivots(np.zeros((self.COUNT, 1, 1), np.float32), transform),
            face_track(places, Box(8.0, 18.0, self.SIDE)), Fade(np.ones(self.COUNT)), self.CANVAS,
            HeadRegion(0, 0, 2.0, 30, 20), HairWindow(0, 0, 1, *SIZE, self.SIDE),
            Drawer(generator.synthesis), ComposeConfig(mode="replace"),
        )  # fmt: skip
        return frames, layer.over(given).rows(0, self.COUNT).pixels

    @pytest.mark.parametrize("after", [box(8, 30), box(9, 29, 11, 29)], ids=["same", "nearly"])
    def test_without_a_change_it_is_the_frame(self, after: NDArray[Any]) -> None:
        frames, got = self.layer(after)
        assert np.array_equal(got, frames)

    def test_shorter_and_longer(self) -> None:
        frames, got = self.layer(box(8, 18))
        assert np.abs(got[0, 22:29, 12:28].astype(int) - SKIN).max() < 4
        assert np.array_equal(got[0, :14], frames[0, :14])
        frames, got = self.layer(box(8, 50))
        assert np.abs(got[0, 33:47, 12:28].astype(int) - HAIR).max() < 8
        assert np.array_equal(got[1], frames[1]), "no face"

    def test_a_chunk_without_a_face_passes_bit_for_bit(self) -> None:
        frames, got = self.layer(box(8, 50), place=False)
        assert np.array_equal(got, frames)
