"""How steady a drawing is, on small pictures whose motion is known."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from vidhair.metrics.drawing import POPS, Steadiness, SteadinessMeter

Levels = NDArray[np.uint8]
COUNT = 5


def wall(size: int = 64) -> Levels:
    """Something to hold on to: soft spots."""
    coarse = np.random.default_rng(1).integers(60, 190, (size // 8, size // 8, 3))
    return np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)


def noisy(picture: Levels, noise: float, seed: int) -> Levels:
    grain = np.random.default_rng(seed).normal(0, noise, picture.shape)
    return np.rint(picture + grain).clip(0, 255).astype(np.uint8)


def measured(source: Sequence[Levels], drawn: Sequence[Levels], *cuts: int) -> Steadiness:
    meter = SteadinessMeter()
    for index, pair in enumerate(zip(source, drawn, strict=True)):
        if index in cuts:
            meter.cut()
        meter.add(*pair)
    return meter.result()


def clip(noise: float, first: int = 0) -> list[Levels]:
    return [noisy(wall(), noise, first + n) for n in range(COUNT)]


def test_a_clip_is_as_steady_as_itself() -> None:
    found = measured(clip(2), clip(2))
    assert found.change == found.at_rest == 1 and found.pops == 0
    assert 1.5 < found.source == found.drawn < 4


def test_what_boils_more_than_its_source_is_told() -> None:
    found = measured(clip(2), clip(6, 50))
    assert 2.2 < found.change < 3.5 and 2.2 < found.at_rest < 3.5
    assert measured(clip(2), [wall()] * COUNT).change < 0.15


def test_motion_is_no_change() -> None:
    """What moves along with the source is as steady as what rests."""
    moving = [np.roll(frame, 2 * n, 1) for n, frame in enumerate(clip(2))]
    drawn = [np.roll(np.invert(wall()), 2 * n, 1) for n in range(COUNT)]
    resting = [np.invert(wall())] * COUNT
    assert measured(moving, drawn).change < 0.4 * measured(moving, resting).change


def test_a_place_that_jumps_is_counted() -> None:
    drawn = clip(2)
    for frame in drawn[::2]:
        frame[:16, :32] = frame[:16, :32] // 2 + 120
    found = measured(clip(2), drawn)
    assert found.pops == pytest.approx(1 / 8, abs=0.03) and POPS > 10


def test_over_a_cut_nothing_is_compared() -> None:
    source = clip(2) + [np.invert(frame) for frame in clip(2)]
    drawn = clip(2) + [(frame // 3).astype(np.uint8) for frame in clip(2)]
    assert measured(source, drawn, COUNT).change < 1.05 < measured(source, drawn).drawn


def test_one_frame_tells_nothing() -> None:
    found = measured(clip(2)[:1], clip(2)[:1])
    assert np.isnan([found.change, found.at_rest, found.pops, found.drawn]).all()
