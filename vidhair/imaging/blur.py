"""Gaussian blur and means over squares; on CPUs a pixel costs the same at any width."""

from functools import cache
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.imaging.fill import enlarge
from vidhair.kernels import plain, start_threads


def box_radius(sigma: float) -> int:
    """Of the three box filters that together blur by `sigma`; they reach three times as far."""
    result: int = max(1, round((np.sqrt(4 * sigma * sigma + 1) - 1) / 2))
    return result


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Mean over squares of 2·radius + 1 pixels, [T, C, H, W]; the border is continued."""
    return _boxes(x, radius, 1, inplace=False)


def box_mean_(x: Tensor, radius: int) -> Tensor:
    """As `box_mean`, in the memory of x where it is float32 on a CPU."""
    return _boxes(x, radius, 1, inplace=True)


def blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of [T, C, H, W] in pixels, by three box filters; the border is continued."""
    return x if sigma < 0.3 else _boxes(x, box_radius(sigma), 3, inplace=False)


def blur_(x: Tensor, sigma: float) -> Tensor:
    """As `blur`, in the memory of x where it is float32 on a CPU."""
    return x if sigma < 0.3 else _boxes(x, box_radius(sigma), 3, inplace=True)


CELL_SIDES, CELLS = (4, 2, 1), 4  # pixels along a cell, and cells within a radius at least


def cell_side(radius: int) -> int:
    """Pixels along the sides of the cells by which means over wide squares are taken."""
    return next(side for side in CELL_SIDES if radius >= CELLS * side or side == 1)


def whole_cells(pixels: int) -> int:
    """The nearest number of pixels below that is a corner of all cells: windows that move begin
    there, so that a place is in the same cell in every frame."""
    return pixels // CELL_SIDES[0] * CELL_SIDES[0]


def cell_radius(radius: int) -> int:
    """The radius of the square of cells that is nearest to one of pixels."""
    return max(1, round(((2 * radius + 1) / cell_side(radius) - 1) / 2))


def wide_mean(x: Tensor, radius: int) -> Tensor:
    """Nearly `box_mean`, of cells of a few pixels each: for what varies slowly."""
    cells = box_mean_(_cells(x, cell_side(radius)), cell_radius(radius))
    return enlarge(cells, *x.shape[2:])


def wide_blur(x: Tensor, sigma: float) -> Tensor:
    """Nearly `blur`, in the same way."""
    side = cell_side(box_radius(sigma))
    return enlarge(blurred_cells(x, sigma, side), *x.shape[2:])


def blurred_cells(x: Tensor, sigma: float, side: int) -> Tensor:
    """Blur of the means of cells of side × side pixels; sigma in pixels."""
    return blur_(_cells(x, side), sigma / side)


def _cells(x: Tensor, side: int) -> Tensor:
    """Means of squares of pixels, or of as many as there are at the border."""
    return F.avg_pool2d(x, side, ceil_mode=True, count_include_pad=False) if side > 1 else x.clone()


def _boxes(x: Tensor, radius: int, times: int, *, inplace: bool) -> Tensor:
    if not plain(x):
        return _pooled(x, radius, times)
    if not (inplace and x.is_contiguous()):
        x = x.clone(memory_format=torch.contiguous_format)
    if x.numel():
        _kernels().smooth(x.flatten(0, 1).numpy(), radius, times)
    return x


def _pooled(x: Tensor, radius: int, times: int) -> Tensor:
    """The definition, for every device and dtype; it costs as the radius."""
    side = 2 * radius + 1
    for _ in range(times):
        x = F.pad(x, (radius,) * 4, mode="replicate")
        # Rows, then columns: the work grows with the side, not with its square.
        x = F.avg_pool2d(F.avg_pool2d(x, (side, 1), stride=1), (1, side), stride=1)
    return x


@cache
def _kernels() -> ModuleType:
    from vidhair.kernels import _boxes

    start_threads()
    return _boxes
