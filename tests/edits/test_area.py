"""An area painted on one frame, and where it lies in others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.edits.codes import pack_of
from tests.media.clips import a_clip
from tests.stages.faces import face_track
from tests.stages.series import InMemory
from vidhair.edits import HairColor
from vidhair.edits.area import PaintedArea, anywhere
from vidhair.errors import InvalidSetting, SourceNotFound
from vidhair.geometry import Box, Grid
from vidhair.media import write_png

SIZE = 96
BOX = Box(22.0, 28.0, 50.4)
PLACES = [
    (40.0, 50.0, 12.0),
    (52.0, 44.0, 12.0),
    (46.0, 50.0, 18.0),
    None,
    (46.0, 50.0, 12.0, 90.0),
]
TRACK = face_track(PLACES, BOX)
WHOLE = Grid.of_pixels(SIZE, SIZE)


def a_square(left: int, top: int, side: int = 8) -> Any:
    levels = np.zeros((SIZE, SIZE), np.uint8)
    levels[top : top + side, left : left + side] = 255
    return levels


def saved(path: Path, levels: Any) -> str:
    Image.fromarray(levels).save(path)
    return str(path)


def area(levels: Any, frame: int = 0) -> PaintedArea:
    axes = TRACK.axes_of(np.array([frame]))
    return PaintedArea(levels, axes.centre[0], axes.x[0])


def on(painted: PaintedArea, frame: int, grid: Grid = WHOLE) -> Any:
    return painted.on(TRACK.axes_of(np.array([frame])), grid)[0, 0].numpy()


class TestPaintedArea:
    def test_where_it_was_painted_it_is_as_painted(self) -> None:
        soft = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
        np.testing.assert_allclose(on(area(soft), 0), soft / 255, atol=2e-3)
        window = Grid.of_pixels(20, 30, 40, 10)
        np.testing.assert_allclose(on(area(soft), 0, window), soft[10:30, 40:70] / 255, atol=2e-3)

    def test_it_moves_with_the_head(self) -> None:
        got = on(area(a_square(30, 40)), 1)
        np.testing.assert_allclose(got, a_square(42, 34) / 255, atol=2e-3)

    def test_it_grows_with_it(self) -> None:
        """From around the crop's centre, half as large again."""
        got = on(area(a_square(30, 40)), 2)
        assert got.sum() == pytest.approx(1.5**2 * 64, rel=0.05)
        axes = TRACK.axes
        rows, columns = np.nonzero(got > 0.5)
        middle = np.array([columns.mean(), rows.mean()]) + 0.5
        want = axes.centre[2] + 1.5 * (np.array([34.0, 44.0]) - axes.centre[0])
        np.testing.assert_allclose(middle, want, atol=0.3)

    def test_it_turns_with_it(self) -> None:
        """What was above the face's middle lies beside it."""
        axes = TRACK.axes
        centre = axes.centre[0]
        above = a_square(int(centre[0]) - 4, int(centre[1]) - 24)
        rows, columns = np.nonzero(on(area(above), 4) > 0.5)
        middle = np.array([columns.mean(), rows.mean()]) + 0.5 - axes.centre[4]
        assert abs(middle[1]) < 1.5 and abs(abs(middle[0]) - 20) < 1.5
        assert middle @ axes.y[4] < 0, "on the forehead's side"

    def test_without_one_there_is_no_limit(self) -> None:
        assert anywhere().on(TRACK.axes_of(np.array([0])), WHOLE).tolist() == [[[[1.0]]]]


class TestPainted:
    def painted(self, tmp_path: Path, frame: int) -> PaintedArea:
        edit = HairColor(area=saved(tmp_path / "a.png", a_square(30, 40)), area_frame=frame)
        return edit.painted(InMemory(TRACK))

    def test_it_holds_the_picture_and_where_the_face_was(self, tmp_path: Path) -> None:
        got, want = self.painted(tmp_path, 1), area(a_square(30, 40), 1)
        for name in ("levels", "centre", "x"):
            assert np.array_equal(getattr(got, name), getattr(want, name))

    def test_a_frame_without_the_face_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidSetting, match=r"edit.area_frame = 3 .* such as [24]"):
            self.painted(tmp_path, 3)


class TestChecks:
    CLIP = a_clip(range(5), width=SIZE, height=SIZE)

    def check(self, path: str, frame: int = 0) -> None:
        edit = HairColor(area=path, area_frame=frame)
        edit.check(pack_of(None), "edit")
        edit.check_clip(self.CLIP, "edit")

    def test_grey_and_transparency_are_read(self, tmp_path: Path) -> None:
        self.check(saved(tmp_path / "a.png", a_square(1, 2)), 4)
        clear = np.zeros((SIZE, SIZE, 4), np.uint8)
        clear[..., 3] = a_square(30, 40)
        write_png(tmp_path / "b.png", clear)
        self.check(str(tmp_path / "b.png"))
        got = HairColor(area=str(tmp_path / "b.png")).painted(InMemory(TRACK))
        assert np.array_equal(got.levels, a_square(30, 40))

    def test_what_allows_nothing_or_does_not_fit_is_refused(self, tmp_path: Path) -> None:
        black = saved(tmp_path / "black.png", 0 * a_square(0, 0))
        with pytest.raises(InvalidSetting, match=r"edit.area = .*black.png' allows .* nowhere"):
            self.check(black)
        small = saved(tmp_path / "small.png", a_square(0, 0)[:40])
        with pytest.raises(InvalidSetting, match=r"small.png' is 96×40 pixels, .* is 96×96"):
            self.check(small)
        good = saved(tmp_path / "good.png", a_square(0, 0))
        with pytest.raises(InvalidSetting, match=r"edit.area_frame = 5 is beyond the 5 frames"):
            self.check(good, 5)
        with pytest.raises(SourceNotFound, match="no such file"):
            self.check(str(tmp_path / "none.png"))

    def test_it_counts_by_what_it_shows(self, tmp_path: Path) -> None:
        plain = HairColor().identity()
        assert HairColor(area_frame=3).identity() == plain, "of what is not there"
        one, same, other = (
            HairColor(area=saved(tmp_path / name, a_square(left, 2))).identity()
            for name, left in (("a.png", 1), ("b.png", 1), ("c.png", 2))
        )
        assert plain != one == same != other
        moved = HairColor(area=str(tmp_path / "a.png"), area_frame=2).identity()
        assert moved != one
