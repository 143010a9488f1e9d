"""How frames show things: their softness, noise, and smear of motion."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, gaussian_filter1d, uniform_filter1d

from vidhair.stages.photo_look import (
    _brought,
    hair_softness,
    line,
    noise_of,
    shutter,
    smeared,
    softness,
    stiller,
    taken,
    ways,
)


def test_a_photo_is_looked_up_without_aliasing() -> None:
    random = np.random.default_rng(1).uniform(0, 255, (120, 120, 5)).astype(np.float32)
    same = np.stack(np.meshgrid(np.arange(120.0), np.arange(120.0)), -1).astype(np.float32)
    np.testing.assert_allclose(taken(random, same), random, atol=1e-3)
    quarter = taken(random, np.ascontiguousarray(same[2::4, 2::4]))
    assert quarter.shape == (30, 30, 5)
    assert quarter[4:-4, 4:-4].std() < 0.4 * random.std()


class TestSharpness:
    SHARP = np.random.default_rng(2).uniform(0, 255, (80, 80)).astype(np.float32)
    MASK = np.ones((80, 80), bool)

    @pytest.mark.parametrize("sigma", [0.0, 0.7, 1.4])
    def test_the_blur_that_makes_a_photo_as_soft(self, sigma: float) -> None:
        soft = gaussian_filter(self.SHARP, sigma)
        assert softness(self.SHARP, soft, self.MASK, 0.0) == pytest.approx(sigma, abs=0.05)

    def test_a_softer_photo_is_left_alone(self) -> None:
        soft = gaussian_filter(self.SHARP, 2)
        assert softness(soft, self.SHARP, self.MASK, 0.0) == 0

    def test_noise_is_measured_where_nothing_else_is(self) -> None:
        noise = np.random.default_rng(3).normal(100, 3, (80, 80)).astype(np.float32)
        noise[:, 40:] = self.SHARP[:, 40:]
        assert noise_of(noise, self.MASK) == pytest.approx(3, abs=0.9)


class TestStrands:
    """Noise that is drawn out downwards, of any contrast."""

    HAIR = gaussian_filter1d(np.random.default_rng(5).normal(0, 90, (90, 90)), 6, axis=0)
    MASK = np.ones((90, 90), bool)

    @pytest.mark.parametrize("sigma", [0.0, 0.7, 1.4])
    def test_a_photo_is_made_as_soft_whatever_its_contrast(self, sigma: float) -> None:
        photo = self.HAIR.astype(np.float32)
        frame = 0.4 * gaussian_filter(photo, sigma)
        found = hair_softness(photo, self.MASK, frame, self.MASK, 0.0)
        assert found == pytest.approx(sigma, abs=0.1)

    def test_noise_is_no_strand(self) -> None:
        photo = self.HAIR.astype(np.float32)
        noise = np.random.default_rng(6).normal(0, 2, photo.shape)
        frame = (gaussian_filter(photo, 1.2) + noise).astype(np.float32)
        found = hair_softness(photo, self.MASK, frame, self.MASK, 2.0)
        assert found == pytest.approx(1.2, abs=0.3)

    def test_too_little_hair_tells_nothing(self) -> None:
        few = np.zeros((90, 90), bool)
        few[:5, :5] = True
        photo = self.HAIR.astype(np.float32)
        assert hair_softness(photo, self.MASK, photo, few, 0.0) is None


class TestMotion:
    STILL = gaussian_filter(np.random.default_rng(7).uniform(0, 255, (90, 90)), 0.8).astype(
        np.float32
    )
    MASK = np.zeros((90, 90), bool)
    MASK[12:-12, 12:-12] = True

    def test_a_line_is_a_mean_around_its_middle(self) -> None:
        for way in ([6.0, 0.0], [-3.0, 4.5], [0.3, -9.0]):
            kernel = line(np.array(way))
            places = np.indices(kernel.shape) - len(kernel) // 2
            assert kernel.sum() == pytest.approx(1, abs=1e-5)
            np.testing.assert_allclose((kernel * places).sum((1, 2)), 0, atol=1e-4)
            spread = np.sqrt((kernel * places**2).sum((1, 2)))[::-1]
            np.testing.assert_allclose(spread, np.abs(way) / np.sqrt(12), atol=0.45)

    def test_a_smear_is_that_of_a_box(self) -> None:
        found = smeared(self.STILL, np.array([4.0, 0.0]))
        wanted = uniform_filter1d(gaussian_filter1d(self.STILL, 0.4, axis=1), 5, axis=1)
        assert np.abs(found - wanted)[self.MASK].mean() < 0.25 * np.abs(found - self.STILL).mean()

    def test_what_hardly_moves_stays_bit_for_bit(self) -> None:
        assert smeared(self.STILL, np.array([0.4, 0.3])) is self.STILL

    @pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
    def test_the_shutter_is_found(self, share: float) -> None:
        way = np.array([7.0, 3.0])
        moving = 0.7 * smeared(self.STILL, share * way)
        assert shutter(self.STILL, moving, self.MASK, way) == pytest.approx(share, abs=0.06)

    def test_ways_end_at_cuts(self) -> None:
        places = np.array([[0, 0], [2, 0], [4, 1], [90, 0], [91, 0]], float)
        begins = np.array([True, False, False, True, False])
        found = ways(places, np.array([True] * 5), begins)
        np.testing.assert_allclose(found[:, 0], [2, 2, 2, 1, 1])
        np.testing.assert_allclose(found[:, 1], [0, 0.5, 1, 0, 0])

    def test_the_stillest_frame_that_is_usable(self) -> None:
        speed = np.array([5.0, 0.1, 9.0, 2.0])
        assert stiller(2, speed, np.array([True, False, True, True])) == 3

    def test_a_picture_is_brought_to_other_points(self) -> None:
        points = np.array([[20, 20], [70, 25], [40, 60]], np.float32)
        found = _brought(self.STILL, points, points + np.array([3, -2], np.float32))
        np.testing.assert_allclose(found[20:60, 20:60], self.STILL[22:62, 17:57], atol=1e-2)
