import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from vidhair.geometry import CropAxes, Grid, crop_quad
from vidhair.imaging.warp import cut_grid, cut_squares, spread_grid, to_unit

HEIGHT, WIDTH = 90, 120


def ramps(height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    """[1, 2, H, W]: every pixel tells the x and y of its centre."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return torch.tensor(np.stack([x, y])[None], dtype=torch.float64)


def turned(side: float, angle_deg: float) -> NDArray[Any]:
    """The x axis of a square of this side whose content is turned counter-clockwise."""
    a = math.radians(angle_deg)
    return np.array([[side / 2 * math.cos(a), -side / 2 * math.sin(a)]])


def expected(centre: NDArray[Any], x: NDArray[Any], size: int) -> torch.Tensor:
    """[1, 2, size, size]: where the centre of every pixel of the cut lies in the frame."""
    y = np.stack([-x[:, 1], x[:, 0]], -1)
    v, u = np.meshgrid(*[(np.arange(size) + 0.5) * 2 / size - 1] * 2, indexing="ij")
    points = centre[0] + u[..., None] * x[0] + v[..., None] * y[0]
    return torch.tensor(points).permute(2, 0, 1)[None]


@given(
    size=st.integers(2, 40),
    side=st.floats(1, 50),
    angle_deg=st.floats(-180, 180),
    shift=st.tuples(st.floats(-20, 20), st.floats(-8, 8)),
)
@settings(max_examples=150)
def test_a_square_cut_from_a_ramp_is_that_ramp(
    size: int, side: float, angle_deg: float, shift: tuple[float, float]
) -> None:
    centre, x = np.array([[60.0, 45.0]]) + shift, turned(side, angle_deg)
    got = cut_squares(ramps(), centre, x, size)
    torch.testing.assert_close(got, expected(centre, x, size), rtol=0, atol=1e-6)


@pytest.mark.parametrize("ratio", [4, 5.3, 8, 13.7])
def test_a_square_cut_from_a_much_larger_ramp_is_that_ramp(ratio: float) -> None:
    # 611 is no multiple of any reduction.
    centre, x = np.array([[300.0, 310.0]]), turned(24 * ratio, 20)
    got = cut_squares(ramps(611, 607), centre, x, 24)
    torch.testing.assert_close(got, expected(centre, x, 24), rtol=0, atol=1e-6)


def test_every_frame_has_its_own_square() -> None:
    frames = ramps().expand(3, -1, -1, -1)
    centre = np.array([[50.0, 40], [60, 45], [70, 50]])
    x = np.concatenate([turned(20, 0), turned(24, 30), turned(28, -90)])
    got = cut_squares(frames, centre, x, 16)
    for t in range(3):
        want = expected(centre[t : t + 1], x[t : t + 1], 16)
        torch.testing.assert_close(got[t : t + 1], want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("angle_deg", [0, 10, 45])
@pytest.mark.parametrize("ratio", [2, 2.2, 3, 3.5, 3.9, 4, 4.9, 6, 7.9, 13])
def test_a_fine_checkerboard_becomes_grey(ratio: float, angle_deg: int) -> None:
    y, x = np.mgrid[:640, :640]
    board = torch.tensor((x + y) % 2, dtype=torch.float64)[None, None]
    got = cut_squares(board, np.array([[320.3, 319.6]]), turned(40 * ratio, angle_deg), 40)
    # Bilinear reading leaves a little at 45°, where the pattern lies finest along the axes.
    assert (got - 0.5).abs().max() < (0.21 if angle_deg == 45 else 0.04)


def test_beyond_the_frame() -> None:
    frame, centre, x = torch.ones(1, 1, 20, 20), np.array([[0.0, 10.0]]), turned(16, 0)
    assert torch.equal(
        cut_squares(frame, centre, x, 8, padding="reflection"), torch.ones(1, 1, 8, 8)
    )
    assert torch.equal(cut_squares(frame, centre, x, 8, padding="border"), torch.ones(1, 1, 8, 8))
    cut = cut_squares(frame, centre, x, 8, padding="zeros")
    assert (cut[..., :3] == 0).all() and (cut[..., 5:] == 1).all()


@pytest.mark.parametrize(("side", "size"), [(60, 60), (64, 32), (70, 48), (40, 64)])
@pytest.mark.parametrize("angle_deg", [0, 17, -130])
def test_agrees_with_the_cut_of_stills(side: int, size: int, angle_deg: int) -> None:
    """`crop_quad` does what the FFHQ scripts do; its pixel centres are whole numbers."""
    y, x = np.mgrid[:160, :200]
    waves = [np.sin(x / 9 + y / 14), np.cos(x / 11), np.sin(y / 8 - x / 23)]
    frame = np.rint(128 + 100 * np.stack(waves, -1)).astype(np.uint8)
    axes = CropAxes(np.array([[103.2, 78.9]]), turned(side, angle_deg))
    still = crop_quad(Image.fromarray(frame), axes.quad[0] - 0.5, size=size)
    cut = cut_squares(to_unit(frame[None]), axes.centre, axes.x, size)
    levels = (cut[0].permute(1, 2, 0).numpy() + 1) * 127.5
    difference = np.abs(levels - np.asarray(still, float))
    assert difference.mean() < 1.0 and difference.max() < 4.0


def test_to_unit_maps_bytes_onto_minus_one_to_one() -> None:
    frames = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    assert torch.allclose(to_unit(frames), torch.tensor([-1.0, -0.6, 1.0]).view(1, 3, 1, 1))
    assert to_unit(np.zeros((2, 4, 6, 3), np.uint8)).shape == (2, 3, 4, 6)


@given(
    step=st.floats(0.2, 6),
    corner=st.tuples(st.floats(5, 20), st.floats(5, 20)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_a_grid_cut_from_a_ramp_is_that_ramp(
    step: float, corner: tuple[float, float], size: tuple[int, int]
) -> None:
    (left, top), (height, width) = corner, size
    got = cut_grid(ramps(), Grid(left, top, step, height, width))
    xs = left + (np.arange(width) + 0.5) * step
    ys = top + (np.arange(height) + 0.5) * step
    want = np.stack(np.meshgrid(xs, ys))[None]
    torch.testing.assert_close(got, torch.tensor(want), rtol=0, atol=1e-6)


@given(step=st.floats(0.5, 6), corner=st.tuples(st.floats(-30, 30), st.floats(-30, 30)))
def test_spreading_undoes_cutting_where_the_picture_is_smooth(
    step: float, corner: tuple[float, float]
) -> None:
    left, top = corner
    high, wide = math.ceil((HEIGHT - top) / step) + 2, math.ceil((WIDTH - left) / step) + 2
    y, x = np.mgrid[:high, :wide] + 0.5
    plane = torch.tensor(np.stack([left + x * step, top + y * step])[None])
    back = spread_grid(plane, Grid(left, top, step, high, wide), Grid.of_pixels(HEIGHT, WIDTH))
    inside = np.s_[..., max(0, math.ceil(top + 2 * step)) :, max(0, math.ceil(left + 2 * step)) :]
    # Torch's bicubic kernel bends a ramp by up to a twentieth of a step.
    torch.testing.assert_close(back[inside], ramps()[inside], rtol=0, atol=0.06 * step)


def test_spreading_continues_the_border() -> None:
    picture = torch.arange(4.0).view(1, 1, 2, 2)
    back = spread_grid(picture, Grid(40, 40, 4, 2, 2), Grid.of_pixels(80, 80))
    corners = back[0, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert torch.allclose(corners, torch.arange(4.0))


def test_a_grid_cut_from_another_grids_samples_is_that_of_the_frame() -> None:
    cut = Grid(31.0, 22.0, 2.5, 8, 12)
    between = Grid(20.5, 10.0, 1.5, 30, 40)
    got = cut_grid(cut_grid(ramps(), between), cut, on=between)
    torch.testing.assert_close(got, cut_grid(ramps(), cut), rtol=0, atol=1e-6)
