"""Motion of textures that are moved by hand, and means along it."""

import sys
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vidhair.errors import VidhairError
from vidhair.imaging import motion
from vidhair.imaging.motion import fetch, flow, mean_along_motion
from vidhair.imaging.opencv import opencv

INNER = np.s_[12:-12, 12:-12]


def texture(seed: int = 0, size: int = 80) -> NDArray[Any]:
    """uint8 [S, S, 3]: soft spots in all colors."""
    noise = np.random.default_rng(seed).normal(size=(size, size, 3))
    spots = gaussian_filter(noise, (2, 2, 0))
    return np.clip(128 + 40 * spots / spots.std(), 0, 255).astype(np.uint8)


def moved(picture: NDArray[Any], right: int, down: int) -> NDArray[Any]:
    return np.roll(picture, (down, right), (0, 1))


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, 2), (-4, 3)])
def test_what_is_shifted_is_followed(right: int, down: int) -> None:
    start = texture()
    found = flow(start, moved(start, right, down))
    assert found.shape == (80, 80, 2) and found.dtype == np.float32
    error = np.abs(found[INNER] - [right, down])
    assert error.mean() < 0.15 and (error < 0.5).mean() > 0.97


def test_pictures_too_small_for_it_stand_still() -> None:
    start = texture(size=15)
    assert not flow(start, moved(start, 2, 0)).any()
    assert flow(texture(size=16), texture(1, size=16)).shape == (16, 16, 2)


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_fetching_reads_where_pixels_went(shape: tuple[int, int, int] | tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    motion = np.zeros((40, 50, 2), np.float32)
    motion[..., 0], motion[..., 1] = 3, -2
    got = fetch(values, motion)
    assert got.shape == values.shape
    np.testing.assert_allclose(got[2:, :-3], values[:-2, 3:], atol=1e-6)
    # Beyond the picture its border goes on.
    np.testing.assert_allclose(got[2:, -3:], np.repeat(values[:-2, -1:], 3, 1), atol=1e-6)
    motion[..., 0], motion[..., 1] = 0.5, 0
    half = (values[:, 1:] + values[:, :-1]) / 2
    np.testing.assert_allclose(fetch(values, motion)[:, :-1], half, atol=1e-5)


def mattes(count: int = 3) -> list[NDArray[Any]]:
    rng = np.random.default_rng(1)
    return [gaussian_filter(rng.random((80, 80)), 3).astype(np.float32) for _ in range(count)]


def test_what_was_looked_at_before_does_not_matter() -> None:
    """For small pictures OpenCV changes the settings of its solver, which keeps them."""
    start, end = (
        np.kron(t, np.ones((4, 4, 1), np.uint8)) for t in (texture(), moved(texture(), 3, -2))
    )
    flow(start[:24, :24], end[:24, :24])
    grey = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (start, end))
    new = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    assert np.array_equal(flow(start, end), new.calc(*grey, None))  # type: ignore[call-overload]


def test_of_still_frames_it_is_the_weighted_mean() -> None:
    values, still = mattes(), [texture()] * 3
    got = mean_along_motion(values, still, 0, 0.5)
    want = (values[0] + 0.5 * values[1] + 0.25 * values[2]) / 1.75
    np.testing.assert_allclose(got, want, atol=1e-4)
    same = mean_along_motion([values[0]] * 3, still, 1, 0.6)
    np.testing.assert_allclose(same, values[0], atol=1e-5)


def test_what_moves_keeps_its_value() -> None:
    (value,), picture = mattes(1), texture()
    frames = [moved(picture, 3 * k, -2 * k) for k in range(3)]
    values = [moved(value, 3 * k, -2 * k) for k in range(3)]
    got = mean_along_motion(values, frames, 1, 1.0)
    along = np.abs(got - values[1])[INNER].mean()
    standing = np.abs((values[0] + values[2]) / 2 - values[1])[INNER].mean()
    assert along < 0.1 * standing


def test_a_frame_that_shows_something_else_does_not_count() -> None:
    values, picture = mattes(2), texture()
    other = (255 - texture(5)).astype(np.uint8)
    got = mean_along_motion(values, [picture, other], 0, 1.0)
    assert np.abs(got - values[0]).max() < 0.2 * np.abs(values[1] - values[0]).max()
    assert np.abs(got - values[0]).mean() < 0.02 * np.abs(values[1] - values[0]).mean()


def test_nor_does_the_part_that_does() -> None:
    """What comes in front hides only what is behind it."""
    values, picture = mattes(2), texture()
    covered = picture.copy()
    covered[:, 40:] = (255, 0, 255)
    got = mean_along_motion(values, [picture, covered], 0, 1.0)
    np.testing.assert_allclose(got[:, 50:], values[0][:, 50:], atol=1e-3)
    both = (values[0] + values[1]) / 2
    np.testing.assert_allclose(got[:, 5:25], both[:, 5:25], atol=5e-3)


def test_without_weight_nothing_else_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    values = mattes()
    monkeypatch.setattr(motion, "flow", None)
    got = mean_along_motion(values, [texture()] * 3, 1, 0.0)
    assert np.array_equal(got, values[1]) and got is not values[1]


def test_only_what_lies_around_the_values_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [np.zeros((120, 160), np.float32) for _ in range(2)]
    values[0][60:70, 52:60], values[1][62:70, 52:66] = 0.5, 1
    seen: list[tuple[int, ...]] = []
    real = motion.flow

    def flow(start: NDArray[Any], end: NDArray[Any]) -> NDArray[Any]:
        seen.append(start.shape)
        return real(start, end)

    monkeypatch.setattr(motion, "flow", flow)
    still = [np.resize(texture(), (120, 160, 3))] * 2
    got = mean_along_motion(values, still, 0, 1.0)
    margin = 2 * motion.SURROUNDINGS
    assert seen == [(10 + margin, 14 + margin, 3)]
    np.testing.assert_allclose(got, (values[0] + values[1]) / 2, atol=0.02)
    nothing = [np.zeros((9, 9), np.float32)] * 2
    assert not mean_along_motion(nothing, [np.zeros((9, 9, 3), np.uint8)] * 2, 0, 1.0).any()


def test_given_values_are_left_as_they_are() -> None:
    values = mattes()
    before = [value.copy() for value in values]
    mean_along_motion(values, [texture()] * 3, 1, 0.5)
    assert all(map(np.array_equal, values, before))


@pytest.mark.parametrize("there", [None, ModuleType("cv2")])
def test_without_opencv_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, there: Any) -> None:
    """None: it does not load; an empty module: MediaPipe was imported without it."""
    monkeypatch.setitem(sys.modules, "cv2", there)
    opencv.cache_clear()
    try:
        with pytest.raises(VidhairError, match=r"OpenCV.*does not load.*libgl1.*matte\.smooth = 0"):
            flow(texture(), texture())
    finally:
        opencv.cache_clear()
