"""The yardsticks, on pictures whose distance is known."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from vidhair.metrics import color_difference, color_progress, flicker, lpips, mean_lab, psnr
from vidhair.models.perceptual import FeatureDistance


def plain(*levels: int) -> NDArray[Any]:
    """One grey frame per level."""
    return np.stack([np.full((4, 6, 3), level, np.uint8) for level in levels])


def ones(count: int) -> NDArray[Any]:
    return np.ones((count, 4, 6), np.float32)


def test_psnr_of_a_known_error() -> None:
    assert psnr(plain(100, 50), plain(100, 50)) == float("inf")
    assert psnr(plain(100, 50), plain(110, 60)) == pytest.approx(20 * np.log10(25.5))


def test_psnr_looks_only_where_there_is_weight() -> None:
    a, b, weight = plain(10), plain(10), ones(1)
    b[0, :, :3] = 200
    assert psnr(a, b) < 10
    weight[0, :, :3] = 0
    assert psnr(a, b, weight) == float("inf")
    assert np.isnan(psnr(a, b, weight * 0))


def test_lpips_compares_pictures_from_minus_one_to_one() -> None:
    def l1(got: Tensor, want: Tensor, mask: Any = None) -> Tensor:
        assert mask is None and got.shape == want.shape == (1, 3, 4, 6)
        return (got - want).abs().mean()

    assert lpips(plain(0, 51), plain(255, 102), l1) == pytest.approx((2 + 0.4) / 2)


def test_lpips_looks_only_where_there_is_weight() -> None:
    """A frame counts by its weight; features of single pixels see no farther than the mask."""
    distance = FeatureDistance(lambda x: [x])
    a, b, weight = plain(10, 10), plain(10, 240), ones(2)
    opposite = lpips(a[1:], b[1:], distance)
    assert opposite == pytest.approx(4, abs=1e-3)
    assert lpips(a, b, distance) == pytest.approx(opposite / 2)
    assert lpips(a, b, distance, weight) == pytest.approx(opposite / 2)
    weight[1, :, :3] = 0
    assert lpips(a, b, distance, weight) == pytest.approx(opposite / 3)
    a[1, :, :3] = 240
    assert lpips(a[1:], b[1:], distance) == pytest.approx(opposite / 2, abs=1e-3)
    assert lpips(a[1:], b[1:], distance, weight[1:]) == pytest.approx(opposite)
    assert np.isnan(lpips(a, b, distance, weight * 0))


def test_color_difference_of_black_and_white_is_a_hundred() -> None:
    assert color_difference(plain(0), plain(255), ones(1)) == pytest.approx(100, abs=0.1)
    assert color_difference(plain(77), plain(77), ones(1)) == 0


def test_mean_lab_of_half_black_and_half_white() -> None:
    frames, weight = plain(0), ones(1)
    frames[0, :, :3] = 255
    np.testing.assert_allclose(mean_lab(frames, weight), [50, 0, 0], atol=0.05)
    weight[0, :, 3:] = 0
    np.testing.assert_allclose(mean_lab(frames, weight), [100, 0, 0], atol=0.05)


def test_color_progress_counts_the_way_not_the_side() -> None:
    before, target = np.array([20.0, 0, 0]), np.array([60.0, 0, 0])
    assert color_progress(before, np.array([40.0, 9, -9]), target) == pytest.approx(0.5)
    assert color_progress(before, before, target) == 0


def test_flicker_of_a_still_and_of_a_blinking_clip() -> None:
    assert flicker(plain(90, 90, 90), ones(3)) == 0
    once, twice = flicker(plain(90, 100, 90), ones(3)), flicker(plain(90, 110, 90), ones(3))
    assert 1.5 * once < twice < 2.5 * once
    hidden = ones(3)
    hidden[1] = 0
    assert np.isnan(flicker(plain(90, 110, 90), hidden))
