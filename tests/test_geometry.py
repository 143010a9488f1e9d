import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from vidhair.geometry import (
    Box,
    CropAxes,
    Grid,
    Similarity,
    crop_axes,
    crop_quad,
    eye_rotation_deg,
    frame_crop,
    quarters_of,
    similarity_in_box,
)

coordinate = st.floats(-2000, 2000)
point = st.tuples(coordinate, coordinate).map(np.array)
angle = st.floats(-179, 179)
scale = st.floats(0.05, 20)
UNIT = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]])  # corners as quads have them


def rotation(angle_deg: float) -> NDArray[Any]:
    """Turns the picture counter-clockwise as seen, y pointing down."""
    a = math.radians(angle_deg)
    return np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])


@st.composite
def faces(draw: st.DrawFn) -> list[NDArray[Any]]:
    """Eye centres and mouth corners [4][T, 2] of upright-ish faces, somewhere and turned."""
    count = draw(st.integers(1, 4))
    rows = []
    for _ in range(count):
        shape = np.array([[-1, -1], [1, -1], [-0.7, 1.2], [0.7, 1.2]])
        jitter = np.array(draw(st.lists(st.floats(-0.3, 0.3), min_size=8, max_size=8)))
        turn, size = rotation(draw(angle)), draw(st.floats(5, 300))
        rows.append((shape + jitter.reshape(4, 2)) @ turn.T * size + draw(point))
    return list(np.stack(rows, axis=1))


@given(
    st.lists(st.tuples(angle, st.floats(-3, 3), st.floats(-3, 3), st.floats(0.01, 50)), min_size=1)
)
def test_similarity_survives_the_way_through_matrices(
    rows: list[tuple[float, float, float, float]],
) -> None:
    similarity = Similarity(*np.array(rows).T)
    back = Similarity.from_matrices(similarity.matrices())
    np.testing.assert_allclose(back.angle_deg, similarity.angle_deg, atol=1e-9)
    np.testing.assert_allclose(back.scale, similarity.scale, rtol=1e-9)
    np.testing.assert_array_equal([back.tx, back.ty], [similarity.tx, similarity.ty])


@given(angle, scale, point)
def test_matrices_turn_scale_and_move(angle_deg: float, scale: float, shift: NDArray[Any]) -> None:
    matrix = Similarity(*np.array([[angle_deg], [shift[0]], [shift[1]], [scale]])).matrices()
    carried = np.c_[UNIT, np.ones(4)] @ matrix[0].T
    want = UNIT @ rotation(angle_deg).T * scale + shift
    np.testing.assert_allclose(carried[:, :2], want, atol=1e-9)
    assert np.all(carried[:, 2] == 1)


def test_positive_angles_are_counter_clockwise_as_seen() -> None:
    matrix = Similarity(*np.array([[90.0], [0], [0], [1]])).matrices()[0]
    np.testing.assert_allclose(matrix @ [1, 0, 1], [0, -1, 1], atol=1e-12)  # right goes up


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=4))
def test_from_matrices_takes_the_nearest_similarity(entries: list[float]) -> None:
    (a, b), (c, d) = entries[:2], entries[2:]
    assume(math.hypot(a + d, b - c) > 1e-3)
    nearest = Similarity.from_matrices(np.array([[[a, b, 0], [c, d, 0], [0, 0, 1.0]]])).matrices()

    def distance(similarity: NDArray[Any]) -> float:
        return float(np.square(similarity[0, :2, :2] - [[a, b], [c, d]]).sum())

    best = Similarity.from_matrices(nearest)
    for d_angle, d_scale in [(1, 1), (-1, 1), (0, 1.01), (0, 0.99)]:
        other = Similarity(best.angle_deg + d_angle, best.tx, best.ty, best.scale * d_scale)
        assert distance(other.matrices()) >= distance(nearest) - 1e-12


@given(faces(), st.tuples(coordinate, coordinate, st.floats(10, 3000)))
def test_the_similarity_carries_the_aligned_targetonto_the_quad(
    points: list[NDArray[Any]], box: tuple[float, float, float]
) -> None:
    axes, target = crop_axes(*points), Box(*box)
    matrices = similarity_in_box(axes, target).matrices()
    carried = np.einsum("tij,kj->tki", matrices, np.c_[UNIT, np.ones(4)])[..., :2]
    np.testing.assert_allclose(carried * target.side + target.centre, axes.quad, atol=1e-6)


def test_box_centre() -> None:
    assert np.array_equal(Box(10, -20, 30).centre, [25, -5])


@pytest.mark.parametrize("eyes_only", [False, True])
@given(points=faces(), angle_deg=angle, scale=scale, shift=point)
def test_the_crop_follows_the_face(
    eyes_only: bool, points: list[NDArray[Any]], angle_deg: float, scale: float, shift: NDArray[Any]
) -> None:
    before = crop_axes(*points, eyes_only=eyes_only)
    turn = rotation(angle_deg) * scale
    after = crop_axes(*(p @ turn.T + shift for p in points), eyes_only=eyes_only)
    np.testing.assert_allclose(after.centre, before.centre @ turn.T + shift, atol=1e-6)
    np.testing.assert_allclose(after.x, before.x @ turn.T, atol=1e-6)


@given(faces())
def test_the_quad_is_a_targetaround_the_centre_with_its_top_above_the_eyes(
    points: list[NDArray[Any]],
) -> None:
    axes = crop_axes(*points)
    top_left, bottom_left, bottom_right, top_right = np.moveaxis(axes.quad, -2, 0)
    np.testing.assert_allclose(axes.quad.mean(-2), axes.centre, atol=1e-6)
    for a, b in [
        (top_left, bottom_left),
        (bottom_left, bottom_right),
        (bottom_right, top_right),
        (top_right, top_left),
    ]:
        np.testing.assert_allclose(np.hypot(*np.moveaxis(b - a, -1, 0)), axes.side, rtol=1e-9)
    eyes, mouth = (points[0] + points[1]) / 2, (points[2] + points[3]) / 2
    assert np.all(((mouth - eyes) * axes.y).sum(-1) > 0)
    np.testing.assert_allclose(bottom_left - top_left, 2 * axes.y, atol=1e-6)
    np.testing.assert_allclose(top_right - top_left, 2 * axes.x, atol=1e-6)


def test_the_crop_of_a_known_face() -> None:
    """Eyes 100 apart, mouth 120 below: side 4 × 108 from the mouth, or 4 × 100 from the eyes."""
    face = [np.array(p, float) for p in [(150, 200), (250, 200), (170, 320), (230, 320)]]
    both, eyes = crop_axes(*face), crop_axes(*face, eyes_only=True)
    np.testing.assert_allclose(both.centre, [200, 212])
    np.testing.assert_allclose(both.x, [216, 0], atol=1e-9)
    np.testing.assert_allclose(eyes.x, [200, 0], atol=1e-9)
    assert both.side == pytest.approx(432) and eyes.side == pytest.approx(400)


@given(faces())
def test_the_upright_quad_keeps_centre_and_side(points: list[NDArray[Any]]) -> None:
    axes = crop_axes(*points)
    upright = axes.upright_quad
    np.testing.assert_allclose(upright.mean(-2), axes.centre, atol=1e-6)
    np.testing.assert_allclose(
        upright[..., 2, :] - upright[..., 0, :], axes.side[..., None] * [1, 1]
    )


@given(point, st.floats(1, 500), angle, angle)
def test_eye_rotation_is_the_angle_between_the_eye_lines(
    middle: NDArray[Any], half: float, start: float, turn: float
) -> None:
    aligned, line = (rotation(a) @ [half, 0] for a in (start, start + turn))
    got = eye_rotation_deg(middle - line, middle + line, middle - aligned, middle + aligned)
    # Its sense is decided by which eye is lower, so the angle is known up to its sign.
    difference = (got - turn) % 360, (got + turn) % 360
    assert min(min(d, 360 - d) for d in difference) < 1e-3
    if line[1] > 1e-9 * half:
        assert got >= 180


@given(point, st.floats(0.1, 500), angle, scale)
def test_eye_rotation_of_parallel_lines_is_a_number(
    middle: NDArray[Any], half: float, direction: float, scale: float
) -> None:
    """Rounding must not push the cosine above one."""
    line = rotation(direction) @ [half, 0]
    got = eye_rotation_deg(middle - line, middle + line, -line * scale, line * scale)
    assert min(got, 360 - got) < 1e-3


def picture(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + y / 14), np.cos(x / 11), np.sin(y / 8 - x / 23)]
    return Image.fromarray(np.rint(128 + 100 * np.stack(waves, -1)).astype(np.uint8))


def square(centre: tuple[float, float], side: float, angle_deg: float = 0) -> NDArray[Any]:
    return CropAxes(np.array(centre, float), rotation(angle_deg) @ [side / 2, 0]).quad


@pytest.mark.parametrize("size", [32, 47])
def test_the_whole_picture_as_quad_is_the_picture(size: int) -> None:
    # Pixel centres are whole numbers here, so the outer edge lies at −½.
    quad = square(((size - 1) / 2, (size - 1) / 2), size)
    image = picture(size, size)
    got = crop_quad(image, quad, size=size, pad=False)
    assert np.array_equal(np.asarray(got), np.asarray(image))


@pytest.mark.parametrize("pad", [False, True])
def test_an_upright_quad_inside_is_a_window(pad: bool) -> None:
    image = picture(200, 160)
    got = crop_quad(image, square((99.5, 79.5), 60), size=60, pad=pad)
    assert np.array_equal(np.asarray(got), np.asarray(image.crop((70, 50, 130, 110))))


def test_a_quarter_turn() -> None:
    image = picture(200, 160)
    got = crop_quad(image, square((99.5, 79.5), 60, 90), size=60)
    window = np.asarray(image.crop((70, 50, 130, 110)))
    assert np.array_equal(np.asarray(got), np.rot90(window, -1))


def test_padding_continues_the_picture_beyond_its_border() -> None:
    image, quad = picture(100, 100), square((5, 50), 60)
    inside = np.asarray(crop_quad(image, quad, size=60, pad=False), float)
    padded = np.asarray(crop_quad(image, quad, size=60), float)
    assert np.all(inside[:, :20] == 0) and padded[:, :20].std() > 0
    assert padded[:, :20].mean() == pytest.approx(np.asarray(image, float).mean(), abs=25)
    # Next to the border it is the reflected picture, well inside it the picture itself.
    assert np.abs(padded[:, 45:] - inside[:, 45:]).mean() < 1
    edge = np.abs(padded[:, 24] - padded[:, 26]).mean()
    assert edge < 20


@pytest.mark.parametrize("transform_size", [None, 64])
def test_a_much_smaller_crop_has_no_aliases(transform_size: int | None) -> None:
    y, x = np.mgrid[:400, :400]
    board = Image.fromarray((255 * ((x + y) % 2)).astype(np.uint8)).convert("RGB")
    got = np.asarray(
        crop_quad(board, square((200, 200), 256), size=32, transform_size=transform_size), float
    )
    assert np.abs(got - 127.5).max() < 12


def test_the_quad_given_is_left_alone() -> None:
    quad = square((30, 30), 300)
    kept = quad.copy()
    crop_quad(picture(100, 100), quad, size=16)
    assert np.array_equal(quad, kept)


@given(
    st.tuples(st.floats(100, 1000), st.floats(100, 1000)),
    st.floats(20, 200),
    st.floats(-20, 20),
)
def test_frame_crop_puts_the_eyes_64_pixels_apart(
    middle: tuple[float, float], apart: float, lower: float
) -> None:
    half = np.array([apart / 2, lower / 2])
    left, right = np.array(middle) - half, np.array(middle) + half
    crop = frame_crop(left, right, 1100, 1100)
    assert (right[0] - left[0]) * crop.scale == pytest.approx(64)
    for low, high, size in [
        (crop.left, crop.right, crop.width),
        (crop.top, crop.bottom, crop.height),
    ]:
        assert 0 <= low < high <= size and low % 8 == high % 8 == 0
    assert crop.width == crop.height == round(1100 * crop.scale)
    x, y = np.array(middle) * crop.scale
    assert crop.left <= x <= crop.right and crop.top <= y <= crop.bottom


class TestGrid:
    def test_its_samples_lie_where_they_are_seen_from_another_grid(self) -> None:
        grid, other = Grid(10.0, 4.0, 3.0, 5, 7), Grid(-2.0, 1.0, 1.5, 40, 50)
        seen = grid.seen_from(other)
        assert seen == Grid(8.0, 2.0, 2.0, 5, 7)
        corner = np.array([grid.left, grid.top])
        assert (other.places(corner) == [seen.left, seen.top]).all()

    def test_a_finer_grid_covers_the_same(self) -> None:
        assert Grid(1.0, 2.0, 3.0, 5, 7).finer(3) == Grid(1.0, 2.0, 1.0, 15, 21)

    def test_pixels_of_the_frame_can_be_sliced(self) -> None:
        frame = np.arange(60).reshape(6, 10)
        grid = Grid.of_pixels(2, 3, left=4, top=1)
        assert (frame[grid.pixels] == frame[1:3, 4:7]).all()
        with pytest.raises(AssertionError, match="pixels"):
            assert Grid(0, 0, 1.5, 2, 2).pixels


def test_points_are_located_in_a_turned_square() -> None:
    axes = CropAxes(np.array([[10.0, 20.0]]), np.array([[3.0, 4.0]]))  # a side of 10
    points = np.array([[[10.0, 20.0], [13.0, 24.0], [6.0, 23.0], [7.0, 16.0]]])
    want = [[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [-0.5, 0.0]]
    np.testing.assert_allclose(axes.locate(points)[0], want, atol=1e-12)


@pytest.mark.parametrize("degrees", (0, 25, -40, 80, 100, 180, 268, 350))
def test_heads_are_turned_upright_by_quarters(degrees: int) -> None:
    angle = np.deg2rad(degrees + np.array([-8, 0, 9]))
    quarters = quarters_of(np.stack([np.cos(angle), np.sin(angle)], 1) * 30)
    assert abs((degrees - 90 * quarters + 180) % 360 - 180) <= 45


def test_heads_that_do_not_agree_are_not_turned() -> None:
    assert quarters_of(np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0]])) == 0
    assert quarters_of(np.zeros((0, 2))) == 0
