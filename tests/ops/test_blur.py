"""Gaussian blur by box filters."""

import pytest
import torch
import torch.nn.functional as F

from vidhair.ops.blur import blur, box_mean, box_radius


@pytest.mark.parametrize("sigma", [2.5, 6.0, 11.0])
def test_a_point_becomes_a_bell_of_that_width(sigma):
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


def test_constants_and_borders_stay():
    x = torch.full((1, 2, 10, 7), 3.5)
    torch.testing.assert_close(blur(x, 4.0), x)


def test_next_to_no_blur_is_none():
    x = torch.rand(1, 1, 5, 5)
    assert blur(x, 0.0) is x


@pytest.mark.parametrize("radius", [1, 4])
def test_box_mean_is_the_mean_of_a_square(radius):
    x = torch.rand(2, 3, 12, 15, dtype=torch.float64)
    padded = F.pad(x, (radius,) * 4, mode="replicate")
    torch.testing.assert_close(box_mean(x, radius), F.avg_pool2d(padded, 2 * radius + 1, stride=1))
