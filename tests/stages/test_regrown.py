"""Hair whose shape changes: where it goes and comes, and what is seen there then."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.stages.faces import face_track
from vidhair.geometry import Box, Grid
from vidhair.imaging.color import lab_to_rgb, levels_to_lab
from vidhair.models.generators.stylegan3 import Extent
from vidhair.stages.bare import Bare
from vidhair.stages.compose import ComposeConfig, Fade
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.stages.regrown import (
    grown_color,
    recolored,
    regrown,
    regrown_picture,
    strands_below,
    streaks_at,
    with_tips,
)
from vidhair.stages.render import Canvas
from vidhair.stages.reshaped import Reshaped
from vidhair.stages.smooth import Pivots
from vidhair.stages.steady import places_of
from vidhair.types import Frames
from vidhair.wiring import Span

SIDE = 50.0  # of the face's crop
SIZE = 60, 40
NOTHING = np.zeros(SIZE, bool)


def box(top: int, bottom: int, left: int = 10, right: int = 30) -> NDArray[Any]:
    plane = np.zeros(SIZE, np.float32)
    plane[top:bottom, left:right] = 1
    return plane


class TestStrands:
    def test_they_are_mirrored_below_their_end_and_again_at_their_top(self) -> None:
        own = np.zeros((12, 1), bool)
        own[1:4] = True
        detail = np.arange(12, dtype=np.float32)[None, :, None]
        got, long = strands_below(own, detail, 3, 0)
        got = got[0, :, 0]
        assert got[3:].tolist() == [3, 2, 1, 2, 3, 2, 1, 2, 3] and not got[:3].any()
        assert long[:, 0].tolist() == [0, 0, 0, *[2] * 9]

    def test_single_samples_have_none_to_give(self) -> None:
        own = np.zeros((12, 1), bool)
        own[1:4], own[8] = True, True
        detail = np.arange(12, dtype=np.float32)[None, :, None]
        assert strands_below(own, detail, 3, 0)[0][0, 7:, 0].tolist() == [3, 2, 1, 2, 3]
        assert not strands_below(np.zeros_like(own), detail, 2, 0)[0].any()

    def test_neighbors_end_alike(self) -> None:
        own = np.zeros((40, 30), bool)
        own[5:20] = True
        own[18:20, ::2] = False  # every other column ends two samples higher
        detail = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None], (1, 40, 30))
        rough, smooth = (strands_below(own, detail, 3, even)[0][0, 26] for even in (0, 3))
        assert np.ptp(rough) >= 4 and np.ptp(smooth[7:-7]) < 1


def test_streaks_hang_and_stay_on_the_head() -> None:
    box, grid = Box(0.0, 0.0, 100.0), Grid.of_pixels(120, 100)
    places = places_of(grid, box)
    found = streaks_at(places)
    assert abs(found.mean()) < 0.5 and 0.5 < found.std() < 1.5
    across, along = (np.abs(np.diff(found, axis=axis)).mean() for axis in (1, 0))
    assert along < 0.4 * across
    moved = streaks_at(places + torch.tensor([0.05, 0.1]))
    np.testing.assert_allclose(moved[:-10, :-5], found[10:, 5:], atol=0.05)


class TestTips:
    """Hair in rows up to 20, and more of it below, up to 50."""

    OWN, NEW, SIDE = box(0, 20, 0, 40), box(20, 50, 0, 40), 200.0

    def test_hair_of_one_tone_keeps_its_border_and_joins_own_hair(self) -> None:
        flat = np.full(SIZE, 40, np.float32)
        got = with_tips(self.NEW, self.OWN, flat, self.SIDE)
        assert got[20:46].min() > 0.95 and got[55:].max() < 0.05
        assert np.abs((got[:, 20] > 0.5).nonzero()[0].max() - 49) <= 1
        assert not got[:8].any(), "own hair elsewhere"

    def test_lighter_strands_reach_further(self) -> None:
        striped = np.full(SIZE, 40, np.float32)
        striped[:, ::4] += 10
        got = with_tips(self.NEW, self.OWN, striped, self.SIDE)[:, 4:36]
        ends = (got > 0.5).sum(0)
        assert ends[::4].min() > ends[2::4].max() and got[20:44].min() > 0.9

    def test_a_jagged_border_becomes_even(self) -> None:
        jagged = self.NEW.copy()
        jagged[48:52, 0:40:4] = jagged[48:52, 1:40:4] = 1
        got = with_tips(jagged, self.OWN, np.full(SIZE, 40, np.float32), self.SIDE)
        assert np.ptp((got[:, 6:-6] > 0.5).sum(0)) <= 1


WALL, HAIR, SKIN = (150, 180, 170), (90, 60, 40), (210, 160, 140)


def painted(hair: NDArray[Any]) -> NDArray[np.uint8]:
    picture = np.full((*hair.shape, 3), WALL, np.uint8)
    picture[hair > 0.5] = HAIR
    return picture


class TestPicture:
    OWN = box(8, 30)

    def made(self, gone: Any, new: Any) -> Any:
        bare = np.full((*SIZE, 3), SKIN, np.uint8)
        lab = levels_to_lab(torch.from_numpy(painted(self.OWN))[None])
        own, kept = (torch.from_numpy(x)[None, None] for x in (self.OWN, 1 - np.float32(gone)))
        grown = grown_color(lab, own, kept, np.zeros(SIZE, np.float32), SIDE)
        color = (lab_to_rgb(grown)[0] * 255).movedim(0, -1).numpy()
        given = painted(self.OWN), self.OWN, bare, gone.astype(np.float32), new.astype(np.float32)
        return regrown_picture(*given, color if new.any() else None, SIDE)

    def test_where_hair_goes_the_bare_head_is_seen(self) -> None:
        got = self.made(box(20, 60, 0, 40), box(0, 0))
        assert np.abs(got[23:, 3:37] - SKIN).max() < 2
        assert np.array_equal(got[:17], painted(self.OWN)[:17])

    def test_new_hair_has_the_color_of_own_hair_which_stays_as_it_was(self) -> None:
        got = self.made(box(0, 0), box(20, 50))
        assert np.abs(got[32:48, 12:28] - HAIR).max() < 6
        assert np.array_equal(got[:20], painted(self.OWN)[:20])
        assert np.array_equal(got[20:26, 14:26], painted(self.OWN)[20:26, 14:26])
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

    def layer(self, gone: Any, new: Any, place: bool = True) -> tuple[Any, Any]:
        own = box(8, 30)
        frames = np.stack([painted(own)] * self.COUNT)
        places = [(20.0, 30.0, 8.0) if place else None, None]
        alpha = np.stack([(255 * own).astype(np.uint8)] * self.COUNT)
        bare = np.full((self.COUNT, *SIZE, 3), SKIN, np.uint8)
        numbers = np.zeros(self.COUNT, np.float32), np.zeros((self.COUNT, 3), np.float32)
        levels = np.stack([(255 * np.stack([gone, new])).astype(np.uint8)] * self.COUNT)
        given = Frames.of_pixels(frames)
        layer = regrown(
            given, Reshaped(levels, numbers[1]), Matte(alpha, *numbers),
            Pivots(np.zeros((self.COUNT, 1, 1), np.float32), np.array([[0, 0, 0, 1.0]] * 2)),
            face_track(places, Box(8.0, 18.0, self.SIDE)), Bare(bare, alpha, alpha),
            Fade(np.ones(self.COUNT)), Span(0, self.COUNT), self.CANVAS,
            HairWindow(0, 0, 1, *SIZE, self.SIDE), ComposeConfig(mode="replace"),
        )  # fmt: skip
        return frames, layer.over(given).rows(0, self.COUNT).pixels

    def test_without_a_change_it_is_the_frame(self) -> None:
        frames, got = self.layer(box(0, 0), box(0, 0))
        assert np.array_equal(got, frames)

    def test_shorter_and_longer(self) -> None:
        frames, got = self.layer(box(18, 60, 0, 40), box(0, 0))
        assert np.abs(got[0, 22:29, 12:28].astype(int) - SKIN).max() < 4
        assert np.array_equal(got[0, :14], frames[0, :14])
        frames, got = self.layer(box(0, 0), box(30, 50))
        assert np.abs(got[0, 33:47, 12:28].astype(int) - HAIR).max() < 8
        assert np.array_equal(got[1], frames[1]), "no face"

    def test_a_chunk_without_a_face_passes_bit_for_bit(self) -> None:
        frames, got = self.layer(box(0, 0), box(30, 50), place=False)
        assert np.array_equal(got, frames)
