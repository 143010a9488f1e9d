"""Soft mattes: laid onto the edges of a picture, and sharpened by its colours."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vidhair.ops.blur import blur, box_mean, box_radius
from vidhair.ops.color import rgb_to_lab
from vidhair.ops.morphology import dilate

UNLIKE = 15.0  # distance in Lab from which hair and what lies behind it are told apart


def guided_filter(guide: Tensor, values: Tensor, radius: int, eps: float) -> Tensor:
    """Lay soft values onto the edges of a picture (He et al. 2013, colour guide).

    guide: [T, 3, h, w]; values: [T, 1, h, w]; radius in pixels; eps: of the guide's variance.
    """
    if radius < 1:
        return values
    m_i, m_p = box_mean(guide, radius), box_mean(values, radius)
    covariance = box_mean(guide * values, radius) - m_i * m_p
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    products = torch.stack([guide[:, i] * guide[:, j] for i, j in pairs], 1)
    means = torch.stack([m_i[:, i] * m_i[:, j] for i, j in pairs], 1)
    xx, xy, xz, yy, yz, zz = (box_mean(products, radius) - means).unbind(1)
    xx, yy, zz = xx + eps, yy + eps, zz + eps
    # Inverse of the symmetric 3×3 matrix by cofactors.
    cof = (
        yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy,
        xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy,
    )  # fmt: skip
    det = xx * cof[0] + xy * cof[1] + xz * cof[2]
    cx, cy, cz = covariance.unbind(1)
    a = torch.stack(
        [
            cof[0] * cx + cof[1] * cy + cof[2] * cz,
            cof[1] * cx + cof[3] * cy + cof[4] * cz,
            cof[2] * cx + cof[4] * cy + cof[5] * cz,
        ],
        1,
    ) / det.unsqueeze(1)
    b = m_p - (a * m_i).sum(1, keepdim=True)
    a, b = box_mean(a, radius), box_mean(b, radius)
    return ((a * guide).sum(1, keepdim=True) + b).clamp(0, 1)


@dataclass(frozen=True)
class Border:
    """How near its border a matte may be sharpened, and how far the colours are looked for: px."""

    radius: int
    sigma: float

    @classmethod
    def on_grid(cls, step: float) -> "Border":
        """For a matte whose samples are `step` pixels apart."""
        return cls(max(2, round(1.5 * step)), max(3.0, 3 * step))

    @property
    def support(self) -> int:
        """Pixels beyond which nothing matters."""
        return self.radius + 3 * box_radius(self.sigma)


def unmix(alpha: Tensor, source: Tensor, border: Border) -> Tensor:
    """Sharpen a matte near its border by the colours on either side.

    alpha: [T, 1, H, W]; source: [T, 3, H, W] in 0 … 1. A pixel there lies between the colour of the
    hair and that of what is behind it, both taken from where the matte is sure nearby: the
    compositing equation solved for alpha. It counts by how unlike the two are.
    """
    lab = rgb_to_lab(source)
    sure, sure_not = ((alpha - 0.9) * 10).clamp(0, 1), ((0.1 - alpha) * 10).clamp(0, 1)

    def nearby(weight: Tensor) -> Tensor:
        return blur(lab * weight, border.sigma) / blur(weight, border.sigma).clamp_min(1e-4)

    behind = nearby(sure_not)
    way = nearby(sure) - behind
    length = way.square().sum(1, keepdim=True)
    seen = (((lab - behind) * way).sum(1, keepdim=True) / (length + 1e-6)).clamp(0, 1)
    side = 2 * border.radius + 1
    near = dilate(sure, side) * dilate(sure_not, side)
    return torch.lerp(alpha, seen, near * length / (length + UNLIKE**2))
