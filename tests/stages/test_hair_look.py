"""What own hair looks like: its colors by lightness, and how curly it is."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.stages.faces import face_track
from tests.stages.series import InMemory
from vidhair.geometry import Box
from vidhair.imaging.color import luma
from vidhair.models.faces.landmarks import BROWS
from vidhair.stages.hair_look import (
    CURLY,
    SHARES,
    HairLook,
    agreement,
    brow_colors,
    hair_look,
    palette_of,
)
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.synthetic import wigs
from vidhair.synthetic.strands import STRAND_STYLES, StrandStyle
from vidhair.synthetic.wigs import wig
from vidhair.types import Frames

SIDE = 260.0  # of the face's crop on a picture of strands of half its usual size


def random() -> np.random.Generator:
    return np.random.default_rng(3)


class TestPalette:
    def test_it_is_sorted_by_lightness_and_knows_highlights(self) -> None:
        dark, gold = np.array([20, 4, 6.0]), np.array([60, 6, 30.0])
        lab = np.where(random().random((4000, 1)) < 0.25, gold, dark)
        lab += random().normal(0, 1, lab.shape)
        found = palette_of(lab.astype(np.float32))
        assert found.shape == (len(SHARES), 3) and (np.diff(found[:, 0]) >= 0).all()
        np.testing.assert_allclose(found[2], dark, atol=3)
        np.testing.assert_allclose(found[-2], gold, atol=3)

    def test_a_scarf_among_it_leaves_no_other_hue(self) -> None:
        hair = random().normal([16, 1, 3], [6, 1, 1], (3000, 3))
        scarf = random().normal([34, -14, 2], 1, (300, 3))
        found = palette_of(np.concatenate([hair, scarf]).astype(np.float32))
        assert found[-1, 0] > 25 and found[:, 1].min() > -4

    def test_a_shadow_among_fair_hair_makes_no_black_strands(self) -> None:
        hair, shadow = random().normal([75, 4, 20], 4, (3000, 3)), random().normal(12, 2, (300, 3))
        found = palette_of(np.concatenate([hair, shadow]).astype(np.float32))
        assert found[0, 0] > 50

    def test_grey_strands_stay_without_color(self) -> None:
        lab = random().uniform(20, 80, (3000, 1)) * [1, 0, 0] + random().normal(0, 0.3, (3000, 3))
        assert np.abs(palette_of(lab.astype(np.float32))[:, 1:]).max() < 0.5


def rendered(style: StrandStyle) -> float:
    """The agreement of rendered strands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wigs, "SIZE", (360, 450))
        made = wig(replace(style, count=14000, width=0.005))
    return agreement(luma(made.levels), made.alpha > 0.95, SIDE)


@pytest.mark.parametrize("name", ["curly", "afro"])
def test_rendered_curls_are(name: str) -> None:
    style = STRAND_STYLES[name]
    straight = replace(style, curl=0.0, wave=0.0, frizz=0.002, part=0.0, weight=0.5)
    assert rendered(style) < CURLY < rendered(straight)


@pytest.mark.parametrize("name", ["crop", "bob"])
def test_rendered_hair_without_curls_is_not(name: str) -> None:
    assert rendered(STRAND_STYLES[name]) > CURLY


def test_noise_and_too_little_hair_tell_nothing() -> None:
    light = (20 + random().normal(0, 0.5, (200, 200))).astype(np.float32)
    everywhere = np.ones((200, 200), bool)
    assert np.isnan(agreement(light, everywhere, 200.0))
    waves = 100 + 50 * np.sin(np.arange(200))
    strands = np.tile(waves.astype(np.float32), (200, 1))
    assert agreement(strands, everywhere, 200.0) > 0.9
    assert np.isnan(agreement(strands, everywhere & (np.arange(200) < 9), 200.0))


def seen(levels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> HairLook:
    """Of frames [T, 40, 40, 3] with hair [T, 40, 40]."""
    count = len(alpha)
    numbers = np.zeros(count, np.float32), np.zeros((count, 3), np.float32)
    track = face_track([(20.0, 20.0, 8.0)] * count, Box(0, 0, 40.0))
    return hair_look(
        InMemory(Frames.of_pixels(levels)), InMemory(Matte(alpha, *numbers)), InMemory(track),
        HairWindow(0, 0, 1, 40, 40, 40.0),
    )  # fmt: skip


def test_a_clip_has_one_look_of_all_its_frames() -> None:
    levels = np.full((3, 40, 40, 3), 200, np.uint8)
    alpha = np.zeros((3, 40, 40), np.uint8)
    levels[:, :10], alpha[:, :10] = 40, 255
    levels[2, :10] = 80
    found = seen(levels, alpha)
    assert found.area == pytest.approx(0.25) and not found.curly
    light = found.palette[:, 0]
    assert light[0] == pytest.approx(16, abs=1.5) and light[-1] == pytest.approx(34, abs=1.5)


def test_nobodys_hair_has_no_look() -> None:
    found = seen(np.full((1, 40, 40, 3), 90, np.uint8), np.zeros((1, 40, 40), np.uint8))
    assert found.area == 0 and found.agree == 1 and not (found.curly or found.wavy)


def test_of_brows_the_darkest_tell_the_color() -> None:
    picture, mesh = np.full((60, 80, 3), 200, np.uint8), np.zeros((478, 2), np.float32)
    for brow, x in zip(BROWS, (20, 60), strict=True):
        turn = np.arange(len(brow)) / len(brow) * 2 * np.pi
        mesh[list(brow)] = np.stack([x + 12 * np.cos(turn), 30 + 6 * np.sin(turn)], -1)
    picture[28:33] = (75, 30, 30)
    found = brow_colors(picture, mesh)
    assert len(found) > 50 and np.ptp(found[:, 0]) < 1 and 14 < found[0, 0] < 22
    assert found[:, 1].max() < 6, "skin that shines through is redder"
