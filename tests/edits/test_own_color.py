"""Hair of somebody else in a person's own colors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.stages.photos import photo
from tests.stages.series import InMemory
from vidhair.edits.own_color import in_colors, in_own_color, shifted
from vidhair.imaging.color import levels_to_lab
from vidhair.stages.hair_look import LEAST, SHARES, HairLook
from vidhair.stages.matte import HairTone
from vidhair.stages.photo import PhotoHair

MEAN = np.array([20, 5, 8], np.float32)


def palette(low: float, high: float) -> NDArray[np.float32]:
    """From dark and dull to light and yellow."""
    share = np.linspace(0, 1, len(SHARES))
    columns = low + (high - low) * share, np.full_like(share, 5), 2 + 20 * share
    return np.stack(columns, 1).astype(np.float32)


def lab_of(given: PhotoHair) -> NDArray[np.float32]:
    """Of the hair alone, [n, 3]."""
    hair = given.levels[given.alpha > 250]
    return levels_to_lab(torch.from_numpy(hair)[None, None])[0, :, 0].numpy().T


def test_strands_are_as_light_as_a_persons_own_and_in_the_same_order() -> None:
    given = photo()
    found = in_colors(given, palette(10, 40))
    before, after = lab_of(given), lab_of(found)
    quantiles = np.quantile(after[:, 0], SHARES)
    np.testing.assert_allclose(quantiles, palette(10, 40)[:, 0], atol=2)
    assert np.corrcoef(before[:, 0], after[:, 0])[0, 1] > 0.9
    assert (found.alpha == given.alpha).all() and found.lit


def test_highlights_have_their_own_hue() -> None:
    after = lab_of(in_colors(photo(), palette(10, 60)))
    light, dark = after[after[:, 0] > 55], after[after[:, 0] < 15]
    assert light[:, 2].mean() > 17 and dark[:, 2].mean() < 8


def test_hair_of_one_tone_stays_so() -> None:
    after = lab_of(in_colors(photo(), np.tile(MEAN, (len(SHARES), 1))))
    assert np.ptp(np.quantile(after[:, 0], [0.05, 0.95])) < 3


def test_hair_that_was_dyed_has_the_dyes_mean_and_its_own_strands() -> None:
    own = palette(10, 40)
    blonde, black = np.array([[60, 5, 8], [5, 0, 0]], np.float32)
    lighter, darker = shifted(own, blonde), shifted(own, black)
    assert lighter.mean(0) == pytest.approx(blonde)
    assert np.ptp(lighter[:, 0]) == pytest.approx(30) and np.ptp(darker[:, 0]) < 15
    assert darker[:, 0].min() >= 0


@pytest.mark.parametrize("area", [0.0, LEAST / 2, 0.1])
def test_the_color_is_the_mean_of_all_frames_if_enough_is_seen(area: float) -> None:
    given, look = photo(), HairLook(0.1, palette(10, 40), 1.0)
    tone = HairTone(np.array([area, area, 0], np.float32), np.stack([MEAN + 2, MEAN - 2, 9 * MEAN]))
    found = in_own_color(given, look, InMemory(tone))
    own = look.palette if area < LEAST else shifted(look.palette, MEAN)
    assert np.array_equal(found.levels, in_colors(given, own).levels)
    nothing = replace(look, area=0.0, palette=0 * look.palette)
    assert in_own_color(given, nothing, InMemory(tone)) is given
