"""Mattes of hair drawn by hand, in the place of what a network says of it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.models.tiny import random
from tests.stages.faces import face_track
from vidhair.errors import InvalidSetting
from vidhair.flow.overlap import Workers
from vidhair.geometry import Box
from vidhair.imaging.color import levels_to_lab
from vidhair.stages import matte as stages
from vidhair.stages.align import FaceTrack
from vidhair.stages.matte import NEIGHBOURS, Matte, MatteConfig, alpha_of, joined, own_hair
from vidhair.stages.region import HairWindow, HeadParts, HeadRegion
from vidhair.stages.segment import HairPrior
from vidhair.types import Frames
from vidhair.wiring import Near, Span


def test_a_face_too_small_to_see_hair_is_refused() -> None:
    for size in (0, 48, 512):
        assert MatteConfig(size=size).size == size
    with pytest.raises(InvalidSetting, match=r"matte.size = 47 is too small.*0 or 48"):
        MatteConfig(size=47)


class TestJoined:
    HEAD = np.zeros((40, 40), bool)
    HEAD[10:30, 10:30] = True

    def test_what_hangs_together_with_the_head_stays_however_far_it_reaches(self) -> None:
        prior = np.zeros((40, 40), np.float32)
        prior[12:38, 12:20] = 0.9
        assert np.array_equal(joined(prior, self.HEAD), prior)

    def test_what_lies_apart_goes(self) -> None:
        prior = np.zeros((40, 40), np.float32)
        prior[12:18, 12:20], prior[33:38, 2:6] = 0.9, 0.8
        got = joined(prior, self.HEAD)
        assert np.array_equal(got[:30], prior[:30]) and not got[30:].any()

    def test_what_is_unlikely_joins_nothing_and_stays_beside_hair(self) -> None:
        """A bridge of faint hair does not lead to the collar, but is a soft border here."""
        prior = np.zeros((40, 40), np.float32)
        prior[12:18, 12:20], prior[18:33, 15], prior[33:38, 12:20] = 0.9, 0.15, 0.9
        got = joined(prior, self.HEAD)
        assert not got[33:].any() and not got[24:, 15].any()
        assert (got[18:21, 15] == np.float32(0.15)).all()

    def test_a_line_joins_nothing(self) -> None:
        """The edge of a shelf as dark as the hair leads from it to more of the kind."""
        prior = np.zeros((40, 40), np.float32)
        prior[12:20, 12:20], prior[14:16, 20:32], prior[10:20, 32:40] = 0.9, 0.9, 0.9
        got = joined(prior, self.HEAD)
        assert (got[12:20, 12:20] == prior[12:20, 12:20]).all()
        assert (got[14:16, 20:24] > 0.8).all() and not got[:, 24:].any()

    def test_what_is_rather_not_hair_stays_only_beside_what_rather_is(self) -> None:
        """A shadow below the chin hangs together with the hair, and is none."""
        prior = np.zeros((40, 40), np.float32)
        prior[12:38, 12:20], prior[28:34, 20:38] = 0.9, 0.45
        got = joined(prior, self.HEAD)
        assert np.array_equal(got[:, :20], prior[:, :20])
        assert (got[28:34, 20:22] > 0.4).all() and not got[:, 25:].any()

    def test_without_hair_on_the_head_there_is_none(self) -> None:
        prior = np.zeros((40, 40), np.float32)
        prior[33:38, 2:6] = 0.9
        assert not joined(prior, self.HEAD).any()
        assert not joined(0 * prior, self.HEAD).any()
        assert not joined(prior + 0.9, np.zeros_like(self.HEAD)).any()


class TestOwnHair:
    """A head of 40 samples: hair on top, lobes of ears in row 16, mouth in 24, chin in 30."""

    CROWN, HEAD, BEARD, LEFT, RIGHT = (np.zeros((48, 40), bool) for _ in range(5))
    CROWN[:16, 8:32], HEAD[:34, 8:32], BEARD[20:32, 13:27] = True, True, True
    CROWN[8:16, 14:26], BEARD[30:] = False, True
    LEFT[20:28, 4:11], RIGHT[20:28, 29:36] = True, True
    PARTS = HeadParts(HEAD, CROWN, BEARD, [LEFT, RIGHT])

    def prior(self, *places: tuple[int, int, int, int]) -> NDArray[Any]:
        """Hair on top, and at other places: rows and columns, from and to."""
        found = np.zeros((48, 40), np.float32)
        for top, bottom, left, right in ((4, 12, 10, 30), *places):
            found[top:bottom, left:right] = 0.9
        return found

    def test_a_collar_is_no_hair_though_it_lies_on_the_head(self) -> None:
        collar = self.prior((30, 36, 8, 13), (30, 36, 27, 32))
        assert (collar[self.HEAD] > 0).sum() > (self.prior()[self.HEAD] > 0).sum()
        assert np.array_equal(own_hair(collar, self.PARTS), self.prior())

    @pytest.mark.parametrize("sideburns", [False, True])
    def test_a_beard_is_none_whether_sideburns_lead_to_it_or_not(self, sideburns: bool) -> None:
        lead = [(12, 20, 13, 17), (12, 20, 23, 27)] if sideburns else []
        bearded = self.prior(*lead, (20, 40, 13, 27))
        got = own_hair(bearded, self.PARTS)
        assert not got[self.BEARD].any() and not got[32:].any(), "and what hangs from the chin"
        assert np.array_equal(got[:20], self.prior(*lead)[:20])

    @pytest.mark.parametrize("left", [True, False])
    def test_long_hair_may_lie_on_the_jaw(self, left: bool) -> None:
        """On one side is enough."""
        side = (10, 44, 4, 15) if left else (10, 44, 25, 36)
        prior = self.prior(side)
        assert (prior[self.BEARD] > 0).any()
        assert np.array_equal(own_hair(prior, self.PARTS), prior)

    def test_a_jacket_that_beard_and_sideburns_lead_to_is_none(self) -> None:
        jacket = self.prior((12, 30, 9, 15), (27, 46, 4, 15), (30, 46, 4, 36))
        got = own_hair(jacket, self.PARTS)
        assert not got[30:].any() and np.array_equal(got[:12], jacket[:12])

    def test_a_shine_on_the_forehead_is_none(self) -> None:
        shine = np.zeros_like(self.prior())
        shine[0:4, 8:32] = 0.9
        want = shine.copy()
        shine[9:13, 18:23] = 0.9
        assert np.array_equal(own_hair(shine, self.PARTS), want)

    def test_of_long_hair_a_lock_may_come_out_from_behind_the_face(self) -> None:
        """As of heads that are turned, on one side."""
        prior = self.prior((10, 44, 25, 36), (24, 44, 8, 13))
        assert np.array_equal(own_hair(prior, self.PARTS), prior)

    def test_below_a_hat_hair_beside_the_jaw_counts(self) -> None:
        prior = self.prior((17, 44, 4, 10), (17, 44, 30, 36))
        prior[:16] = 0
        assert np.array_equal(own_hair(prior, self.PARTS), prior)

    def test_a_bald_head_has_no_hair_of_collar_or_beard(self) -> None:
        prior = self.prior((20, 44, 13, 27), (30, 36, 8, 12))
        prior[:16] = 0
        assert not own_hair(prior, self.PARTS).any()

    def test_what_the_frame_does_not_show_is_not_beside(self) -> None:
        none = np.zeros_like(self.LEFT)
        parts = HeadParts(self.HEAD, self.CROWN, self.BEARD, [none, none])
        assert not own_hair(self.prior((20, 40, 13, 27)), parts)[self.BEARD].any()


HAIR, SKIN = (0.2, 0.12, 0.08), (0.8, 0.6, 0.5)
SIDE, EDGE = 100.0, 0.05


def mixed(alpha: torch.Tensor, front: Any = HAIR, back: Any = SKIN) -> torch.Tensor:
    """A picture [1, 3, h, w] of two colors and a bit of noise."""
    f, b = (torch.tensor(c).view(1, 3, 1, 1) for c in (front, back))
    return alpha * f + (1 - alpha) * b + 0.005 * random(1, 3, *alpha.shape[2:])


def fringe(height: int = 48, width: int = 64) -> torch.Tensor:
    """A matte [1, 1, h, w]: hair on the right whose border has strands, two pixels wide."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    border = torch.where(y % 6 < 2, 28, 34)
    return ((x - border + 1.5) / 2).clamp(0, 1)[None, None]


def straight(at: float = 31.5, soft: float = 1.0, height: int = 48, width: int = 64) -> Any:
    """What a network that sees no strands says of it."""
    x = torch.arange(width) + 0.5
    return ((x - at) / soft + 0.5).clamp(0, 1).expand(1, 1, height, width)


class TestAlphaOf:
    def test_strands_are_found_that_the_prior_does_not_know(self) -> None:
        true, prior = fringe(), straight()
        got = alpha_of(mixed(true), prior, SIDE, EDGE)
        assert got.shape == true.shape and got.min() == 0 and got.max() == 1
        assert (got - true).abs().mean() < 0.4 * (prior - true).abs().mean()

    def test_where_all_is_sure_it_is_the_prior(self) -> None:
        """As far from its border as strands are not looked for."""
        got = alpha_of(random(1, 3, 48, 64).sigmoid(), straight(), SIDE, EDGE)
        assert (got[..., : 31 - 15] == 0).all() and (got[..., 32 + 10 :] == 1).all()
        inner = got[..., 27:41]
        assert ((inner > 0) & (inner < 1)).any()

    def test_hair_goes_on_beyond_the_picture(self) -> None:
        """Its sides are no borders of the hair, and neither are they strands."""
        everywhere = torch.ones(1, 1, 24, 30)
        assert (alpha_of(random(1, 3, 24, 30).sigmoid(), everywhere, SIDE, EDGE) == 1).all()
        assert not alpha_of(random(1, 3, 24, 30).sigmoid(), 0 * everywhere, SIDE, EDGE).any()

    def test_where_colors_tell_nothing_it_is_near_the_prior(self) -> None:
        prior = straight(soft=6.0)
        got = alpha_of(mixed(fringe(), HAIR, HAIR), prior, SIDE, EDGE)
        assert (got - prior).abs().mean() < 0.12
        assert (got[..., 20:44].mean((0, 1, 2)).diff() > -0.05).all()

    @pytest.mark.parametrize("edge", [0.02, 0.08])
    def test_it_reaches_as_far_as_it_is_told(self, edge: float) -> None:
        reach = round(edge * SIDE)
        x = torch.arange(64)
        true = ((x > 31) | (x % 3 == 0)).float().expand(1, 1, 48, 64)
        got = alpha_of(mixed(true), straight(), SIDE, edge)
        reached = torch.nonzero(got.amax((0, 1, 2)) > 0.2).min()
        assert 31 - reach <= reached <= 31 - reach + 3

    @pytest.mark.parametrize("soft", [8.0, 14.0])
    def test_a_border_out_of_focus_is_hair_as_far_as_it_is_seen(self, soft: float) -> None:
        """However narrow a network says it is."""
        true = straight(soft=soft)
        got = alpha_of(mixed(true), straight(), SIDE, EDGE)
        outside = np.s_[..., 22:31]
        assert (got - true)[outside].abs().mean() < 0.05
        assert (got - true)[outside].mean().abs() < 0.04

    def test_what_is_as_dark_as_hair_is_none_beyond_a_gap(self) -> None:
        """A brow below a fringe."""
        true = straight(soft=2.0)
        picture = mixed(true)
        picture[..., 22:26] = torch.tensor(HAIR).view(3, 1, 1)
        got = alpha_of(picture, true, SIDE, 0.02)
        assert got[..., 22:26].mean() < 0.1

    def test_a_striped_wall_is_none_of_it(self) -> None:
        """Of the hair's color in part, in places touching it."""
        wall = (torch.arange(64) % 12 < 6).float() * (torch.arange(48) % 12 < 6).float()[:, None]
        true = straight(soft=2.0)
        picture = mixed(torch.maximum(true, wall))
        plain = alpha_of(picture, true, SIDE, 0.02)
        assert plain[..., :26].mean() < 0.1

    def test_noise_of_the_picture_is_none_of_the_hair(self) -> None:
        """Beside a sharp border nothing is left of it."""
        true = straight()
        got = alpha_of(mixed(true), true, SIDE, EDGE)
        assert (got[..., :29] == 0).float().mean() > 0.98
        assert (got[..., 34:] == 1).float().mean() > 0.98


SIZE = 64
BROWN, WALL = (70, 45, 30), (200, 180, 170)
REGION = HeadRegion(0.0, 0.0, 2.0, SIZE // 2, SIZE // 2)  # the prior's grid is the frame's
WINDOW = HairWindow(0, 0, 1, SIZE, SIZE, 39.2)


class TestMatteStage:
    """A bar of hair that moves to the right over a face that goes with it. With frame 5 a shot
    begins, in which it is higher; in frame 2 the face is not found."""

    COUNT, CUT, ABSENT = 9, 5, 2
    CONFIG = MatteConfig(smooth=1.0, edge=0.03)

    @staticmethod
    def rows(k: int) -> slice:
        return slice(10, 22) if k < TestMatteStage.CUT else slice(6, 16)

    @staticmethod
    def columns(k: int) -> slice:
        return slice(10 + 2 * k, 38 + 2 * k)

    def track(self, beside: tuple[float, ...] | None = None) -> FaceTrack:
        places = [
            None if k == self.ABSENT else (24.0 + 2 * k, 34.0, 14.0) for k in range(self.COUNT)
        ]
        others = [beside] * self.COUNT if beside else []
        return face_track(places, Box(10.0, 15.0, 39.2), (self.CUT,), *others)

    @pytest.fixture
    def clip(self) -> tuple[Frames, HairPrior, FaceTrack]:
        pixels = np.full((self.COUNT, SIZE, SIZE, 3), WALL, np.uint8)
        levels = np.zeros((self.COUNT, SIZE, SIZE), np.uint8)
        for k in range(self.COUNT):
            pixels[k, self.rows(k), self.columns(k)] = BROWN
            levels[k, self.rows(k), self.columns(k)] = 250
        noise = np.random.default_rng(0).integers(-8, 9, pixels.shape)
        # Everything moves to the right.
        noise = np.stack([np.roll(noise[0], 2 * k, 1) for k in range(self.COUNT)])
        return Frames.of_pixels((pixels + noise).astype(np.uint8)), HairPrior(levels), self.track()

    def mattes(
        self, clip: Any, start: Any = 0, stop: Any = COUNT, first: Any = 0, **options: Any
    ) -> Matte:
        """Of a chunk, in a clip that is the given one from `first` on."""
        given: dict[str, Any] = {"window": WINDOW, "config": self.CONFIG, "at_once": map} | options
        low, high = Near(NEIGHBOURS).range(start - first, stop - first, self.COUNT - first)
        frames, prior, track = (value.rows(low + first, high + first) for value in clip)
        span = Span(start - first, stop - first)
        return stages.found_matte(
            frames, prior, track, REGION, given["window"], span, given["config"], given["at_once"]
        )

    def test_the_hair_of_each_frame_is_found_where_it_is(self, clip: Any) -> None:
        got = self.mattes(clip)
        assert got.alpha.shape == (self.COUNT, SIZE, SIZE) and got.alpha.dtype == np.uint8
        assert got.area.dtype == got.mean_lab.dtype == np.float32
        for k in set(range(self.COUNT)) - {self.ABSENT}:
            rows, columns = self.rows(k), self.columns(k)
            inside = got.alpha[
                k, rows.start + 2 : rows.stop - 2, columns.start + 2 : columns.stop - 2
            ]
            assert inside.min() > 220
            outside = got.alpha[k].copy()
            outside[rows.start - 2 : rows.stop + 2, columns.start - 2 : columns.stop + 2] = 0
            assert outside.max() < 40 and (outside > 0).mean() < 0.02

    def test_area_and_mean_color_are_those_of_sure_hair(self, clip: Any) -> None:
        got = self.mattes(clip)
        for k in set(range(self.COUNT)) - {self.ABSENT}:
            sure = got.alpha[k] > 0.95 * 255
            assert got.area[k] == pytest.approx(sure.mean(), abs=2e-3)
            lab = levels_to_lab(torch.from_numpy(clip[0].pixels[k][sure])[None, None])
            np.testing.assert_allclose(got.mean_lab[k], lab.mean((0, 2, 3)), atol=0.3)

    def test_a_frame_without_a_face_has_none(self, clip: Any) -> None:
        got = self.mattes(clip)
        assert not got.alpha[self.ABSENT].any() and got.area[self.ABSENT] == 0
        assert not got.mean_lab[self.ABSENT].any()

    @pytest.mark.parametrize("chunk", [1, 2, 4])
    def test_chunks_that_see_their_neighbours_do_not_show(self, clip: Any, chunk: int) -> None:
        whole = self.mattes(clip)
        for start in range(0, self.COUNT, chunk):
            stop = min(start + chunk, self.COUNT)
            got = self.mattes(clip, start, stop)
            for name in Matte.ROWS:
                assert np.array_equal(getattr(got, name), getattr(whole, name)[start:stop])

    def test_threads_change_nothing(self, clip: Any, workers: Workers) -> None:
        got, want = self.mattes(clip, 1, at_once=workers), self.mattes(clip, 1)
        for name in Matte.ROWS:
            assert np.array_equal(getattr(got, name), getattr(want, name))

    def test_every_frame_is_looked_at_once(self, clip: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        looked = []

        def counted(*given: Any) -> Any:
            looked.append(given)
            return alpha_of(*given)

        monkeypatch.setattr(stages, "alpha_of", counted)
        self.mattes(clip)
        assert len(looked) == self.COUNT - 1

    def missed(self, clip: Any, frame: int) -> tuple[Frames, HairPrior, FaceTrack]:
        """The clip, with a frame in which the prior does not see the hair."""
        frames, prior, track = clip
        levels = prior.levels.copy()
        levels[frame] = 0
        return frames, HairPrior(levels), track

    def test_hair_that_is_missed_in_a_frame_is_that_of_its_neighbours(self, clip: Any) -> None:
        holed = self.missed(clip, 7)
        alone = self.mattes(holed, config=MatteConfig(smooth=0.0, edge=0.03)).alpha
        smoothed = self.mattes(holed).alpha
        place = 7, slice(9, 13), slice(30, 46)
        assert not alone[7].any() and smoothed[place].mean() > 80

    @pytest.mark.parametrize(("frame", "beyond"), [(4, 5), (5, 4)])
    def test_those_beyond_a_cut_do_not_count(self, clip: Any, frame: int, beyond: int) -> None:
        """Even if they look the same."""
        frames, prior, track = self.missed(clip, frame)
        pixels = frames.pixels.copy()
        pixels[:] = pixels[beyond]
        levels = prior.levels.copy()
        levels[:], levels[frame] = levels[beyond], 0
        same = Frames.of_pixels(pixels), HairPrior(levels), track
        got = self.mattes(same).alpha
        shots = np.cumsum(track.cuts)
        others = [k for k in range(9) if shots[k] == shots[frame] and abs(k - frame) <= 2]
        alone = self.missed(same, beyond)
        assert np.array_equal(got[frame], self.mattes(alone).alpha[frame])
        assert len(others) > 1 and got[frame].any()

    def test_a_clip_that_begins_at_a_cut_is_the_same(self, clip: Any) -> None:
        whole = self.mattes(clip)
        after = self.mattes(clip, self.CUT, self.COUNT, first=self.CUT)
        assert np.array_equal(after.alpha, whole.alpha[self.CUT :])

    def test_neither_do_frames_without_a_face(self, clip: Any) -> None:
        frames, prior, track = clip
        other = prior.levels.copy()
        other[self.ABSENT] = 255
        pixels = frames.pixels.copy()
        pixels[self.ABSENT] = pixels[self.ABSENT + 1]
        changed = Frames.of_pixels(pixels), HairPrior(other), track
        got, want = self.mattes(changed).alpha, self.mattes(clip).alpha
        assert np.array_equal(got[3:], want[3:]) and not got[self.ABSENT].any()

    def test_hair_beside_the_head_that_does_not_hang_together_with_it_is_none(
        self, clip: Any
    ) -> None:
        frames, prior, track = clip
        pixels, levels = frames.pixels.copy(), prior.levels.copy()
        pixels[:, 52:60, 2:8], levels[:, 52:60, 2:8] = BROWN, 250
        got = self.mattes((Frames.of_pixels(pixels), HairPrior(levels), track)).alpha
        assert not got[:, 48:, :14].any() and got[0].any()

    def test_a_neighbours_hair_is_none_of_it(self, clip: Any) -> None:
        """They share a bar of hair; what is nearer to the other face is theirs."""
        frames, prior, _ = clip
        pixels, levels = frames.pixels.copy(), prior.levels.copy()
        pixels[:, 10:22, 8:], levels[:, 10:22, 8:] = BROWN, 250
        both = Frames.of_pixels(pixels), HairPrior(levels)
        alone = self.mattes((*both, self.track())).alpha[0]
        shared = self.mattes((*both, self.track((60.0, 34.0, 14.5)))).alpha[0]
        assert alone[12:20, 50:].min() > 200 and not shared[:, 50:].any()
        assert np.array_equal(shared[:, :24], alone[:, :24])

    def test_a_coarser_window_sees_the_same(self, clip: Any) -> None:
        fine = self.mattes(clip)
        coarse = self.mattes(clip, window=HairWindow(0, 0, 2, SIZE // 2, SIZE // 2, 19.6))
        assert coarse.alpha.shape == (self.COUNT, SIZE // 2, SIZE // 2)
        shrunk = fine.alpha.reshape(self.COUNT, SIZE // 2, 2, SIZE // 2, 2).mean((2, 4))
        assert np.abs(coarse.alpha - shrunk).mean() < 8

    def test_without_any_hair_there_is_none(self, clip: Any) -> None:
        frames, prior, track = clip
        got = self.mattes((frames, HairPrior(0 * prior.levels), track))
        assert not got.alpha.any() and not got.area.any() and not got.mean_lab.any()


class TestGiven:
    """A matte of somebody else's, over the clip of `TestMatteStage`."""

    COUNT = TestMatteStage.COUNT

    @pytest.fixture
    def frames(self) -> Frames:
        shape = self.COUNT, SIZE, SIZE, 3
        return Frames.of_pixels(np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8))

    @pytest.fixture
    def planes(self) -> Any:
        shape = self.COUNT, SIZE, SIZE
        return np.random.default_rng(2).integers(0, 256, shape).astype(np.uint8)

    def mattes(
        self, frames: Frames, planes: Any, start: int = 0, stop: int = COUNT, beside: Any = None
    ) -> Matte:
        reader: Any = SimpleNamespace(read=lambda start, stop: planes[start:stop].copy())
        track = TestMatteStage().track(beside).rows(start, stop)
        return stages.given(frames.rows(start, stop), track, WINDOW, Span(start, stop), reader)

    def test_it_is_taken_as_it_is_where_the_person_is(self, frames: Frames, planes: Any) -> None:
        got = self.mattes(frames, planes)
        for k in range(self.COUNT):
            want = 0 * planes[k] if k == TestMatteStage.ABSENT else planes[k]
            assert np.array_equal(got.alpha[k], want)
            sure = want > 0.95 * 255
            assert got.area[k] == pytest.approx(sure.mean())
            lab = levels_to_lab(torch.from_numpy(frames.pixels[k][sure])[None, None])
            mean = lab.mean((0, 2, 3)) if sure.any() else np.zeros(3)
            np.testing.assert_allclose(got.mean_lab[k], mean, atol=1e-3)

    @pytest.mark.parametrize("chunk", [1, 4])
    def test_chunks_do_not_show(self, frames: Frames, planes: Any, chunk: int) -> None:
        whole = self.mattes(frames, planes)
        for start in range(0, self.COUNT, chunk):
            stop = min(start + chunk, self.COUNT)
            got = self.mattes(frames, planes, start, stop)
            for name in Matte.ROWS:
                assert np.array_equal(getattr(got, name), getattr(whole, name)[start:stop])

    def test_a_neighbours_hair_stays_the_neighbours(self, frames: Frames, planes: Any) -> None:
        planes[:] = 200
        got = self.mattes(frames, planes, beside=(62.0, 34.0, 14.0)).alpha[0]
        assert (got[:, :30] == 200).all() and not got[20:40, 56:].any()
