"""Soft mattes: laid onto the edges of a picture, and sharpened by its colors."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from types import EllipsisType

import torch
from torch import Tensor

from vidhair.ops.blur import blur_, box_mean_, box_radius
from vidhair.ops.morphology import dilate
from vidhair.ops.rows import by_rows

TILE = 192  # side of what the guided filter does at once, in pixels
FLAT = 1e-6  # differences between values that are none
UNLIKE = 15.0  # distance in Lab from which hair and what lies behind it are told apart

Index = tuple[EllipsisType, slice, slice]


def guided_filter(guide: Tensor, values: Tensor, radius: int, eps: float) -> Tensor:
    """Lay soft values onto the edges of a picture (He et al. 2013, color guide).

    guide: [T, 3, h, w], of any dtype; values: [T, 1, h, w] in 0 … 1; radius in pixels; eps: of the
    guide's variance. Where values are even, they stay.
    """
    if radius < 1:
        return values
    result = values.clone()
    # A tile at a time, as a picture has 13 planes of moments; around it lies what it looks at.
    height, width = values.shape[2:]
    for inner, outer, within in _tiles(height, width, max(TILE, 16 * radius), 2 * radius):
        seen = values[outer]
        if seen.amax() - seen.amin() > FLAT:
            result[inner] = _guided(guide[outer].float(), seen, radius, eps)[within]
    return result


def _tiles(height: int, width: int, side: int, margin: int) -> Iterator[tuple[Index, Index, Index]]:
    """A tile's place in [..., H, W], the same with a margin around it, and its place in that."""

    def along(length: int) -> Iterator[tuple[slice, slice, slice]]:
        for start in range(0, length, side):
            stop, low = min(start + side, length), max(0, start - margin)
            inside = slice(start - low, stop - low)
            yield slice(start, stop), slice(low, min(length, stop + margin)), inside

    for rows, columns in product(along(height), along(width)):
        inner, outer, within = ((..., r, c) for r, c in zip(rows, columns, strict=True))
        yield inner, outer, within


def _guided(guide: Tensor, values: Tensor, radius: int, eps: float) -> Tensor:
    line = box_mean_(_line(box_mean_(_moments(guide, values), radius), eps), radius)
    return ((line[:, :3] * guide).sum(1, keepdim=True) + line[:, 3:]).clamp(0, 1)


# Products of two channels of the guide: which, and where their means lie.
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def _moments(guide: Tensor, values: Tensor) -> Tensor:
    """[T, 13, h, w]: guide (3), values (1), their products (3), products of the guide (6)."""
    products = [guide[:, i : i + 1] * guide[:, j : j + 1] for i, j in _PAIRS]
    return torch.cat([guide, values, guide * values, *products], 1)


def _line(means: Tensor, eps: float) -> Tensor:
    """Means of `_moments` → factors of the guide (3) and offset (1) of the best straight line."""
    m_i, m_p = means[:, :3], means[:, 3:4]
    cx, cy, cz = (means[:, 4:7] - m_i * m_p).unbind(1)
    xx, xy, xz, yy, yz, zz = (
        means[:, 7 + k] - m_i[:, i] * m_i[:, j] for k, (i, j) in enumerate(_PAIRS)
    )
    xx, yy, zz = xx + eps, yy + eps, zz + eps
    # Inverse of the symmetric 3×3 matrix by cofactors.
    cof = (
        yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy,
        xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy,
    )  # fmt: skip
    det = xx * cof[0] + xy * cof[1] + xz * cof[2]
    a = torch.stack(
        [
            cof[0] * cx + cof[1] * cy + cof[2] * cz,
            cof[1] * cx + cof[3] * cy + cof[4] * cz,
            cof[2] * cx + cof[4] * cy + cof[5] * cz,
        ],
        1,
    ) / det.unsqueeze(1)
    return torch.cat([a, m_p - (a * m_i).sum(1, keepdim=True)], 1)


@dataclass(frozen=True)
class Border:
    """How near its border a matte may be sharpened, and how far the colors are looked for: px."""

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


def estimate_foreground(alpha: Tensor, lab: Tensor, border: Border) -> Tensor:
    """Sharpen a matte near its border by the colors on either side.

    alpha: [T, 1, H, W]; lab: [T, 3, H, W]. A pixel there lies between the color of the hair and
    that of what is behind it, both taken from where the matte is sure nearby: the compositing
    equation solved for alpha. It counts by how unlike the two are.
    """
    sure = by_rows(lambda a: ((a - 0.9) * 10).clamp(0, 1), alpha)
    sure_not = by_rows(lambda a: ((0.1 - a) * 10).clamp(0, 1), alpha)
    side = 2 * border.radius + 1
    near = dilate(sure, side) * dilate(sure_not, side)

    def nearby(weight: Tensor) -> Tensor:
        return blur_(by_rows(lambda x, w: torch.cat([x * w, w], 1), lab, weight), border.sigma)

    def sharpen(alpha: Tensor, lab: Tensor, hair: Tensor, behind: Tensor, near: Tensor) -> Tensor:
        hair, behind = (x[:, :3] / x[:, 3:].clamp_min(1e-4) for x in (hair, behind))
        way = hair - behind
        length = way.square().sum(1, keepdim=True)
        seen = (((lab - behind) * way).sum(1, keepdim=True) / (length + 1e-6)).clamp(0, 1)
        return torch.lerp(alpha, seen, near * length / (length + UNLIKE**2))

    return by_rows(sharpen, alpha, lab, nearby(sure), nearby(sure_not), near)
