"""Mattes: solved for from a picture and a guess, and what colors lie before and behind."""

from collections.abc import Iterator
from functools import cache
from itertools import product
from types import EllipsisType, ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.imaging.blur import box_mean_
from vidhair.imaging.rows import by_rows
from vidhair.kernels import start_threads

TILE = 96  # side of what the guided filter does at once, in pixels
FLAT = 1e-6  # differences between values that are none
SMALL_WINDOW = 4  # radius up to which sums over windows are taken directly
BLUR_SHARE = 6  # how much narrower the second look at foreground and background is

Index = tuple[EllipsisType, slice, slice]
# Products of two channels of the guide: which, and where their means lie.
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


class ColorLines:
    """The straight line from color to value that fits best in the window around every pixel.

    picture: [T, 3, h, w]; radius: of the windows, in pixels; eps: of the picture's variance, below
    which it sees no edge. (He et al. 2013, eq. 5 and 6; Levin et al. 2008, section 3.)
    """

    def __init__(self, picture: Tensor, radius: int, eps: float):
        # Variances are differences of squares, which are exact enough about a mean of zero.
        mean = picture.mean((2, 3), keepdim=True, dtype=torch.float64)
        self.picture = picture = picture - mean.to(picture.dtype)
        self.radius = radius
        products = [picture[:, i : i + 1] * picture[:, j : j + 1] for i, j in _PAIRS]
        moments = box_mean_(torch.cat([picture, *products], 1), radius)
        self._mean = mean = moments[:, :3].contiguous()
        xx, xy, xz, yy, yz, zz = (
            moments[:, 3 + k] - mean[:, i] * mean[:, j] for k, (i, j) in enumerate(_PAIRS)
        )
        xx, yy, zz = xx + eps, yy + eps, zz + eps
        # Inverse of the symmetric 3 × 3 matrix by cofactors.
        cofactors = torch.stack(
            [
                yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy,
                xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy,
            ],
            1,
        )  # fmt: skip
        determinant = (cofactors[:, :3] * torch.stack([xx, xy, xz], 1)).sum(1, keepdim=True)
        self._inverse = cofactors / determinant

    def fit(self, values: Tensor) -> Tensor:
        """values: [T, 1, h, w] → factors of the color (3) and offset (1) of each window's line."""
        means = box_mean_(torch.cat([values, self.picture * values], 1), self.radius)
        value, mean = means[:, :1], self._mean
        x, y, z = (means[:, 1:] - mean * value).unbind(1)
        xx, xy, xz, yy, yz, zz = self._inverse.unbind(1)
        factors = torch.stack(
            [xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z], 1
        )
        return torch.cat([factors, value - (factors * mean).sum(1, keepdim=True)], 1)

    def smooth(self, values: Tensor, tiles: NDArray[np.int64] | None = None) -> Tensor:
        """What all lines through a pixel say of it on average, [T, 1, h, w].

        tiles: by `tiles_of`, outside which the result may be anything.
        """
        if not self._in_tiles(values):
            lines = box_mean_(self.fit(values), self.radius)
            return (lines[:, :3] * self.picture).sum(1, keepdim=True) + lines[:, 3:]
        if tiles is None:
            tiles = tiles_of(torch.ones_like(values[:1], dtype=torch.bool))
        result = torch.zeros_like(values, memory_format=torch.contiguous_format)
        given = self.picture, self._mean, self._inverse, values, result
        for picture, mean, inverse, value, out in zip(*map(_planes, given), strict=True):
            _kernels().smooth(picture, mean, inverse, value[0], self.radius, tiles, out[0])
        return result

    def _in_tiles(self, values: Tensor) -> bool:
        plain = values.dtype == self.picture.dtype == torch.float32 and not values.requires_grad
        return plain and values.device.type == "cpu" and self.radius <= SMALL_WINDOW


def tiles_of(wanted: Tensor) -> NDArray[np.int64]:
    """First rows and columns, [n, 2], of tiles that hold something wanted: bool [1, 1, h, w]."""
    seen, sides = wanted[0, 0].cpu().numpy(), (_kernels().ROWS, _kernels().COLUMNS)
    starts = product(*(range(0, n, side) for n, side in zip(seen.shape, sides, strict=True)))
    found = [(y, x) for y, x in starts if seen[y : y + sides[0], x : x + sides[1]].any()]
    return np.array(found, np.int64).reshape(-1, 2)


def _planes(x: Tensor) -> NDArray[np.float32]:
    return x.detach().contiguous().numpy()


@cache
def _kernels() -> ModuleType:
    from vidhair.kernels import _lines

    start_threads()
    return _lines


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
            lines = ColorLines(guide[outer].float(), radius, eps)
            result[inner] = lines.smooth(seen).clamp(0, 1)[within]
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


def solve_matte(
    picture: Tensor,
    wanted: Tensor,
    weight: Tensor,
    known: Tensor,
    *,
    radius: int = 2,
    eps: float = 1e-4,
    rounds: int = 40,
    tolerance: float = 1e-3,
) -> Tensor:
    """The matte that is a straight line of color in every small window (closed-form matting).

    picture: [1, 3, h, w] in 0 … 1. wanted: [1, 1, h, w] in 0 … 1, kept where `known` (bool, the
    same shape) says so, and elsewhere drawn to by a weight ≥ 0, as a share of what the windows
    count. Returns [1, 1, h, w] in 0 … 1.

    Minimises αᵀLα + Σ weight·(α − wanted)² (Levin et al. 2008, eq. 12 and 13) by conjugate
    gradients. L is never written down: times α it is α less its guided filter (He et al. 2010,
    "Fast matting using large kernel matting Laplacian matrices"), so its cost does not depend on
    the windows' size, and larger ones take fewer rounds.
    """
    lines = ColorLines(picture, radius, eps)
    free, tiles = (~known).to(picture.dtype), tiles_of(~known)

    def apply(x: Tensor) -> Tensor:
        return free * (x - lines.smooth(x, tiles) + weight * x)

    alpha = wanted.clone()
    rest = free * weight * wanted - apply(alpha)
    direction, size = rest.clone(), _product(rest, rest)
    least = size * tolerance**2
    for _ in range(rounds):
        if not size > least:
            break
        image = apply(direction)
        step = size / _product(direction, image)
        alpha += step * direction
        rest -= step * image
        former, size = size, _product(rest, rest)
        direction = rest + size / former * direction
    return alpha.clamp_(0, 1)


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Of all values, in float64, so that it does not matter how many threads add them up."""
    return (x * y).sum(dtype=torch.float64)


def split_colors(picture: Tensor, alpha: Tensor, radius: int) -> tuple[Tensor, Tensor, Tensor]:
    """What is in front, what is behind, and the latter's mean nearby, [T, 3, h, w] each.

    picture: [T, 3, h, w] in 0 … 1; alpha: [T, 1, h, w]; radius: in pixels, how far either is looked
    for. Front and back are nearest to their means nearby among those that α·front + (1 − α)·back
    makes the picture of (Forte 2021, "Approximate fast foreground colour estimation").
    """
    front = back = behind = picture
    for reach in split_reaches(radius):
        sums = box_mean_(by_rows(_shares, front, back, alpha), reach)
        front, back, behind = by_rows(_unmix, sums, picture, alpha).split(3, 1)
    return front, back, behind


def split_reaches(radius: int) -> tuple[int, int]:
    """How far `split_colors` looks in its two rounds, in pixels; together, how far away anything
    matters to a pixel."""
    return radius, max(1, radius // BLUR_SHARE)


def _shares(front: Tensor, back: Tensor, alpha: Tensor) -> Tensor:
    rest = 1 - alpha
    return torch.cat([front * alpha, alpha, back * rest, rest], 1)


def _unmix(sums: Tensor, picture: Tensor, alpha: Tensor) -> Tensor:
    """Front, back and what is behind on average, from means of `_shares` nearby."""
    front, back = (s[:, :3] / (s[:, 3:] + 1e-5) for s in sums.split(4, 1))
    rest = picture - alpha * front - (1 - alpha) * back
    exact = (front + alpha * rest).clamp_(0, 1), (back + (1 - alpha) * rest).clamp_(0, 1)
    return torch.cat([*exact, back], 1)
