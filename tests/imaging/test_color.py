import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tolerances import gradient
from vidhair.imaging.color import delta_e_2000, lab_to_rgb, levels_to_lab, luma, rgb_to_lab

# Sharma, Wu, Dalal 2005, table 1: L1 a1 b1 L2 a2 b2 ΔE00.
SHARMA = """
50.0000 2.6772 -79.7751 50.0000 0.0000 -82.7485 2.0425
50.0000 3.1571 -77.2803 50.0000 0.0000 -82.7485 2.8615
50.0000 2.8361 -74.0200 50.0000 0.0000 -82.7485 3.4412
50.0000 -1.3802 -84.2814 50.0000 0.0000 -82.7485 1.0000
50.0000 -1.1848 -84.8006 50.0000 0.0000 -82.7485 1.0000
50.0000 -0.9009 -85.5211 50.0000 0.0000 -82.7485 1.0000
50.0000 0.0000 0.0000 50.0000 -1.0000 2.0000 2.3669
50.0000 -1.0000 2.0000 50.0000 0.0000 0.0000 2.3669
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0009 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0010 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0011 7.2195
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0012 7.2195
50.0000 -0.0010 2.4900 50.0000 0.0009 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0010 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0011 -2.4900 4.7461
50.0000 2.5000 0.0000 50.0000 0.0000 -2.5000 4.3065
50.0000 2.5000 0.0000 73.0000 25.0000 -18.0000 27.1492
50.0000 2.5000 0.0000 61.0000 -5.0000 29.0000 22.8977
50.0000 2.5000 0.0000 56.0000 -27.0000 -3.0000 31.9030
50.0000 2.5000 0.0000 58.0000 24.0000 15.0000 19.4535
50.0000 2.5000 0.0000 50.0000 3.1736 0.5854 1.0000
50.0000 2.5000 0.0000 50.0000 3.2972 0.0000 1.0000
50.0000 2.5000 0.0000 50.0000 1.8634 0.5757 1.0000
50.0000 2.5000 0.0000 50.0000 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""
PAIRS = torch.tensor(
    [[float(n) for n in row.split()] for row in SHARMA.strip().splitlines()], dtype=torch.float64
)

channel = st.floats(0, 1)
lab = st.tuples(st.floats(0, 100), st.floats(-100, 100), st.floats(-100, 100))


def color(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize("row", PAIRS, ids=lambda row: f"{row[-1]:.4f}")
def test_published_differences(row: torch.Tensor) -> None:
    assert round(float(delta_e_2000(row[None, :3], row[None, 3:6])), 4) == float(row[6])
    assert round(float(delta_e_2000(row[None, 3:6], row[None, :3])), 4) == float(row[6])


@given(lab, lab)
def test_difference_is_symmetric_and_zero_only_for_equal_colors(
    one: tuple[float, float, float], two: tuple[float, float, float]
) -> None:
    a, b = color(*one), color(*two)
    forth, back = delta_e_2000(a, b), delta_e_2000(b, a)
    torch.testing.assert_close(forth, back, rtol=1e-6, atol=1e-6)
    assert delta_e_2000(a, a) == 0
    assert forth > 0 or torch.dist(a, b) < 1e-6


@given(st.tuples(channel, channel, channel))
def test_rgb_survives_the_way_through_lab(rgb: tuple[float, float, float]) -> None:
    value = color(*rgb)
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(value)), value, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((1, 1, 1), (100, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
        ((0.5, 0.5, 0.5), (53.39, 0, 0)),
        ((0.01, 0.01, 0.01), (0.70, 0, 0)),
    ],
)
def test_known_colors(rgb: tuple[float, float, float], lab: tuple[float, float, float]) -> None:
    torch.testing.assert_close(rgb_to_lab(color(*rgb)), color(*lab), rtol=0, atol=0.02)


def test_colors_outside_srgb_are_clipped() -> None:
    rgb = lab_to_rgb(torch.tensor([[50.0, 120, -120], [120, 0, 0], [-5, 0, 0]]))
    assert rgb.min() == 0 and 1 - 1e-6 < rgb.max() <= 1
    torch.testing.assert_close(rgb[1:], torch.tensor([[1.0] * 3, [0.0] * 3]))


def test_channels_may_lie_in_any_dimension() -> None:
    rgb = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    lab, last = rgb_to_lab(rgb), rgb.movedim(1, -1)
    torch.testing.assert_close(rgb_to_lab(last, dim=-1), lab.movedim(1, -1))
    torch.testing.assert_close(lab_to_rgb(lab.movedim(1, -1), dim=-1), last, atol=1e-4, rtol=0)
    torch.testing.assert_close(rgb_to_lab(rgb[0, :, 1, 2], dim=0), lab[0, :, 1, 2])
    torch.testing.assert_close(lab_to_rgb(lab[0, :, 1, 2], dim=0), rgb[0, :, 1, 2])
    shifted = lab + torch.tensor([5.0, -3, 2])[:, None, None]
    assert delta_e_2000(lab, shifted).shape == (2, 4, 5)


def test_gradients_are_finite_from_black_to_white() -> None:
    rgb = torch.linspace(0, 1, 12).expand(3, 12).t().clone().requires_grad_()
    rgb_to_lab(rgb).sum().backward()
    slope = gradient(rgb)
    assert slope.isfinite().all() and (slope.sum(1) > 0).all()
    lab = rgb_to_lab(rgb.detach()).requires_grad_()
    lab_to_rgb(lab).sum().backward()
    assert gradient(lab).isfinite().all()


def test_bytes_become_the_lab_of_what_they_mean() -> None:
    levels = torch.randint(0, 256, (2, 9, 7, 3), dtype=torch.uint8)
    want = rgb_to_lab(levels.movedim(-1, 1).double() / 255)
    torch.testing.assert_close(levels_to_lab(levels).double(), want, atol=1e-4, rtol=0)


def test_luma_is_that_of_a_grey_and_green_is_brighter_than_blue() -> None:
    colors = np.array([[[80, 80, 80], [0, 200, 0], [0, 0, 200]]], np.uint8)
    grey, green, blue = luma(colors)[0]
    assert grey == pytest.approx(80) and green > 100 > 50 > blue > 0
