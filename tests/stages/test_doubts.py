"""Mattes that are wrong in a known way, and others that only look so."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.stages.faces import face_track
from tests.stages.series import InMemory
from vidhair.geometry import Box, CropAxes
from vidhair.imaging.color import levels_to_lab
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.doubts import (
    ALIKE,
    CHEEKS,
    EAR,
    Doubts,
    alike,
    doubts,
    loose,
    overlap,
    skin_of_ears,
)
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.types import Frames

SIZE = 192
TRACK = face_track([(96.0, 100.0, 40.0)], Box(40.0, 39.0, 112.0))
AXES = CropAxes(TRACK.axes.centre[0], TRACK.axes.x[0])
SKIN, HAIR, WALL = (200, 150, 125), (60, 44, 34), (120, 140, 170)
WINDOW = HairWindow(0, 0, 1, SIZE, SIZE, 112.0)


def mesh() -> NDArray[Any]:
    return TRACK.mesh[0].copy()


def scene(hair: Any = HAIR, wall: Any = WALL) -> tuple[NDArray[Any], NDArray[Any]]:
    """(uint8 [H, W, 3], the matte [H, W]): a face with ears, and hair above and beside."""
    picture = np.tile(np.array(wall, np.uint8), (SIZE, SIZE, 1))
    alpha = np.zeros((SIZE, SIZE), np.float32)
    alpha[30:88, 56:136] = 1
    face = polygon_mask(ring(0.27, 0.36), SIZE, SIZE) > 0.5
    alpha[face & (np.arange(SIZE)[:, None] > 74)] = 0
    picture[alpha > 0.5] = hair
    picture[face & (alpha < 0.5)] = SKIN
    for rows, columns in ears():
        picture[rows, columns], alpha[rows, columns] = SKIN, 0
    noise = np.random.default_rng(0).integers(-8, 9, (SIZE, SIZE, 1))
    return (picture + noise).clip(0, 255).astype(np.uint8), alpha


def ring(wide: float, high: float) -> NDArray[Any]:
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    reach = 2 * np.stack([wide * np.cos(turn), high * np.sin(turn)], 1)
    return AXES.centre + reach * AXES.side / 2


def ears() -> list[tuple[slice, slice]]:
    """Where `skin_of_ears` looks."""
    found = []
    for cheek in CHEEKS:
        x, y = mesh()[cheek]
        wide, high = (half * float(AXES.side) for half in EAR)
        x += np.sign(x - AXES.centre[0]) * wide
        found.append(
            (slice(int(y - high), int(y + high) + 1), slice(int(x - wide), int(x + wide) + 1))
        )
    return found


def lab(picture: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = levels_to_lab(torch.from_numpy(picture[None].copy()))[0].numpy()
    return found


class TestEars:
    def share(self, picture: NDArray[Any], alpha: NDArray[Any]) -> float:
        return skin_of_ears(lab(picture), alpha, mesh(), AXES)

    def test_an_ear_under_the_matte_is_seen(self) -> None:
        picture, alpha = scene()
        assert self.share(picture, alpha) < 0.05
        rows, columns = ears()[0]
        alpha[rows, columns] = 1
        assert self.share(picture, alpha) > 0.9

    def test_hair_over_an_ear_is_hair(self) -> None:
        picture, alpha = scene()
        for rows, columns in ears():
            alpha[rows, columns], picture[rows, columns] = 1, picture[40:41, 60:61]
        assert self.share(picture, alpha) == 0

    def test_of_hair_like_skin_nothing_is_said(self) -> None:
        picture, alpha = scene(hair=(190, 148, 120))
        for rows, columns in ears():
            alpha[rows, columns] = 1
        assert self.share(picture, alpha) == 0

    def test_without_hair_or_face_there_is_none(self) -> None:
        picture, alpha = scene()
        assert self.share(picture, 0 * alpha) == self.share(picture, 0 * alpha + 1) == 0


class TestLoose:
    def test_what_hangs_on_no_hair_below_the_chin_is_counted(self) -> None:
        _, alpha = scene()
        assert loose(alpha, mesh(), AXES) == 0
        alpha[160:180, 80:120] = 1
        assert loose(alpha, mesh(), AXES) == pytest.approx(800 / alpha.sum())

    def test_long_hair_and_what_is_above_the_chin_are_not(self) -> None:
        _, alpha = scene()
        alpha[60:185, 50:58] = 1
        alpha[100:110, 150:160] = 1
        assert loose(alpha, mesh(), AXES) == 0


class TestAlike:
    @pytest.mark.parametrize(
        ("wall", "low", "high"),
        [(WALL, 0, 0), ((66, 48, 38), 0.5, 1), ((30, 80, 40), 0, 0.1), ((235, 235, 235), 0, 0)],
    )
    def test_a_wall_of_the_hairs_color_is_seen(self, wall: Any, low: float, high: float) -> None:
        picture, alpha = scene(wall=wall)
        assert low <= alike(lab(picture), alpha, AXES) <= high

    def test_overlap_is_of_colors_and_of_their_spread(self) -> None:
        random = np.random.default_rng(0)
        a, b = random.normal(0, 5, (2, 3, 4000)).astype(np.float32)
        assert overlap(a, b) > 0.99
        apart = [overlap(a, b + way) for way in (3, 6, 12, 30)]
        assert apart == sorted(apart, reverse=True) and apart[0] > ALIKE > apart[2] > apart[3]
        assert overlap(a, 4 * b) < 0.7, "smooth beside rough"


class TestDoubts:
    def found(self, picture: NDArray[Any], alpha: NDArray[Any], area: Any = 0.2) -> Doubts:
        count = 4
        frames = Frames.of_pixels(np.stack([picture] * count))
        track = face_track([None, *[(96.0, 100.0, 40.0)] * (count - 1)], Box(40.0, 39.0, 112.0))
        levels = np.stack([np.rint(alpha * 255).astype(np.uint8)] * count)
        areas = np.full(count, area, np.float32)
        matte = Matte(levels, areas, np.zeros((count, 3), np.float32))
        return doubts(InMemory(frames), InMemory(matte), InMemory(track), WINDOW)

    def test_of_a_good_matte_nothing_is_said(self) -> None:
        assert self.found(*scene()).sentences == []

    def test_each_cause_is_one_sentence(self) -> None:
        picture, alpha = scene()
        rows, columns = ears()[0]
        alpha[rows, columns] = 1
        alpha[160:180, 80:120], picture[160:180, 80:120] = 1, HAIR
        said = self.found(picture, alpha).sentences
        assert len(said) == 2 and "ear" in said[0] and "below the jaw" in said[1]
        (said,) = (self.found(*scene(wall=(66, 48, 38))).sentences,)
        assert len(said) == 1 and "colors of what is behind" in said[0]

    def test_without_hair_there_is_nothing_to_say(self) -> None:
        picture, alpha = scene()
        assert self.found(picture, 0 * alpha, 0.0) == Doubts(0, 0, 0)
