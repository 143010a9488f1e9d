from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from vidhair.synthetic import shape
from vidhair.synthetic.params import sample_faces
from vidhair.synthetic.shape import Head

number = st.floats(-3, 3)


def column(*values: float) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor([[float(v)]], dtype=torch.float64) for v in values)


def head(count: int = 4, seed: int = 0, **options: Any) -> Head:
    faces = sample_faces(count, torch.Generator().manual_seed(seed), neutral=True, **options)
    return shape.head_of(faces)


def points(count: int, *, size: float = 1.5, faces: int = 4) -> shape.Points:
    g = torch.Generator().manual_seed(1)
    return tuple((torch.rand(faces, count, generator=g) * 2 - 1) * size for _ in range(3))


class TestBlocks:
    @given(number, number, number, st.floats(0.2, 2))
    def test_a_ball_is_an_ellipsoid_with_equal_axes(
        self, x: float, y: float, z: float, radius: float
    ) -> None:
        px, py, pz = column(x, y, z)
        got = shape.ellipsoid(px, py, pz, radius, radius, radius)
        distance = (x * x + y * y + z * z) ** 0.5
        assume(distance > 0.05 * radius)  # the middle has no direction
        want = distance - radius
        assert float(got) == pytest.approx(want, abs=1e-4)

    @given(st.floats(0, 6.28), st.floats(-1.5, 1.5))
    def test_an_ellipsoid_is_zero_on_its_surface_and_negative_inside(
        self, u: float, v: float
    ) -> None:
        s, t = torch.tensor([[u]]), torch.tensor([[v]])
        x, y, z = 0.5 * s.cos() * t.cos(), 0.8 * t.sin(), 1.1 * s.sin() * t.cos()
        assert abs(float(shape.ellipsoid(x, y, z, 0.5, 0.8, 1.1))) < 1e-4
        assert shape.ellipsoid(0.9 * x, 0.9 * y, 0.9 * z, 0.5, 0.8, 1.1) < 0
        assert shape.ellipsoid(1.1 * x, 1.1 * y, 1.1 * z, 0.5, 0.8, 1.1) > 0

    @given(number, number, st.floats(0.01, 1))
    def test_a_union_is_the_minimum_but_where_the_two_meet(
        self, a: float, b: float, k: float
    ) -> None:
        one, other = column(a, b)
        got = float(shape.union(one, other, k))
        assert min(a, b) - k / 4 - 1e-9 <= got <= min(a, b)
        if abs(a - b) >= k:
            assert got == min(a, b)
        assert float(shape.union(other, one, k)) == pytest.approx(got)

    @given(number, number, st.floats(0.01, 1))
    def test_an_intersection_is_the_union_of_what_lies_outside(
        self, a: float, b: float, k: float
    ) -> None:
        one, other = column(a, b)
        got = float(shape.intersection(one, other, k))
        assert got == pytest.approx(-float(shape.union(-one, -other, k)))

    @given(number, number, number)
    def test_a_stroke_of_even_width_is_at_its_radius_from_its_line(
        self, x: float, y: float, z: float
    ) -> None:
        a, b = (-1.0, 0.5, 0.0), (1.0, 0.5, 0.0)
        px, py, pz = column(x, y, z)
        got = float(shape.capsule(px, py, pz, a, b, 0.3, 0.3))
        beyond = max(abs(x) - 1, 0)
        assert got == pytest.approx((beyond**2 + (y - 0.5) ** 2 + z**2) ** 0.5 - 0.3, abs=1e-6)

    def test_a_ramp_rises_smoothly_either_way(self) -> None:
        x = torch.linspace(-1, 2, 31)
        up = shape.ramp(0.0, 1.0, x)
        assert (up[:10] == 0).all() and (up[21:] == 1).all()
        assert (up.diff() >= -1e-6).all() and float(up[15]) == pytest.approx(0.5)
        torch.testing.assert_close(shape.ramp(1.0, 0.0, x), 1 - up)

    @given(number)
    def test_soft_abs(self, x: float) -> None:
        got = float(shape.soft_abs(torch.tensor(x, dtype=torch.float64), 0.03))
        assert abs(x) <= got <= abs(x) + 0.03 + 1e-12


class TestHead:
    def test_inside_and_outside(self) -> None:
        h = head()
        middle = tuple(torch.zeros(4, 1) for _ in range(3))
        assert (shape.skin(middle, h) < -0.3).all()
        far = tuple(torch.full((4, 1), v) for v in (0.0, 0.0, 3.0))
        assert (shape.skin(far, h) > 1.5).all()

    def test_a_head_without_expression_is_the_same_on_both_sides(self) -> None:
        h, (x, y, z) = head(), points(300)
        torch.testing.assert_close(shape.skin((x, y, z), h), shape.skin((-x, y, z), h))

    def test_distances_tell_how_far_a_ray_may_go(self) -> None:
        """A step of most of the distance never lands inside the head."""
        h, p = head(), points(2000, size=2.0)
        d = shape.skin(p, h)
        outside = d > 0.02
        g = torch.Generator().manual_seed(2)
        for _ in range(6):
            step = torch.randn(3, 4, 2000, generator=g)
            step = step / step.norm(dim=0) * d * 0.92
            landed = shape.skin(tuple(c + s for c, s in zip(p, step, strict=True)), h)
            assert (landed[outside] > -0.06).all()

    def test_shape_numbers_do_what_they_are_called(self) -> None:
        base = sample_faces(1, torch.Generator().manual_seed(0), neutral=True)

        def skin_at(*point: float, **changes: float) -> float:
            p = tuple(torch.tensor([[v]]) for v in point)
            return float(shape.skin(p, shape.head_of(base.replace(**changes))))

        for name, point in {
            "cranium_width": (0.75, 0.35, -0.16),
            "cranium_height": (0.0, 1.15, -0.16),
            "nose_projection": (0.0, -0.27, 1.0),
            "chin_length": (0.0, -1.05, 0.45),
        }.items():
            assert skin_at(*point, **{name: 2.0}) < skin_at(*point, **{name: -2.0}), name

    def test_no_volume_is_no_hair(self) -> None:
        assert (shape.hair(points(200), head(style="bald")) == shape.NOWHERE).all()

    def test_hair_lies_on_the_crown_and_not_on_the_face(self) -> None:
        h = head(style="short")
        crown = tuple(torch.full((4, 1), v) for v in (0.0, 1.15, -0.16))
        face = tuple(torch.full((4, 1), v) for v in (0.0, -0.2, 0.9))
        assert (shape.hair(crown, h) < 0.05).all()
        assert (shape.hair(face, h) > 0.2).all()

    def test_long_hair_reaches_lower_than_short_hair(self) -> None:
        base = sample_faces(1, torch.Generator().manual_seed(0), style="long", neutral=True)
        beside_the_neck = tuple(torch.tensor([[v]]) for v in (0.78, -0.8, -0.3))
        distance = [
            float(shape.hair(beside_the_neck, shape.head_of(base.replace(hair_length=length))))
            for length in (0.1, 0.5, 1.0)
        ]
        assert distance[0] > distance[1] > distance[2] and distance[2] < 0.05 < distance[0]

    def test_lids_close_and_lips_part(self) -> None:
        base = sample_faces(1, torch.Generator().manual_seed(0), neutral=True)

        def opening(x: float, **changes: float) -> float:
            h = shape.head_of(base.replace(**changes))
            across, down = torch.tensor([[x]]), torch.tensor([[shape.EYE_Y + 0.01]])
            return float(shape.eye_opening(across, down, h))

        assert opening(0.318) < 0 and opening(-0.318) < 0
        assert opening(-0.318, blink_left=1.0) > 0 > opening(0.318, blink_left=1.0)

        def between_the_lips(opened: float) -> float:
            h = shape.head_of(base.replace(mouth_open=opened))
            _, upper, lower = shape.mouth_line(torch.zeros(1, 1), h)
            return float(upper - lower)

        assert between_the_lips(0.0) == pytest.approx(0, abs=1e-6)
        assert between_the_lips(1.0) > between_the_lips(0.5) > 0.05
