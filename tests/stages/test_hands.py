"""Where hands are, by their landmarks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.stages.faces import clip_of, face_track
from tests.stages.hand import flat_hand
from tests.stages.series import InMemory
from vidhair.geometry import Box
from vidhair.media import open_clip
from vidhair.models.faces.landmarks import HAND_POINTS, HandMarks
from vidhair.stages.hands import AROUND, MOST, hands, hands_on, wider
from vidhair.stages.region import HairWindow
from vidhair.types import Frames

GRID = HairWindow(10, 20, 2, 60, 50, 40.0)


def nothing() -> NDArray[np.float32]:
    return np.full((MOST, HAND_POINTS, 2), np.nan, np.float32)


def test_a_hand_covers_its_palm_and_fingers() -> None:
    points = nothing()
    points[2] = flat_hand((60, 80), 60)
    cover = hands_on(points, GRID)
    assert cover.shape == (60, 50) and cover.max() == 1
    for mark in GRID.places(points[2]):
        x, y = mark.astype(int)
        assert cover[y, x] > 0.9
    gap = GRID.places((points[2, 4] + points[2, 8]) / 2).astype(int)
    assert cover[gap[1], gap[0]] == 0, "between thumb and finger"
    assert 0.05 < (cover > 0.5).mean() < 0.3


@pytest.mark.parametrize("middle", [(10, 20), (-500, 80), (60, 5000)])
def test_hands_at_the_border_and_beyond(middle: Any) -> None:
    points = nothing()
    points[0] = flat_hand(middle, 60)
    cover = hands_on(points, GRID)
    assert np.isfinite(cover).all() and (cover.any() == (middle == (10, 20)))


def test_where_no_hand_is_nothing_is_covered() -> None:
    assert not hands_on(nothing(), GRID).any()


def test_no_hands_in_noise() -> None:
    finder = HandMarks(MOST)
    noise = np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8)
    assert finder(noise).shape == (0, HAND_POINTS, 2)
    finder.close()


def test_what_is_looked_at_reaches_around_and_stays_in_the_frame() -> None:
    clip = clip_of(170, 2000, [0, 40])
    seen, reach = wider(GRID, clip), AROUND * GRID.side * GRID.step
    assert (seen.left, seen.top, seen.step) == (0, 0, GRID.step)
    bottom = seen.top + seen.step * seen.height
    assert bottom == pytest.approx(GRID.top + GRID.step * GRID.height + reach, abs=GRID.step)
    assert seen.left + seen.step * seen.width == clip.width


def test_hands_of_a_clip_lie_where_they_are_seen(shared: Any) -> None:
    with open_clip(shared("clips/lp_s20.mp4")) as reader:
        clip, pixels = reader.clip, reader.read(0, 3)
    face = 0.5 * clip.width, 0.33 * clip.height, 100.0
    track = face_track([face, None, face], Box(0.0, 0.0, 300.0))
    side = clip.width / 2
    window = HairWindow(0, 0, 2, int(0.6 * clip.height) // 2, clip.width // 2, side)
    given = InMemory(Frames.of_pixels(pixels)), InMemory(track), window
    found = hands(*given, clip, lambda done, note="": None).points
    first, second, third = (np.isfinite(marks).all((1, 2)).sum() for marks in found)
    assert (first, second, third) == (2, 0, 2), "none without the person"
    middles = np.sort(found[0, :2].mean(1) / (clip.width, clip.height), 0)
    np.testing.assert_allclose(middles, [[0.27, 0.68], [0.53, 0.68]], atol=0.05)
    cover = hands_on(found[0], replace(window, height=clip.height // 2)) > 0.5
    skin = pixels[0][::2, ::2][: len(cover), : cover.shape[1]][cover]
    assert (skin[:, 0] > skin[:, 2].astype(int) + 10).mean() > 0.8
