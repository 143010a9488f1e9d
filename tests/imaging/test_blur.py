"""Gaussian blur by box filters."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.tolerances import gradient
from vidhair.imaging.blur import blur, blur_, box_mean, box_mean_, box_radius


@pytest.mark.parametrize("sigma", [2.5, 6.0, 11.0])
def test_a_point_becomes_a_bell_of_that_width(sigma: float) -> None:
    point = torch.zeros(1, 1, 121, 121, dtype=torch.float64)
    point[..., 60, 60] = 1
    bell = blur(point, sigma)[0, 0]
    offsets = torch.arange(121.0) - 60
    assert float(bell.sum()) == pytest.approx(1)
    assert float(bell.argmax()) == 60 * 121 + 60
    assert float((bell.sum(0) * offsets**2).sum()) == pytest.approx(sigma**2, rel=0.2)
    torch.testing.assert_close(bell, bell.t())
    reach = offsets[(bell.sum(0) > 0)].abs().max()
    assert reach == 3 * box_radius(sigma)


def test_constants_and_borders_stay() -> None:
    x = torch.full((1, 2, 10, 7), 3.5)
    torch.testing.assert_close(blur(x, 4.0), x)


def test_next_to_no_blur_is_none() -> None:
    x = torch.rand(1, 1, 5, 5)
    assert blur(x, 0.0) is x


def mean_of_square(x: torch.Tensor, radius: int) -> torch.Tensor:
    """The definition, in float64: pixels beyond the border are those on it."""
    x = x.double()
    for dim in (2, 3):
        places = torch.arange(-radius, x.shape[dim] + radius).clamp(0, x.shape[dim] - 1)
        x = x.index_select(dim, places).unfold(dim, 2 * radius + 1, 1).mean(-1)
    return x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(12, 15), (1, 40), (35, 1), (33, 50)])
@pytest.mark.parametrize("radius", [1, 4, 14, 60])
def test_box_mean_is_the_mean_of_a_square(
    radius: int, size: tuple[int, int], dtype: torch.dtype
) -> None:
    x = torch.rand(2, 3, *size, dtype=dtype) * 100
    before = x.clone()
    got = box_mean(x, radius)
    torch.testing.assert_close(got.double(), mean_of_square(x, radius), atol=1e-4, rtol=0)
    assert got.dtype == dtype and torch.equal(x, before)
    assert torch.equal(box_mean_(x, radius), got)


def test_a_blur_is_three_means_also_of_part_of_a_tensor() -> None:
    whole = torch.rand(2, 5, 40, 52)
    part = whole[:, 1:3, 4:30]
    radius = box_radius(2.0)
    want = part
    for _ in range(3):
        want = mean_of_square(want, radius)
    torch.testing.assert_close(blur(part, 2.0).double(), want, atol=1e-6, rtol=0)


def test_in_place_no_memory_is_taken() -> None:
    x = torch.rand(1, 2, 20, 20)
    want = blur(x, 3.0)
    got = blur_(x, 3.0)
    assert got.data_ptr() == x.data_ptr() and torch.equal(got, want)


def test_large_values_leave_nothing_behind() -> None:
    """Running sums take away exactly what they added."""
    x = torch.zeros(1, 1, 8, 400)
    x[..., :100] = 1e6 * torch.rand(100)
    assert box_mean(x, 20)[..., 130:].abs().max() < 1e-8


def test_gradients_pass() -> None:
    x = torch.rand(1, 1, 6, 6, requires_grad=True)
    blur(x, 1.0).sum().backward()
    torch.testing.assert_close(gradient(x).sum(), torch.tensor(36.0))


class Counted(np.ndarray[Any, Any]):
    """An array that counts how often it is read."""

    reads = 0

    def __getitem__(self, place: Any) -> Any:
        Counted.reads += 1
        return super().__getitem__(place)


@pytest.mark.parametrize("radius", [1, 5, 40])
def test_a_pixel_is_read_as_often_at_any_radius(
    radius: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidhair.kernels import _boxes

    length, lines = 200, _boxes.LINES
    x = np.random.default_rng(0).random((length, lines), np.float32).view(Counted)
    y = np.zeros((length, lines), np.float32)
    monkeypatch.setattr(Counted, "reads", 0)
    _boxes.mean_along.py_func(x, y, length, radius, np.zeros(lines))
    # As it goes two reads of every pixel; the first sum reads what the square holds.
    assert Counted.reads == lines * (2 * length + radius + 2)
    column = torch.from_numpy(np.asarray(x)).T[:, None, :, None]  # a picture per line
    want = mean_of_square(column.expand(-1, -1, -1, 1), radius)[:, 0, :, 0].T
    np.testing.assert_allclose(y, want, atol=1e-6)
