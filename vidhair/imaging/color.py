"""sRGB ↔ CIE Lab (D65) and color differences. Tensors with the channels in dimension `dim`."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_WHITE = (0.95047, 1.0, 1.08883)
_DELTA = 6 / 29
LUMA = 0.3, 0.59, 0.11  # weights of red, green and blue


def _transform(x: Tensor, matrix: Tensor, dim: int) -> Tensor:
    x = x.movedim(dim, 0)
    # A single color has no dimension but its own.
    return (matrix @ x[:, None].flatten(1)).view(x.shape).movedim(0, dim)


def xyz_matrix(like: Tensor) -> Tensor:
    """sRGB (linear) → XYZ relative to the white point."""
    return like.new_tensor(_TO_XYZ) / like.new_tensor(_WHITE)[:, None]


def rgb_to_lab(rgb: Tensor, dim: int = 1) -> Tensor:
    """sRGB in 0 … 1 → L in 0 … 100, a and b in about −110 … 110."""
    return xyz_to_lab(_transform(srgb_to_linear(rgb), xyz_matrix(rgb), dim), dim)


def levels_to_lab(levels: Tensor) -> Tensor:
    """uint8 [T, H, W, 3] → float32 Lab [T, 3, H, W]; sooner than by `rgb_to_lab`."""
    linear = srgb_to_linear(torch.arange(256) / 255)[levels.movedim(-1, 1).int()]
    return xyz_to_lab(_transform(linear, xyz_matrix(linear), 1), 1)


def srgb_to_linear(rgb: Tensor) -> Tensor:
    """Light in proportion to its amount, of sRGB; both in 0 … 1."""
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0) + 0.055) / 1.055) ** 2.4)


def xyz_to_lab(xyz: Tensor, dim: int = 1) -> Tensor:
    """XYZ relative to the white point → Lab."""
    f = torch.where(
        xyz > _DELTA**3, xyz.clamp_min(_DELTA**3) ** (1 / 3), xyz / (3 * _DELTA**2) + 4 / 29
    )
    x, y, z = f.unbind(dim)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim)


def lab_to_rgb(lab: Tensor, dim: int = 1) -> Tensor:
    """The inverse of `rgb_to_lab`; colors outside sRGB are clipped to 0 … 1."""
    lightness, a, b = lab.unbind(dim)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], dim)
    xyz = torch.where(f > _DELTA, f**3, 3 * _DELTA**2 * (f - 4 / 29))
    linear = _transform(xyz, torch.linalg.inv(xyz_matrix(lab)), dim).clamp(0, 1)
    return linear_to_srgb(linear)


def linear_to_srgb(linear: Tensor) -> Tensor:
    """The inverse of `srgb_to_linear`."""
    return torch.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(1e-8) ** (1 / 2.4) - 0.055
    ).clamp(0, 1)


def delta_e_2000(lab1: Tensor, lab2: Tensor, dim: int = 1) -> Tensor:
    """CIEDE2000 color difference (Sharma, Wu, Dalal 2005), without the dimension `dim`."""
    l1, a1, b1 = lab1.unbind(dim)
    l2, a2, b2 = lab2.unbind(dim)
    c_mean7 = ((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - (c_mean7 / (c_mean7 + 25.0**7)).sqrt())
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = torch.atan2(b1, a1) % (2 * math.pi), torch.atan2(b2, a2) % (2 * math.pi)

    grey = c1 * c2 == 0
    dh = h2 - h1
    dh = torch.where(dh > math.pi, dh - 2 * math.pi, dh)
    dh = torch.where(dh < -math.pi, dh + 2 * math.pi, dh)
    dh = torch.where(grey, torch.zeros_like(dh), dh)
    big_h = 2 * (c1 * c2).sqrt() * torch.sin(dh / 2)

    total = h1 + h2
    far = (h1 - h2).abs() > math.pi
    h_mean = torch.where(far, total + torch.where(total < 2 * math.pi, 2, -2) * math.pi, total) / 2
    h_mean = torch.where(grey, total, h_mean)
    l_mean, c_mean = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * torch.cos(h_mean - math.radians(30))
        + 0.24 * torch.cos(2 * h_mean)
        + 0.32 * torch.cos(3 * h_mean + math.radians(6))
        - 0.20 * torch.cos(4 * h_mean - math.radians(63))
    )
    theta = math.radians(30) * torch.exp(-(((torch.rad2deg(h_mean) - 275) / 25) ** 2))
    c7 = c_mean**7
    rotation = -2 * (c7 / (c7 + 25.0**7)).sqrt() * torch.sin(2 * theta)
    square = (l_mean - 50) ** 2
    dl = (l2 - l1) / (1 + 0.015 * square / (20 + square).sqrt())
    dc = (c2 - c1) / (1 + 0.045 * c_mean)
    dh = big_h / (1 + 0.015 * c_mean * t)
    return (dl**2 + dc**2 + dh**2 + rotation * dc * dh).clamp_min(0).sqrt()


def luma(levels: NDArray[Any]) -> NDArray[np.float32]:
    """How bright pictures [..., 3] are, [...], in their levels."""
    found: NDArray[np.float32] = levels.astype(np.float32) @ np.array(LUMA, np.float32)
    return found
