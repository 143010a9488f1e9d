"""The light that a person shows: of every frame on the hair, of the clip on skin and eyes."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.colors import lab, linear
from tests.stages.faces import face_mesh, face_track
from tests.stages.series import InMemory
from vidhair.geometry import Box
from vidhair.imaging.color import lab_to_rgb, linear_to_srgb
from vidhair.models.faces.landmarks import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.light import (
    EXPOSED,
    MOST_TINTED,
    WELL_LIT,
    HairLight,
    clip_light,
    hair_light,
    tint_of_skin,
    tint_of_white,
    whites_of_eyes,
)
from vidhair.stages.matte import HairTone
from vidhair.stages.region import MIDDLE, HairWindow, face_part
from vidhair.types import Frames

Floats = NDArray[np.float32]


def levels(light: Any) -> NDArray[np.uint8]:
    """Of linear RGB."""
    srgb = linear_to_srgb(torch.tensor(np.array(light, np.float32)).clamp(0, 1)).numpy()
    return np.rint(srgb * 255).astype(np.uint8)


BROWN = (0.3, 0.2, 0.15)


class TestHairLight:
    def light(self, rgb: Any, area: Any = None, cuts: tuple[int, ...] = ()) -> HairLight:
        count = len(rgb)
        areas = np.full(count, 0.2) if area is None else np.array(area)
        tone = HairTone(areas.astype(np.float32), lab(np.array(rgb)))
        track = face_track([(30.0, 30.0, 10.0)] * count, Box(0.0, 0.0, 28.0), cuts)
        return hair_light(InMemory(tone), InMemory(track))

    def test_steady_light_is_the_clips(self) -> None:
        got = self.light([BROWN] * 5)
        np.testing.assert_allclose(got.factor, 1, atol=1e-3)
        np.testing.assert_allclose(got.lab, np.tile(lab(BROWN), (5, 1)), atol=0.05)
        assert got.lab.dtype == got.factor.dtype == np.float32

    def test_it_follows_a_fade(self) -> None:
        shares = np.linspace(1, 0.05, 30)
        rgb = [np.array(BROWN) * s for s in shares]
        got = self.light(rgb)
        want = linear(rgb) / linear(rgb).mean(0)
        np.testing.assert_allclose(got.factor[3:-3], want[3:-3], rtol=0.1)
        assert (np.diff(got.factor, axis=0) < 1e-6).all()
        np.testing.assert_allclose(got.lab[3:-3], lab(rgb)[3:-3], atol=1.5)

    def test_a_lamp_turns_its_color(self) -> None:
        got = self.light([BROWN] * 10 + [(0.3, 0.12, 0.05)] * 10)
        assert got.factor[-1, 2] < 0.4 * got.factor[0, 2]
        np.testing.assert_allclose(got.factor[-1, 0], got.factor[0, 0], rtol=0.02)

    def test_a_flicker_is_smoothed_and_a_cut_is_not(self) -> None:
        flicker = [BROWN, np.array(BROWN) * 1.1] * 6
        assert np.ptp(self.light(flicker).factor[4:8, 0]) < 0.3 * np.ptp(
            linear(flicker)[:, 0] / linear(flicker)[:, 0].mean()
        )
        dark = tuple(0.3 * np.array(BROWN))
        got = self.light([BROWN] * 6 + [dark] * 6, cuts=(6,))
        for rows in (slice(0, 6), slice(6, 12)):
            np.testing.assert_allclose(np.ptp(got.factor[rows], axis=0), 0, atol=1e-6)
        assert got.factor[6, 0] < 0.2 * got.factor[5, 0]

    def test_frames_with_little_hair_tell_little(self) -> None:
        green = (0.1, 0.6, 0.1)
        got = self.light([BROWN, BROWN, green, BROWN, BROWN], [0.2, 0.2, 1e-4, 0.2, 0.2])
        np.testing.assert_allclose(got.factor, 1, atol=0.05)

    def test_no_hair_at_all_gives_numbers(self) -> None:
        got = self.light([(0.0, 0.0, 0.0)] * 4, [0.0] * 4)
        assert np.isfinite(got.lab).all() and (got.factor == 1).all()


FAIR, DARK = (0.36, 0.22, 0.16), (0.05, 0.028, 0.02)
WHITE = (0.26, 0.21, 0.19)


class TestClipLight:
    """Faces of 160 pixels, whose eyes are large enough to be seen."""

    SIZE = 200
    WINDOW = HairWindow(0, 0, 1, SIZE, SIZE, 160.0)

    def track(self) -> FaceTrack:
        track = face_track([None, (100.0, 110.0, 60.0), (98.0, 108.0, 60.0)], Box(16, 22, 168))
        for mesh in track.mesh[1:]:
            for eye, iris in ((EYE_LEFT, IRIS_LEFT), (EYE_RIGHT, IRIS_RIGHT)):
                middle = mesh[list(eye)].mean(0)
                ring = [[0, 0], [1.5, 0], [0, 1.5], [-1.5, 0], [0, -1.5]]
                mesh[list(iris)] = middle + np.array(ring, np.float32)
        return track

    def light(self, skin: Any, white: Any = None, times: Any = 1.0) -> Floats:
        track = self.track()
        pixels = np.full((3, self.SIZE, self.SIZE, 3), (10, 200, 10), np.uint8)
        for k in (1, 2):
            face = face_part(MIDDLE, track, range(k, k + 1), self.WINDOW)[0, 0].numpy()
            pixels[k][face > 0.05] = levels(np.array(skin) * times)
            for eye in (EYE_LEFT, EYE_RIGHT):
                lids = polygon_mask(track.mesh[k][list(eye)], self.SIZE, self.SIZE) > 0
                pixels[k][lids] = levels(np.array(white or skin) * times)
        found = clip_light(InMemory(Frames.of_pixels(pixels)), InMemory(track), self.WINDOW)
        return found.factor

    def test_a_clip_that_is_well_lit_by_day_is_as_it_is(self) -> None:
        np.testing.assert_allclose(self.light(FAIR, WHITE), 1, atol=0.08)

    @pytest.mark.parametrize("times", [0.25, 0.5])
    def test_it_is_as_much_darker_as_the_face(self, times: float) -> None:
        whole, less = self.light(FAIR, WHITE), self.light(FAIR, WHITE, times)
        np.testing.assert_allclose(less / whole, times, rtol=0.06)

    def test_dark_skin_is_not_taken_for_shade(self) -> None:
        np.testing.assert_allclose(self.light(DARK, WHITE), self.light(FAIR, WHITE), rtol=0.15)
        assert self.light(DARK).max() < 0.5  # where no white is seen it cannot be told

    def test_lamps_and_shade_have_the_color_that_the_eyes_take(self) -> None:
        day = self.light(FAIR, WHITE)
        warm, cool = (self.light(FAIR, WHITE, times) for times in ([1.2, 1, 0.7], [0.85, 1, 1.25]))
        assert (warm / day)[0] > 1.01 and (warm / day)[2] < 0.8
        assert (cool / day)[0] < 0.99 and (cool / day)[2] > 1.1

    def test_it_is_bounded_and_there_without_a_face(self) -> None:
        for skin in ((0.003, 0.001, 0.9), (1, 1, 1), (0, 0, 0)):
            strange = self.light(skin)
            assert np.isfinite(strange).all()
            assert (strange <= EXPOSED[1] * MOST_TINTED[1] + 1e-5).all()
            assert (strange >= EXPOSED[0] * MOST_TINTED[0] - 1e-5).all()
        nobody = face_track([None] * 3, Box(12.4, 16.6, 39.2))
        frames = Frames.of_pixels(np.full((3, 64, 64, 3), 90, np.uint8))
        window = HairWindow(0, 0, 1, 64, 64, 39.2)
        assert clip_light(InMemory(frames), InMemory(nobody), window).factor.tolist() == [1, 1, 1]


class TestWhitesOfEyes:
    def test_small_eyes_and_those_outside_the_frame_tell_nothing(self) -> None:
        picture = np.full((64, 64, 3), 128, np.uint8)
        assert not list(whites_of_eyes(picture, face_mesh(32, 32, 12)))
        assert not list(whites_of_eyes(picture, face_mesh(500, 500, 60)))
        assert len(list(whites_of_eyes(picture, face_mesh(32, 32, 60)))) == 2

    def test_the_iris_and_the_lashes_are_left_out(self) -> None:
        mesh = face_mesh(100, 110, 100)
        middle = mesh[list(EYE_LEFT)].mean(0)
        mesh[list(IRIS_LEFT)] = middle + np.array([[0, 0], [4, 0], [0, 4], [-4, 0], [0, -4]])
        picture = np.full((200, 200, 3), 180, np.uint8)
        y, x = np.mgrid[:200, :200] + 0.5
        picture[np.hypot(x - middle[0], y - middle[1]) < 4] = (90, 160, 250)
        picture[y < middle[1] - 2.5] = 20
        found, _ = whites_of_eyes(picture, mesh)
        np.testing.assert_allclose(found, linear([180 / 255] * 3), rtol=0.02)


class TestTints:
    def skin(self, hue_deg: float) -> Floats:
        angle = np.deg2rad(hue_deg)
        color = torch.tensor([65.0, 24 * np.cos(angle), 24 * np.sin(angle)]).float()
        return linear(lab_to_rgb(color, dim=0).numpy())

    def test_skin_of_the_usual_hue_is_in_daylight(self) -> None:
        np.testing.assert_allclose(tint_of_skin(self.skin(52)), 1, atol=0.02)

    def test_yellow_skin_is_in_warmer_light_than_pink_skin(self) -> None:
        yellow, pink = (
            tint_of_skin(linear(rgb)) for rgb in ((0.78, 0.63, 0.35), (0.78, 0.55, 0.63))
        )
        assert yellow[2] < 0.95 < 1.05 < pink[2]

    def test_white_by_day_has_no_tint(self) -> None:
        for hue in (30, 52, 70):
            tint = tint_of_white(np.array([0.25, 0.2, 0.18]), self.skin(hue))
            np.testing.assert_allclose(tint, 1, atol=1e-3)

    def test_its_blue_tells_more_than_its_red_which_lids_add_to(self) -> None:
        more_red, less_blue = (
            tint_of_white(np.array(w), self.skin(52)) for w in ([0.5, 0.2, 0.18], [0.25, 0.2, 0.09])
        )
        assert 1.02 < more_red[0] / more_red[1] < 1.1
        assert less_blue[2] / less_blue[1] < 0.6
        for tint in (more_red, less_blue):
            assert abs(tint @ [0.2126, 0.7152, 0.0722] - 1) < 1e-6

    def test_red_counts_as_far_as_skin_agrees(self) -> None:
        def red(white: float, hue: float) -> float:
            tint = tint_of_white(np.array([white, 0.2, 0.18]), self.skin(hue))
            return float(tint[0] / tint[1])

        assert 1.1 < red(0.4, 35) < 1.3 and 0.8 < red(0.2, 70) < 0.95
        assert red(0.27, 35) == pytest.approx(0.27 / 0.25, rel=1e-3)  # no further than the white
        assert abs(red(0.4, 70) - 1) < 0.05 and abs(red(0.2, 35) - 1) < 0.05


def test_well_lit_is_within_what_is_believed() -> None:
    assert EXPOSED[0] < 1 < EXPOSED[1] and 0 < WELL_LIT < 1
