"""Drawing strands: coverage against supersampling, order, depth, light."""

import math
from typing import Any

import numpy as np
import pytest
from vidhair.kernels.strands import _numba as kernel

SIZE = 24
FINE = 32  # samples per side of a pixel
RNG = np.random.default_rng(4)
FAR = np.full((SIZE, SIZE), -np.inf, np.float32)


def drawn(
    ends: Any,
    widths: Any,
    *,
    z: Any = None,
    colors: Any = None,
    layer: Any = None,
    limit: Any = FAR,
) -> Any:
    """(light [2, H, W, C], amount [2, H, W], clear [H, W]) of segments [M, 2, 2], nearest first."""
    ends = np.asarray(ends, np.float32)
    count = len(ends)
    z = np.zeros((count, 2), np.float32) if z is None else np.asarray(z, np.float32)
    colors = np.ones((count, 1), np.float32) if colors is None else np.asarray(colors, np.float32)
    layer = np.zeros(count, np.uint8) if layer is None else np.asarray(layer, np.uint8)
    light = np.zeros((2, SIZE, SIZE, colors.shape[1]), np.float32)
    amount = np.zeros((2, SIZE, SIZE), np.float32)
    clear = np.ones((SIZE, SIZE), np.float32)
    kernel.draw(
        np.arange(count), ends[:, 0].copy(), ends[:, 1].copy(), z[:, 0].copy(), z[:, 1].copy(),
        np.asarray(widths, np.float32), colors, layer, limit, light, amount, clear,
    )  # fmt: skip
    return light, amount, clear


def supersampled(ends: Any, widths: Any) -> Any:
    """[M, H, W]: share of each pixel under each rectangle."""
    at = (np.arange(SIZE * FINE) + 0.5) / FINE
    y, x = np.meshgrid(at, at, indexing="ij")
    found = []
    for ((ax, ay), (bx, by)), width in zip(ends, widths, strict=True):
        length = math.hypot(bx - ax, by - ay)
        tx, ty = (bx - ax) / length, (by - ay) / length
        along = (x - ax) * tx + (y - ay) * ty
        across = (y - ay) * tx - (x - ax) * ty
        inside = (along >= 0) & (along <= length) & (np.abs(across) <= width / 2)
        found.append(inside.reshape(SIZE, FINE, SIZE, FINE).mean((1, 3)))
    return np.array(found)


@pytest.mark.parametrize("width", [0.08, 0.3, 1.0, 2.7])
@pytest.mark.parametrize("turn", [0.0, 0.03, 0.4, 0.785, 1.2, 1.5708, 2.3])
def test_coverage_of_a_strand_is_that_of_supersampling(width: float, turn: float) -> None:
    middle = 12 + RNG.uniform(-1, 1, 2)
    reach = 7.3 * np.array([math.cos(turn), math.sin(turn)])
    ends = [[middle - reach, middle + reach]]
    _, amount, clear = drawn(ends, [width])
    true = supersampled(ends, [width])[0]
    np.testing.assert_allclose(amount[0] + clear, 1, atol=1e-6)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    inner = np.abs((x - middle[0]) * reach[0] + (y - middle[1]) * reach[1]) / 7.3 < 6
    assert np.abs(amount[0] - true)[inner].max() < 0.02  # samples of a thin strand are few
    assert np.abs(amount[0] - true).max() < 0.02 + min(0.1, 0.7 * width)  # at its ends
    assert amount[0].sum() == pytest.approx(2 * 7.3 * width, abs=0.3 * width)


def test_a_curve_cut_into_segments_covers_what_it_covers_whole() -> None:
    whole = np.array([[3.2, 5.1], [20.4, 16.3]])
    cuts = np.linspace(whole[0], whole[1], 9)
    pieces = np.stack([cuts[:-1], cuts[1:]], 1)
    once, parts = drawn(whole[None], [0.4])[1][0], drawn(pieces, np.full(8, 0.4))[1][0]
    # Two halves of a joint's pixel are taken to lie independently.
    assert (parts - once).max() < 0.03 and (once - parts).max() < 0.4**2 / 4 + 0.03
    assert parts.sum() == pytest.approx(once.sum(), rel=0.03)


def test_many_strands_cover_as_much_as_supersampling_says() -> None:
    """Strands that lie independently: the mean over a patch is right, and single pixels nearly."""
    count = 400
    middle = RNG.uniform(2, SIZE - 2, (count, 1, 2))
    turn = RNG.uniform(0, np.pi, count)
    reach = 5 * np.stack([np.cos(turn), np.sin(turn)], 1)[:, None] * np.array([[-1], [1]])
    ends, widths = middle + reach, RNG.uniform(0.05, 0.3, count)
    at = (np.arange(SIZE * 8) + 0.5) / 8
    y, x = np.meshgrid(at, at, indexing="ij")
    covered = np.zeros(x.shape, bool)
    for (a, b), width in zip(ends, widths, strict=True):
        t = (b - a) / np.linalg.norm(b - a)
        along = (x - a[0]) * t[0] + (y - a[1]) * t[1]
        across = (y - a[1]) * t[0] - (x - a[0]) * t[1]
        covered |= (along >= 0) & (along <= 10) & (np.abs(across) <= width / 2)
    true = covered.reshape(SIZE, 8, SIZE, 8).mean((1, 3))
    alpha = drawn(ends, widths)[1][0]
    assert alpha.mean() == pytest.approx(true.mean(), abs=0.01)
    assert np.abs(alpha - true).mean() < 0.05


def test_what_is_nearer_hides_what_is_behind() -> None:
    across = [[[2, 12], [22, 12]], [[12, 2], [12, 22]]]
    light, amount, clear = drawn(across, [3, 3], colors=[[1, 0], [0, 1]], layer=[0, 1])
    assert tuple(light[0, 12, 12]) == (1, 0) and amount[1, 12, 12] == 0 == clear[12, 12]
    assert tuple(light[1, 5, 12]) == (0, 1)


def test_light_is_the_colors_by_what_is_seen_of_them() -> None:
    ends, widths = [[[2, 10.2], [22, 13.1]], [[3, 14], [21, 9]]], [0.7, 0.6]
    light, amount, _ = drawn(ends, widths, colors=[[0.2], [0.2]])
    np.testing.assert_allclose(light[0, ..., 0], 0.2 * amount[0], atol=1e-6)


def test_strands_end_where_the_body_begins() -> None:
    limit = FAR.copy()
    limit[:, 12:] = 1.5
    assert drawn([[[2, 12], [22, 12]]], [2], limit=limit)[1][0, :, 12:].max() == 0
    passing = drawn([[[2, 12], [22, 12]]], [2], z=[[0, 2]], limit=limit)[1][0, 12]
    assert passing[5] == passing[20] == 1 and passing[14] == 0


def grid_of(points: int = 4000) -> Any:
    """A cube of side 1 in the middle of a grid, full of random fibres."""
    middle = RNG.uniform(-0.5, 0.5, (points, 3))
    way = RNG.standard_normal((points, 3))
    way *= 0.05 / np.linalg.norm(way, axis=1, keepdims=True)
    grid = np.zeros((40, 40, 40), np.float32)
    corner = np.full(3, -1.0)
    starts, ends = (middle - way).astype(np.float32), (middle + way).astype(np.float32)
    kernel.add_matter(grid, corner, 0.05, starts, ends, np.full(points, 0.02, np.float32))
    return grid, corner


def test_depth_through_fibres_is_their_area_seen_from_all_sides() -> None:
    grid, corner = grid_of()
    assert grid.sum() * 0.05**3 == pytest.approx(math.pi / 4 * 4000 * 0.1 * 0.02, rel=1e-3)
    points = np.array([[0, 0, 0], [0, 0, -2]], np.float32)
    lights = np.array([[0, 0, 1], [0.6, 0.8, 0]], np.float32)
    depths = kernel.optical_depths(grid, corner, 0.05, points, lights, 0.02, 1.0, 60)
    assert depths[0, 0] == pytest.approx(0.5 * math.pi / 4 * 8, rel=0.15)
    assert depths[1, 1] == 0  # outside of the grid


def shone(sigma: Any, depth: Any = 0.0, tangent: Any = (0, 1, 0), lamp: Any = (0, 0, 1)) -> Any:
    """Light [V, 3] of one fibre seen from the front."""
    sigma = np.asarray(sigma, np.float32)[None]
    albedo = np.exp(-5.9 * np.sqrt(sigma))
    return kernel.shine(
        np.array([tangent], np.float32), np.array([[0, 0, 1]], np.float32),
        np.array([[depth]], np.float32), np.array([lamp], np.float32),
        np.ones((1, 3), np.float32), np.zeros(1, np.float32), sigma, albedo, 0.06, 0.14,
    )[0]  # fmt: skip


def test_dark_hair_keeps_the_lamp_s_highlight() -> None:
    dark = shone([[9.0, 9.0, 9.0]])[0]
    assert dark.min() > 0.02 and np.ptp(dark) < 1e-6
    aside = np.array([0, math.cos(0.7), math.sin(0.7)])
    assert shone([[9.0, 9.0, 9.0]], tangent=aside)[0].max() < 0.2 * dark.min()


def test_less_pigment_is_lighter_and_shadow_takes_less_of_light_hair() -> None:
    pale, brown = np.full(3, 0.01), np.array([0.1, 0.2, 0.4])
    front, deep = shone([pale, brown]), shone([pale, brown], depth=2.0)
    assert (front[0] > front[1]).all() and front[1, 0] > front[1, 1] > front[1, 2]
    lost = deep / front
    assert (lost[0] > lost[1]).all() and (lost < 0.8).all()


def test_light_hair_glows_against_the_lamp() -> None:
    behind = (0, 0.1, -0.995)
    pale, dark = shone([np.full(3, 0.01), np.full(3, 3.0)], lamp=behind)
    assert pale.min() > 10 * dark.max()
