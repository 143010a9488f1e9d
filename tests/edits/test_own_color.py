"""Hair of somebody else in a person's own color."""

import numpy as np
import pytest

from tests.stages.photos import photo
from tests.stages.series import InMemory
from vidhair.edits.own_color import LEAST, in_color, in_own_color
from vidhair.stages.matte import HairTone

DARK = np.array([20, 5, 8], np.float32)


def test_it_keeps_its_strands() -> None:
    given = photo()
    dyed = in_color(given, DARK)
    hair = given.alpha > 250
    assert dyed.levels[hair].mean() < 0.7 * given.levels[hair].mean()
    assert dyed.levels[hair].std() > 3
    assert (dyed.alpha == given.alpha).all()


@pytest.mark.parametrize("area", [0.0, LEAST / 2, 0.1])
def test_the_color_is_the_mean_of_all_frames_if_enough_is_seen(area: float) -> None:
    given = photo()
    tone = HairTone(np.array([area, area, 0], np.float32), np.stack([DARK + 2, DARK - 2, 9 * DARK]))
    found = in_own_color(given, InMemory(tone))
    want = given if area < LEAST else in_color(given, DARK)
    assert np.array_equal(found.levels, want.levels)
