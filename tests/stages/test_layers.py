from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.stages.composing import HEIGHT, WIDTH, noise
from vidhair.flow.overlap import Workers
from vidhair.geometry import Grid
from vidhair.imaging.blur import CELL_SIDES
from vidhair.stages.compose import composed
from vidhair.stages.layers import Layer, Patch, fold, window_of
from vidhair.types import Frames


class TestWindow:
    @given(
        st.tuples(st.integers(0, 9), st.integers(0, 11)),
        st.tuples(st.integers(1, 10), st.integers(1, 12)),
        st.tuples(st.floats(-20, 60), st.floats(-20, 40)),
        st.floats(0.4, 4),
    )
    def test_holds_all_of_the_matte_that_lies_in_the_frame(
        self,
        first: tuple[int, int],
        size: tuple[int, int],
        corner: tuple[float, float],
        step: float,
    ) -> None:
        alpha = np.zeros((2, 10, 12), np.uint8)
        alpha[1, first[0] : first[0] + size[0], first[1] : first[1] + size[1]] = 1
        left, top = corner
        window = window_of(alpha, Grid(left, top, step, 10, 12), (WIDTH, HEIGHT))
        rows, columns = alpha[1].nonzero()
        x0, x1 = left + columns.min() * step, left + (columns.max() + 1) * step
        y0, y1 = top + rows.min() * step, top + (rows.max() + 1) * step
        if window is None:
            assert x1 <= 0 or y1 <= 0 or x0 >= WIDTH or y0 >= HEIGHT
            return
        right, bottom = window.left + window.width, window.top + window.height
        assert 0 <= window.left < right <= WIDTH
        assert 0 <= window.top < bottom <= HEIGHT
        assert window.left <= max(x0, 0) and right >= min(x1, WIDTH)
        assert window.top <= max(y0, 0) and bottom >= min(y1, HEIGHT)
        # … and not much more.
        assert window.left % CELL_SIDES[0] == window.top % CELL_SIDES[0] == 0
        assert window.left >= min(x0 - 2 * step - CELL_SIDES[0], WIDTH)
        assert bottom <= max(y1 + 2 * step + 1, 0)

    def test_no_hair_no_window(self) -> None:
        assert (
            window_of(np.zeros((1, 4, 4), np.uint8), Grid.of_pixels(4, 4), (WIDTH, HEIGHT)) is None
        )


class TestFold:
    """Patches over a frame, each made over the source."""

    WINDOW = Grid.of_pixels(5, 6, left=2, top=1)
    FRAME = noise(3)[0, :8, :10]

    def patch(self, color: int, alpha: int) -> Patch:
        """A color laid over the source by an alpha."""
        source = self.FRAME[self.WINDOW.pixels].astype(float)
        pixels = source + alpha / 255 * (color - source)
        full = np.full(source.shape[:2], alpha, np.uint8)
        return Patch(self.WINDOW, np.rint(pixels).astype(np.uint8), full)

    def seen(self, *patches: Patch) -> NDArray[Any]:
        return fold(self.FRAME, patches)[self.WINDOW.pixels].astype(float)

    def test_one_is_taken_as_it_is_and_what_is_around_it_stays(self) -> None:
        patch, kept = self.patch(200, 77), self.FRAME.copy()
        got = fold(self.FRAME, [patch])
        assert np.array_equal(got[self.WINDOW.pixels], patch.pixels)
        got[1:6, 2:8] = self.FRAME[1:6, 2:8]
        assert np.array_equal(got, kept) and np.array_equal(self.FRAME, kept)

    def test_where_it_hides_nothing_nothing_is_taken(self) -> None:
        patch = self.patch(200, 77)
        patch.alpha[0] = 0
        assert np.array_equal(fold(self.FRAME, [patch])[1], self.FRAME[1])

    def test_a_full_one_hides_what_is_behind_it(self) -> None:
        assert (self.seen(self.patch(20, 255), self.patch(200, 255)) == 200).all()
        assert (self.seen(self.patch(200, 255), self.patch(20, 255)) == 20).all()

    def test_through_a_soft_one_the_one_behind_is_seen(self) -> None:
        got = self.seen(self.patch(20, 255), self.patch(200, 102))
        np.testing.assert_allclose(got, 0.6 * 20 + 0.4 * 200, atol=1)

    def test_a_faded_one_shows_a_share_of_itself(self) -> None:
        half = self.patch(200, 200).faded(self.FRAME, 0.5)
        np.testing.assert_allclose(half.pixels, self.patch(200, 100).pixels, atol=1)
        assert (half.alpha == 100).all()

    @pytest.mark.parametrize("nearest", [0, 1])
    def test_the_larger_face_lies_in_front_in_every_frame(self, nearest: int) -> None:
        layers = [
            Layer([self.patch(20, 255)] * 2, np.array([5.0, 1.0])),
            Layer([self.patch(200, 255), None], np.array([9.0, 9.0]) if nearest else np.zeros(2)),
        ]
        frames = Frames.of_pixels(np.stack([self.FRAME] * 2))
        got = composed(frames, layers, map).pixels
        assert got[0, 3, 4, 0] == (200 if nearest else 20)
        assert got[1, 3, 4, 0] == 20, "the other one changes nothing there"

    def test_threads_change_nothing(self, workers: Workers) -> None:
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, (9, *self.FRAME.shape), np.uint8)
        layer = Layer([self.patch(20 * k, 200) for k in range(9)], np.ones(9))
        got, want = (
            composed(Frames.of_pixels(pixels), [layer], how).pixels for how in (workers, map)
        )
        assert np.array_equal(got, want)
