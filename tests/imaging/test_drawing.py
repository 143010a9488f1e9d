"""Strokes, tones and lines of drawings, on small pictures."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidhair.imaging.drawing import (
    BEHIND,
    FACE,
    MOST_PIXELS,
    PAPER,
    Look,
    Parts,
    Sketch,
    Strokes,
    at_size,
    changes,
    directions,
    finished,
    held,
    resized,
    sketch,
    working_size,
)
from vidhair.imaging.opencv import opencv

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
            x, y = directions(changes(picture.astype(np.float32) / 255))
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
        along = directions(changes(halves(30)[:20].astype(np.float32)))
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

    def parts(self, size: int = 64, **given: Any) -> Parts:
        zero = np.zeros((size, size), np.float32)
        plain: dict[str, Any] = {"face": zero, "ink": zero + 1, "detail": zero, "features": []}
        return Parts(**plain | given)

    def test_texture_without_direction_has_no_ink(self) -> None:
        """Coarse grain, as of knits, is worms else. In a face, whose features are small, it has,
        and so has an edge that runs through it."""
        cells = np.random.default_rng(1).normal(0, 30, (43, 43))
        grain = opencv().resize(cells, (128, 128), interpolation=2)
        picture = (halves(128, light=230) + grain[..., None]).clip(0, 255).astype(np.uint8)
        lines, place = sketch(picture).lines, np.s_[24:104, 12:44]
        worms = sketch(picture, self.parts(128, face=np.ones((128, 128), np.float32))).lines
        assert (worms[place] < PAPER).mean() > 0.1 > 0.03 > (lines[place] < PAPER).mean()
        assert (lines[24:104, 56:64].min(1) < PAPER).mean() > 0.8

    def test_where_only_the_fine_pen_draws_lines_are_thinner(self) -> None:
        def inked(fine: float) -> int:
            parts = self.parts(face=np.full((64, 64), fine, np.float32))
            return int((sketch(halves(), parts).lines < -0.5).sum())

        assert 0 < inked(1) < inked(0) == int((sketch(halves()).lines < -0.5).sum())

    def test_what_is_out_of_focus_has_no_broad_lines(self) -> None:
        row = (130 + 60 * np.tanh((np.arange(96) - 48) / 12)).astype(np.uint8)
        blurred = np.broadcast_to(row[None, :, None], (96, 96, 3)).copy()
        assert sketch(halves(96)).lines.min() < 3 * sketch(blurred).lines.min()

    def test_what_lies_out_of_focus_behind_a_face_has_no_ink(self) -> None:
        """On the left a sharp edge, as of a face; on the right a blurred one, of more contrast."""
        across = np.arange(192)
        row = 90 + 60 * (across > 48) + 80 * (0.5 + 0.5 * np.tanh((across - 144) / 4))
        picture = np.broadcast_to(row.astype(np.uint8)[None, :, None], (96, 192, 3)).copy()
        face = np.zeros((96, 192), np.float32)
        face[:, :96] = 1
        lines = sketch(picture, Parts(face, np.ones_like(face), np.zeros_like(face), [])).lines
        assert lines[48, 40:56].min() < -0.5 and lines[48, 110:180].min() > -0.2
        # Where all is as blurred, as in a small clip that is enlarged, there is ink.
        soft = picture[:, 96:].copy()
        whole, none = face[:, :96], face[:, 96:]
        assert sketch(soft, Parts(whole, whole, none, [])).lines[48, 20:80].min() < -0.4

    def test_details_and_contrast_of_features_are_kept(self) -> None:
        """A small light spot, as that of an eye."""
        picture = np.full((64, 64, 3), 120, np.uint8)
        picture[30:33, 30:33] = 170
        mask = np.ones((20, 20), np.float32)
        detail = np.zeros((64, 64), np.float32)
        detail[22:42, 22:42] = 1
        area = slice(22, 42)
        found = [
            sketch(picture, parts).tones[31, 31, 0] - sketch(picture, parts).tones[26, 26, 0]
            for parts in (
                None,
                self.parts(detail=detail),
                self.parts(detail=detail, features=[(area, area, mask, 0.0)]),
            )
        ]
        assert found[0] < found[1] and 1.4 * found[1] < found[2]

    def test_ink_is_as_much_as_parts_say(self) -> None:
        half = sketch(halves(), self.parts(ink=np.full((64, 64), 0.5, np.float32)))
        assert np.allclose(half.lines, 0.5 * sketch(halves()).lines)

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

    def test_lines_have_as_much_color_as_they_say(self) -> None:
        inked = self.flat(50, -3)
        inked.tones[..., 1] = 40
        black, red = (finished(inked, Look(ink=0.5, tinted=t))[0, 0].astype(int) for t in (0, 1))
        assert np.ptp(red) > 1.5 * np.ptp(black)

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


class TestHeld:
    def pair(self, by: float) -> tuple[Sketch, Sketch, tuple[Levels, Levels]]:
        """A frame, whose tones a spot of differs from the frame before, and that."""
        picture = halves(noise=3)
        before = sketch(picture)
        tones = before.tones.copy()
        tones[10:20, 10:20, 0] += by
        return Sketch(tones, before.lines, before.gain), before, (picture, picture)

    def away(self, by: float, steady: float = 1.0) -> float:
        """By how much the spot is then lighter than before."""
        now, before, pictures = self.pair(by)
        got = held(now, before, pictures, steady)
        return float((got.tones - before.tones)[12:18, 12:18, 0].mean())

    def test_what_differs_little_stays(self) -> None:
        assert abs(self.away(0.8 * BEHIND[0])) < 0.15 * BEHIND[0]
        assert abs(self.away(-0.8 * BEHIND[0])) < 0.15 * BEHIND[0]

    def test_what_differs_more_follows_and_is_never_further_behind(self) -> None:
        for by in (2 * BEHIND[0], 10 * BEHIND[0]):
            assert by - BEHIND[0] <= self.away(by) < by - 0.8 * BEHIND[0]

    def test_a_small_difference_that_lasts_is_followed_in_the_end(self) -> None:
        now, before, pictures = self.pair(0.5 * BEHIND[0])
        for _ in range(60):
            before = held(now, before, pictures, 1.0)
        assert np.abs(before.tones - now.tones).max() < 0.1 * BEHIND[0]

    def test_without_weight_a_sketch_is_its_own(self) -> None:
        now, before, pictures = self.pair(1)
        assert held(now, before, pictures, 0.0) is now

    def test_what_looks_different_is_not_held(self) -> None:
        now, before, (picture, _) = self.pair(0.8 * BEHIND[0])
        got = held(now, before, (picture, np.invert(picture)), 1.0)
        assert np.allclose(got.planes(), now.planes(), atol=0.05)

    def test_it_goes_along_with_what_moves(self) -> None:
        picture = np.kron(
            np.random.default_rng(4).integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))
        ).astype(np.uint8)
        before = sketch(picture)
        noisy = before.tones + np.random.default_rng(5).normal(0, 0.8, before.tones.shape)
        kept = Sketch(noisy.astype(np.float32), before.lines, before.gain)
        moved = np.roll(picture, 3, 1)
        got = held(sketch(moved), kept, (moved, picture), 1.0).tones
        part = np.s_[20:44, 20:44]
        away = np.abs(got - np.roll(kept.tones, 3, 1))[part].mean()
        assert away < 0.6 * np.abs(got - kept.tones)[part].mean()
