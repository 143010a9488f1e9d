"""Thin lines that are drawn on plain and on striped ground."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vidhair.imaging.thin import ORIENTATIONS, covered, in_line, lines, trace

HIGH, WIDE, WIRE = 60, 90, np.array([210.0, 200.0, 60.0])
Plane = NDArray[np.float32]


def wire(width: float, ground: Plane, color: NDArray[np.float64] = WIRE) -> tuple[Plane, Plane]:
    """A picture [h, w, 3] with a bent wire, and its cover [h, w]."""
    rows, columns = np.mgrid[:HIGH, :WIDE] + 0.5
    cover = (0.5 * width + 0.5 - np.abs(rows - middle(columns))).clip(0, 1)
    picture = ground + cover[..., None] * (color - ground)
    return picture.astype(np.float32), cover.astype(np.float32)


def middle(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    return 30 + 4 * np.sin(columns / 25)


def plain(level: float = 90.0) -> Plane:
    return np.full((HIGH, WIDE, 3), level, np.float32)


def parted() -> Plane:
    """Dark above the wire and lighter below."""
    rows, columns = np.mgrid[:HIGH, :WIDE] + 0.5
    return np.where((rows > middle(columns))[..., None], 150, plain(30)).astype(np.float32)


NEAR = np.stack([np.linspace(5, 85, 80), np.full(80, 31.0)], -1)


class TestInLine:
    def test_a_step_is_no_line(self) -> None:
        step = in_line(np.array([40.0, 40, 40]), np.array([-40.0, -40, -40]))
        assert step == 0

    def test_it_is_the_smaller_difference_of_both(self) -> None:
        assert in_line(np.array([60.0, 0, 0]), np.array([20.0, 0, 0])) == pytest.approx(20, abs=1)


class TestLines:
    def test_they_are_seen_by_their_direction(self) -> None:
        picture = plain()
        picture[28:31] += 60
        found = lines(picture, [3.0])[:, 29, 45]
        assert found.argmax() == ORIENTATIONS // 2 and found[0] < 0.1 * found.max()

    def test_even_ground_and_steps_show_none(self) -> None:
        picture = plain()
        picture[:30] += 80
        assert lines(picture, [2.0, 5.0])[:, 5:-5, 5:-5].max() < 1


class TestTrace:
    @pytest.mark.parametrize("width", [2.0, 5.0])
    @pytest.mark.parametrize("ground", [plain(), plain(235), parted()])
    def test_it_follows_a_wire(self, width: float, ground: Plane) -> None:
        picture, cover = wire(width, ground)
        line = trace(picture, NEAR, 7.0, [1.5, 2.5, 5.0], 3.0)
        off = line.places[:, 1] - middle(line.places[:, 0])
        assert np.abs(off).max() < 1.2 and abs(line.widths[0] - width) < 1.1
        found = covered(picture, line, np.ones(80, np.float32))[:, 8:82]
        assert np.abs(found - cover[:, 8:82]).mean() < 0.02
        assert found[cover[:, 8:82] == 1].mean() > 0.9

    def test_where_nothing_is_told_it_goes_on(self) -> None:
        picture, _ = wire(2.0, plain(), np.full(3, 130.0))
        picture[24:27, 20:70] = 0  # a bar beside the wire, which stands out more
        told = np.ones((HIGH, WIDE), bool)
        told[22:29, 18:72] = False
        off = [
            np.abs(line.places[:, 1] - middle(line.places[:, 0])).max()
            for line in (trace(picture, NEAR, 9.0, [2.5, 5.0], 3.0, told=mask)
                         for mask in (None, told))
        ]  # fmt: skip
        assert off[0] > 3 and off[1] < 1.2

    def test_of_two_lines_it_is_the_one_of_its_color(self) -> None:
        picture, _ = wire(2.0, plain())
        rows, columns = np.mgrid[:HIGH, :WIDE] + 0.5
        cover = (1.5 - np.abs(rows - middle(columns) - 6)).clip(0, 1)[..., None]
        picture = (picture * (1 - cover)).astype(np.float32)
        bright = trace(picture, NEAR, 9.0, [2.0], 3.0, color=np.array(WIRE, np.float32))
        dark = trace(picture, NEAR, 9.0, [2.0], 3.0, color=np.zeros(3, np.float32))
        off = [(line.places[30:50, 1] - middle(line.places[30:50, 0])) for line in (bright, dark)]
        assert np.abs(off[0]).max() < 1.2 and off[1].min() > 3

    def test_a_closed_one_comes_back(self) -> None:
        turn = np.linspace(0, 2 * np.pi, 100, endpoint=False)
        around = np.stack([45 + 20 * np.cos(turn), 30 + 20 * np.sin(turn)], -1)
        rows, columns = np.mgrid[:HIGH, :WIDE] + 0.5
        away = np.hypot(rows - 31.5, columns - 45)
        picture = plain() + 80 * (1.5 - np.abs(away - 21)).clip(0, 1)[..., None]
        line = trace(picture.astype(np.float32), around, 5.0, [2.0], 3.0, closed=True)
        assert np.abs(np.hypot(*(line.places - [45, 31.5]).T) - 21).max() < 1


class TestCovered:
    def test_only_as_far_as_it_is_shown(self) -> None:
        picture, cover = wire(3.0, plain())
        line = trace(picture, NEAR, 7.0, [2.5], 3.0)
        shown = (np.arange(80) < 40).astype(np.float32)
        found = covered(picture, line, shown)
        assert found[:, 50:].max() == 0 and found[:, 10:40].sum() > 0.8 * cover[:, 10:40].sum()

    def test_none_outside_of_the_picture(self) -> None:
        picture, _ = wire(3.0, plain())
        line = trace(picture, NEAR + np.array([500, 0]), 7.0, [2.5], 3.0)
        assert not covered(picture, line, np.ones(80, np.float32)).any()
