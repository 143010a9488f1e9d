"""Strokes, tones and lines of drawings, on small pictures."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vidhair.imaging.drawing import (
    FACE,
    MOST_PIXELS,
    Look,
    Sketch,
    Strokes,
    at_size,
    directions,
    finished,
    resized,
    sketch,
    steadied,
    working_size,
)

Levels = NDArray[np.uint8]
NO_INK = Look(ink=0)


def halves(size: int = 64, dark: int = 90, light: int = 170, noise: float = 0) -> Levels:
    """Dark on the left, light on the right."""
    picture = np.full((size, size, 3), dark, np.float32)
    picture[:, size // 2 :] = light
    picture += np.random.default_rng(0).normal(0, noise, (size, size, 1))
    return np.rint(picture.clip(0, 255)).astype(np.uint8)


def lab_of(picture: Levels) -> NDArray[np.float32]:
    return sketch(picture).tones


class TestStrokes:
    def test_they_run_along_edges(self) -> None:
        for picture, along in ((halves(), 1), (halves().transpose(1, 0, 2), 0)):
            x, y = directions(picture.astype(np.float32) / 255)
            part = np.s_[24:40, 24:40]
            assert (np.abs((x, y)[along][part]) > 0.99).all()
            assert np.allclose(np.hypot(x, y), 1, atol=1e-5)

    def test_means_along_them_leave_what_lies_across(self) -> None:
        values = halves(noise=20)[..., 0].astype(np.float32)
        down = np.zeros_like(values), np.ones_like(values)
        got = Strokes(down, 6).mean(values, 6)
        assert got[20:44, :32].std() < 0.5 * values[20:44, :32].std()
        assert abs(got[20:44, :32].mean() - values[20:44, :32].mean()) < 2
        assert (got[20:44, 32] - got[20:44, 31]).min() > 30

    def test_a_still_value_stays(self) -> None:
        values = np.full((20, 30), 0.3, np.float32)
        along = directions(halves(30)[:20].astype(np.float32))
        assert np.allclose(Strokes(along, 4).mean(values, 4), 0.3, atol=1e-6)


class TestSketch:
    def test_noise_goes_and_edges_stay(self) -> None:
        found = sketch(halves(noise=6)).tones[..., 0]
        assert found[8:56, 4:26].std() < 0.8
        assert found[32, 36] - found[32, 27] > 25

    def test_lines_lie_on_the_dark_side_of_edges(self) -> None:
        lines = sketch(halves()).lines
        assert lines[32, 28:32].min() < -0.5 < lines[32, 4:20].min()
        assert lines[32, 33:37].min() > -0.2 and (lines <= 0).all()

    def test_where_only_the_fine_pen_draws_lines_are_thinner(self) -> None:
        def inked(fine: float) -> int:
            return int((sketch(halves(), np.full((64, 64), fine, np.float32)).lines < -0.5).sum())

        assert 0 < inked(1) < inked(0) == int((sketch(halves()).lines < -0.5).sum())

    def test_little_contrast_is_drawn_as_well(self) -> None:
        """A dim clip has lines, too."""
        assert sketch(halves(dark=40, light=62)).lines[32].min() < -0.5


class TestFinished:
    def flat(self, light: float, lines: float = 0) -> Sketch:
        tones = np.zeros((8, 8, 3), np.float32)
        tones[..., 0] = light
        return Sketch(tones, np.full((8, 8), lines, np.float32), np.ones((8, 8), np.float32))

    def test_ink_darkens_by_as_much_as_it_says(self) -> None:
        paper, half, full = (
            finished(self.flat(50, -3), Look(ink=ink)).mean() for ink in (0.0, 0.5, 1.0)
        )
        assert paper > half + 30 and half > full + 30 and full < 3
        plain = finished(self.flat(50), Look()).astype(int)
        assert np.abs(plain - finished(self.flat(50), NO_INK)).max() <= 1

    def test_tones_go_to_the_middle_of_their_band(self) -> None:
        step = 100 / 7
        away, middle = (finished(self.flat(x), Look(flat=1)) for x in (3.3 * step, 3.5 * step))
        left = finished(self.flat(3.3 * step), Look(flat=0))
        assert (
            np.abs(away.astype(int) - middle).max() < 0.7 * np.abs(left.astype(int) - middle).max()
        )

    def test_chroma_is_a_factor(self) -> None:
        tones = self.flat(50)
        tones.tones[..., 1] = 20
        grey, vivid = (finished(tones, Look(ink=0, chroma=c)) for c in (0.0, 1.5))
        assert np.ptp(grey[0, 0]) < 2 and np.ptp(vivid[0, 0].astype(int)) > 40

    @pytest.mark.parametrize("size", [(32, 48), (64, 64), (150, 97)])
    def test_it_comes_at_any_size(self, size: tuple[int, int]) -> None:
        found = at_size(sketch(halves()), Look(), size)
        assert found.shape == (size[1], size[0], 3) and found.dtype == np.uint8

    def test_ink_of_an_enlarged_sketch_is_as_crisp(self) -> None:
        """It is decided on the larger picture: a border takes no more pixels there."""
        row = at_size(sketch(halves()), Look(flat=0), (256, 256))[128, :, 0].astype(int)
        assert np.abs(np.diff(row)).max() > 12


def test_faces_have_one_size_within_what_memory_allows() -> None:
    assert working_size(800, 600, FACE) == (800, 600)
    assert working_size(800, 600, 2 * FACE) == (400, 300)
    width, height = working_size(3840, 2160, 100)
    assert width * height <= 1.01 * MOST_PIXELS and abs(width / height - 16 / 9) < 0.01
    assert working_size(40, 30, 1) == (100, 75)


def test_resizing_to_the_same_size_changes_nothing() -> None:
    picture = halves(noise=9)
    assert np.array_equal(resized(picture, (64, 64)), picture)


class TestSteadied:
    def frames(self) -> tuple[list[Sketch], list[Levels]]:
        pictures = [halves(noise=3)] * 3
        sketches = [sketch(p) for p in pictures]
        lines = sketches[1].lines.copy()
        lines[10:20, 10:20] -= 1
        sketches[1] = Sketch(sketches[1].tones, lines, sketches[1].gain)
        return sketches, pictures

    def test_what_flickers_is_averaged_away(self) -> None:
        sketches, pictures = self.frames()
        got = steadied(sketches, pictures, 1, 1.0)
        away = (got.lines - sketches[0].lines)[12:18, 12:18]
        assert np.allclose(away, -1 / 3, atol=0.05)

    def test_without_weight_a_sketch_stays(self) -> None:
        sketches, pictures = self.frames()
        assert np.array_equal(steadied(sketches, pictures, 1, 0.0).lines, sketches[1].lines)

    def test_what_looks_different_does_not_count(self) -> None:
        sketches, pictures = self.frames()
        other = [np.invert(pictures[0]), pictures[1], np.invert(pictures[2])]
        got = steadied(sketches, other, 1, 1.0)
        assert np.allclose(got.lines, sketches[1].lines, atol=0.05)
