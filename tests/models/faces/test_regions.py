"""Tiles, patches and boxes: what is looked at, without a network."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidhair.models.faces.regions import (
    EYE_CORNERS,
    ROOM,
    TILE,
    Region,
    cut_patch,
    face_heights,
    is_known,
    mesh_boxes,
    pad_to_square,
    shared,
    tiles,
    whole_frame,
)

SIZES = [(360, 640), (1080, 1920), (1920, 1080), (2160, 3840), (908, 480)]


def ramp(height: int, width: int) -> NDArray[Any]:
    """A frame whose red tells the column and whose green tells the row, each modulo 200."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0], frame[..., 1] = np.arange(width) % 200, np.arange(height)[:, None] % 200
    return frame


class TestTiles:
    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_every_face_from_48_pixels_on_is_large_in_some_view(
        self, size: tuple[int, int]
    ) -> None:
        """Wholly inside, and at least a seventh of the view's side."""
        h, w = size
        frame = np.zeros((h, w, 3), np.uint8)
        views = [whole_frame(frame), *tiles(frame)]
        rng = np.random.default_rng(0)
        for face in (48, 64, 100, 150, 300):
            for x, y in rng.uniform([0, 0], [w - face, h - face], (40, 2)):
                shares = [
                    face / (len(v.pixels) * v.step)
                    for v in views
                    if v.left <= x
                    and v.top <= y
                    and x + face <= v.left + len(v.pixels) * v.step
                    and y + face <= v.top + len(v.pixels) * v.step
                ]
                assert max(shares) > 0.139, (face, x, y)

    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_no_view_is_larger_than_the_detector_needs(self, size: tuple[int, int]) -> None:
        frame = np.zeros((*size, 3), np.uint8)
        assert len(whole_frame(frame).pixels) <= 2 * TILE
        assert all(v.pixels.shape == (TILE, TILE, 3) for v in tiles(frame))

    def test_a_small_frame_is_one_view(self) -> None:
        frame = ramp(100, 160)
        assert list(tiles(frame)) == []
        assert np.array_equal(whole_frame(frame).pixels, pad_to_square(frame))

    def test_a_tile_knows_where_it_is(self) -> None:
        """In blocks of a ramp, means are the values at the blocks' centres."""
        frame = np.zeros((600, 900, 3), np.uint8)
        frame[..., 0], frame[..., 1] = np.arange(900) / 4, np.arange(600)[:, None] / 3
        for view in tiles(frame):
            x, y = view.to_frame(np.array([20.0, 10.0]))
            red, green, _ = view.pixels[10, 20].astype(float)
            assert abs(red - x / 4) < 1.1 and abs(green - y / 3) < 1.1


class TestPatch:
    @given(
        st.floats(-30, 230), st.floats(-30, 190), st.floats(8, 1500), st.floats(-math.pi, math.pi)
    )
    def test_points_come_back_and_the_region_lies_inside(
        self, x: float, y: float, side: float, angle: float
    ) -> None:
        patch = cut_patch(np.zeros((160, 200, 3), np.uint8), Region(x, y, side, angle))
        size = len(patch.pixels)
        assert patch.pixels.shape == (size, size, 3)
        centre = patch.to_patch(x, y)
        np.testing.assert_allclose(patch.to_frame(np.array(centre)), [x, y], atol=1e-9)
        margin = side * ROOM / 2 / patch.step - 1.5
        for value in centre:
            assert margin <= value + 0.5 <= size - margin

    def test_pixels_are_those_of_the_frame(self) -> None:
        frame = ramp(160, 200)
        patch = cut_patch(frame, Region(100, 80, 40))
        x, y = patch.to_frame(np.array([5, 7]))
        assert np.array_equal(patch.pixels[7, 5], frame[int(y), int(x)])

    def test_outside_the_frame_its_border_goes_on(self) -> None:
        frame = ramp(160, 200)
        patch = cut_patch(frame, Region(0, 0, 40))
        assert patch.left < 0 and np.array_equal(patch.pixels[0, 0], frame[0, 0])
        assert np.array_equal(patch.pixels[-1, 0], frame[patch.top + len(patch.pixels) - 1, 0])

    def test_a_large_region_is_reduced(self) -> None:
        patch = cut_patch(np.zeros((2160, 3840, 3), np.uint8), Region(2000, 1000, 1500))
        assert patch.step == 7 and len(patch.pixels) <= 2 * 192 * ROOM


class TestBoxes:
    def test_a_mesh_gives_its_region(self) -> None:
        mesh = np.full((478, 2), 50.0)
        mesh[0], mesh[1] = [10, 20], [110, 80]
        mesh[EYE_CORNERS[0]], mesh[EYE_CORNERS[1]] = [40, 40], [60, 60]
        region = Region.of_mesh(mesh)
        assert (region.x, region.y, region.side) == (60, 50, 150)
        assert region.angle == pytest.approx(math.pi / 4)
        assert region.face == pytest.approx(100)
        np.testing.assert_allclose(region.face_box, [10, 0, 110, 100])
        assert np.array_equal(mesh_boxes(mesh[None]), [[10, 20, 110, 80]])
        assert face_heights(mesh) == 100

    def test_what_boxes_share(self) -> None:
        boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10], [2, 2, 4, 4]], float)
        np.testing.assert_allclose(shared(boxes[0], boxes), [1, 0.5, 0, 1])

    def test_a_face_is_known_by_half_of_the_smaller_box(self) -> None:
        known = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], float)
        for box, want in [
            ((1, 1, 11, 11), True),
            ((22, 2, 25, 5), True),
            ((-40, -40, 60, 60), True),
            ((6, 0, 16, 10), False),
            ((10, 0, 20, 10), False),
        ]:
            assert is_known(np.array(box, float), known) == want
            assert not is_known(np.array(box, float), known[:0])
