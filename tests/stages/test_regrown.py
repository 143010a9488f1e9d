"""Hair whose shape changes: where it goes and comes, and what is seen there then."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.stages.composing import without_arms
from tests.stages.faces import face_track
from vidhair.geometry import Box, Grid
from vidhair.imaging.color import lab_to_rgb, levels_to_lab
from vidhair.imaging.follow import STILL
from vidhair.models.generators.stylegan3 import Extent
from vidhair.stages.bare import Bare
from vidhair.stages.behind import Behind
from vidhair.stages.compose import ComposeConfig
from vidhair.stages.ends import HairFall
from vidhair.stages.fade import Fade
from vidhair.stages.hair_texture import STRANDS, HairTexture
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.stages.regrown import (
    _patch,
    grown_color,
    hung,
    recolored,
    regrown,
    regrown_picture,
    with_strands,
    with_tips,
)
from vidhair.stages.render import Canvas
from vidhair.stages.reshaped import Reshaped
from vidhair.stages.skull import AXES, CENTRE, HeadPose, Skull
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


class TestTips:
    """Hair in rows up to 20, and more of it below, up to 50."""

    OWN, NEW, SIDE = box(0, 20, 5, 35), box(20, 50, 5, 35), 100.0
    FLAT = np.zeros(SIZE, np.float32)

    def test_without_strands_it_keeps_its_border_and_joins_own_hair(self) -> None:
        got = with_tips(self.NEW, self.OWN, self.FLAT, self.SIDE)
        assert got[21:46, 8:32].min() > 0.9 and got[54:].max() < 0.05
        assert np.abs((got[:, 20] > 0.5).nonzero()[0].max() - 49) <= 1
        assert not got[:13].any(), "own hair elsewhere"

    def test_strands_end_differently_and_sides_stay_smooth(self) -> None:
        strands = self.FLAT.copy()
        strands[:, ::4], strands[:, 2::4] = 1, -1
        got = with_tips(self.NEW, self.OWN, strands, self.SIDE)
        ends = (got > 0.5).sum(0)
        assert ends[12:28:4].min() > ends[10:28:4].max() + 1
        sides = (got > 0.5).sum(1)
        assert np.ptp(sides[24:44]) == 0

    def test_what_is_above_own_hair_has_no_tips(self) -> None:
        strands = np.random.default_rng(0).normal(0, 1, SIZE).astype(np.float32)
        got = with_tips(box(10, 30, 5, 35), box(30, 60, 5, 35), strands, self.SIDE)
        first = (got[:, 10:30] > 0.5).argmax(0)
        assert np.ptp(first) == 0


class TestHung:
    NEW, SIDE = box(20, 45, 5, 35), 60.0
    PLACES = places_of(Grid.of_pixels(*SIZE), Box(0.0, 0.0, 60.0))

    def test_locks_end_at_different_heights_and_none_leaves_own_hair(self) -> None:
        own = box(0, 20, 5, 35)
        got = hung(self.NEW, own, self.PLACES, self.SIDE)
        ends = (got > 0.5).sum(0)[8:32]
        assert np.ptp(ends) >= 2 and np.abs(ends - 25).max() <= 9
        assert got[20:24, 8:32].min() > 0.5, "no gap"
        assert not (got[:20] > 0.5).any()

    def test_where_there_is_none_none_comes(self) -> None:
        nothing = np.zeros(SIZE, np.float32)
        assert not hung(nothing, box(0, 20, 5, 35), self.PLACES, self.SIDE).any()


def test_far_from_own_hair_its_mean_color_tells() -> None:
    """Own hair is light above and dark below, where new hair begins."""
    lab, own = torch.zeros(1, 3, *SIZE), torch.from_numpy(box(0, 30, 10, 30))[None, None]
    lab[:, 0, :20], lab[:, 0, 20:] = 60, 30
    got = grown_color(lab, own, torch.ones_like(own), 50.0)[0, 0]
    assert got[33, 20] < 40 and got[33, 20] < got[45, 20] < got[58, 20] <= 60


def test_streaks_are_where_no_long_hair_is_known() -> None:
    color, detail = torch.full((1, 3, 4, 4), 50.0), torch.full((3, 4, 4), 2.0)
    known, streaks = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)
    known[:, 2:] = 1
    contrast = np.array([1.0, 2.0], np.float32)
    got = with_strands(color, detail, known, [streaks, streaks], contrast)[0]
    assert (
        (got[0, :, :2] == 53).all() and (got[1, :, :2] == 50).all() and (got[:, :, 2:] == 52).all()
    )


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
        grown = grown_color(lab, own, kept, SIDE)
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


@pytest.mark.parametrize("drawn", [0.0, 1.0])
def test_details_finer_than_samples_go_where_something_is_drawn(drawn: float) -> None:
    """Of large faces samples are means of several pixels. What has another color keeps them."""
    grid = HairWindow(0, 0, 2, 30, 20, 24.0)
    fine = 20 * (np.indices((60, 40)).sum(0) % 2)[..., None] - 10
    frame = (np.full((60, 40, 3), 100) + fine).astype(np.uint8)
    made, inside = np.full((30, 20, 3), 140, np.float32), np.zeros((30, 20), np.float32)
    inside[5:25, 5:15] = 1
    patch = _patch(frame, made, drawn * inside, inside, grid)
    assert patch is not None
    part = patch.pixels[12:-12, 8:-8]
    assert abs(part.mean() - 140) < 2 and abs(part.std() - 10 * (1 - drawn)) < 1


class TestStage:
    """Two frames, of which the second shows no face; a canvas of as many pixels as the frame."""

    COUNT, SIDE = 2, 24.0
    CANVAS = Canvas(40, Extent(top=10, bottom=10), 0.0, 0.0, 1.0)
    POSE = HeadPose(np.stack([np.eye(3)] * 2), np.full(2, 10.0), np.full((2, 2), 20.0))

    def behind(self, grain: float) -> Behind:
        moves, none = np.tile(STILL, (self.COUNT, 1, 1)), np.zeros((1, 2, 2), np.float32)
        plane = np.zeros((1, *SIZE), np.uint8)
        picture = np.zeros((1, *SIZE, 3), np.uint8)
        return Behind(
            np.zeros(self.COUNT, np.int64), moves, moves, np.zeros((self.COUNT, 2)),
            np.array([[0.0, 1.0]]), picture, picture, plane, none[..., None].repeat(3, -1), none,
            none[0, :1], np.array([grain], np.float32), plane, np.zeros((1, 2, 2)),
            moves[:1],
        )  # fmt: skip

    def fall(self, cut: float, longer: float) -> HairFall:
        both = np.full((self.COUNT, 2), [cut, longer], np.float32)
        return HairFall(both[:, 0], both[:, 1], np.zeros(self.COUNT, bool), 1.0)

    def layer(
        self,
        gone: Any,
        new: Any,
        place: bool = True,
        grain: float = 0.0,
        front: Any = None,
        cut: float = np.inf,
        longer: float = 0.0,
    ) -> tuple[Any, Any]:
        own = box(8, 30)
        frames = np.stack([painted(own)] * self.COUNT)
        places = [(20.0, 30.0, 8.0) if place else None, None]
        alpha = np.stack([(255 * own).astype(np.uint8)] * self.COUNT)
        bare = np.where(alpha[..., None] > 0, SKIN, 0).astype(np.uint8)
        numbers = np.zeros(self.COUNT, np.float32), np.zeros((self.COUNT, 3), np.float32)
        levels = np.stack([(255 * np.stack([gone, new])).astype(np.uint8)] * self.COUNT)
        given = Frames.of_pixels(frames)
        plain = np.zeros((1, 4, *SIZE), np.float32)
        texture = HairTexture(
            np.zeros(self.COUNT, np.int64), np.eye(3, dtype=np.float32)[None],
            plain[:, :3], plain[:, 3], np.zeros((1, len(STRANDS)), np.float32),
        )  # fmt: skip
        layer = regrown(
            given, Reshaped(levels, numbers[1]), Matte(alpha, *numbers),
            Pivots(np.zeros((self.COUNT, 1, 1), np.float32), np.array([[0, 0, 0, 1.0]] * 2)),
            face_track(places, Box(8.0, 18.0, self.SIDE)), Bare(bare, *[alpha] * 3),
            self.behind(grain), without_arms(np.zeros_like(alpha) if front is None else front),
            texture, self.fall(cut, longer), self.POSE,
            Skull(np.array(CENTRE), np.array(AXES)),
            Fade(np.ones(self.COUNT)), Span(0, self.COUNT), self.CANVAS,
            HairWindow(0, 0, 1, *SIZE, self.SIDE), ComposeConfig(mode="replace"),
        )  # fmt: skip
        return frames, layer.over(given).rows(0, self.COUNT).pixels

    def test_without_a_change_it_is_the_frame(self) -> None:
        frames, got = self.layer(box(0, 0), box(0, 0))
        assert np.array_equal(got, frames)

    def test_beside_what_is_bared_the_frame_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its softened border, and larger samples, reach there."""
        given: list[NDArray[np.uint8]] = []

        def kept(
            picture: NDArray[np.uint8], alpha: Any, bare: NDArray[np.uint8], *rest: Any
        ) -> Any:
            given.append(bare)
            return regrown_picture(picture, alpha, bare, *rest)

        monkeypatch.setattr("vidhair.stages.regrown.regrown_picture", kept)
        frames, _ = self.layer(box(0, 60, 0, 40), box(0, 0))
        own = box(8, 30) > 0
        assert (given[0][own] == SKIN).all() and np.array_equal(given[0][~own], frames[0][~own])

    def test_shorter_and_longer(self) -> None:
        frames, got = self.layer(box(18, 60, 0, 40), box(0, 0))
        assert np.abs(got[0, 22:29, 12:28].astype(int) - SKIN).max() < 4
        assert np.array_equal(got[0, :14], frames[0, :14])
        frames, got = self.layer(box(0, 0), box(30, 50))
        assert np.abs(got[0, 33:47, 12:28].astype(int) - HAIR).max() < 8
        assert np.array_equal(got[1], frames[1]), "no face"

    def test_new_hair_has_the_noise_of_the_frames(self) -> None:
        place = np.s_[0, 33:47, 12:28]
        still, noisy = (self.layer(box(0, 0), box(30, 50), grain=g)[1][place] for g in (0, 8))
        away = noisy.astype(float) - still
        assert 5 < away.std() < 9 and abs(away.mean()) < 1.5

    def test_what_is_in_front_stays(self) -> None:
        front = np.stack([(255 * box(20, 60, 0, 20)).astype(np.uint8)] * self.COUNT)
        for change in ((box(18, 60, 0, 40), box(0, 0)), (box(0, 0), box(30, 50))):
            frames, got = self.layer(*change, front=front)
            assert np.array_equal(got[0, 22:, :19], frames[0, 22:, :19])
            assert not np.array_equal(got[0, :, 22:], frames[0, :, 22:])

    def test_what_is_cut_goes_whatever_is_drawn(self) -> None:
        frames, got = self.layer(box(0, 0), box(30, 50), cut=0.0)
        assert np.abs(got[0, 24:29, 13:27].astype(int) - SKIN).max() < 4
        assert np.array_equal(got[0, :14], frames[0, :14])
        assert np.array_equal(got[0, 34:], frames[0, 34:]), "nor does new hair hang below"

    def test_long_hair_falls_further_and_none_is_drawn_below_it(self) -> None:
        frames, got = self.layer(box(0, 0), box(40, 56, 0, 6), longer=1.0)
        assert np.abs(got[0, 30:38, 13:27].astype(int) - HAIR).max() < 8, "from row 30 on"
        assert np.array_equal(got[0, 44:], frames[0, 44:])
        assert np.array_equal(got[0, :30], frames[0, :30]), "no hair goes"
        assert np.array_equal(got[1], frames[1]), "no face"

    def test_a_chunk_without_a_face_passes_bit_for_bit(self) -> None:
        frames, got = self.layer(box(0, 0), box(30, 50), place=False)
        assert np.array_equal(got, frames)
