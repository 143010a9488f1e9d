"""Texture that goes on in blocks of what is seen of it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidhair.imaging.quilting import direction, gone_on, hanging_blocks, quilted

SIZE = 120, 80


def stripes(degrees: float, period: float = 5.0) -> NDArray[Any]:
    """Lines that run so many degrees off the vertical, [1, h, w], and a little noise."""
    rows, columns = np.indices(SIZE)
    angle = np.deg2rad(degrees)
    across = columns * np.cos(angle) + rows * np.sin(angle)
    noise = np.random.default_rng(0).normal(0, 0.05, SIZE)
    return (np.sin(2 * np.pi * across / period) + noise)[None].astype(np.float32)


def rows_of(top: int, bottom: int) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE, bool)
    mask[top:bottom] = True
    return mask


@pytest.mark.parametrize("degrees", [-40, 0, 25])
def test_the_direction_of_lines(degrees: float) -> None:
    found = direction(stripes(degrees)[0], 4.0)[20:-20, 20:-20]
    assert abs(np.median(found) - degrees) < 6


def test_blocks_hang_whatever_way_lines_run() -> None:
    for degrees in (0, 50):
        blocks = hanging_blocks(stripes(degrees), rows_of(0, 120), 12)
        assert len(blocks) >= 20 and blocks.shape[1:] == (1, 36, 12)
        off = [np.median(np.abs(direction(block[0], 3.0)[8:-8, 3:-3])) for block in blocks]
        assert np.median(off) < 15


def test_lines_go_on_with_their_contrast_and_without_steps() -> None:
    picture, seen, wanted = stripes(0), rows_of(0, 60), rows_of(60, 115)
    found = quilted(picture, seen, wanted, hanging_blocks(picture, seen, 12))
    assert np.array_equal(found[:, :60], picture[:, :60]) and not found[:, 115:].any()
    below = found[0, 62:113]
    assert below.std() > 0.85 * picture.std()
    down, across = (np.abs(np.diff(below, axis=axis)).mean() for axis in (0, 1))
    assert down < 0.3 * across
    again = quilted(picture, seen, wanted, hanging_blocks(picture, seen, 12))
    assert np.array_equal(found, again)


def test_what_is_seen_too_little_of_does_not_go_on() -> None:
    assert gone_on(stripes(0), rows_of(0, 8), rows_of(8, 60), (24, 12)) is None
    assert gone_on(stripes(0), rows_of(0, 60), rows_of(60, 90), (60, 12)) is not None
