"""Growing and shrinking masks, and where they lie."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidhair.imaging.blur import whole_cells
from vidhair.imaging.opencv import opencv


def dilate(mask: Tensor, size: int) -> Tensor:
    """Largest value in a square of `size` pixels, [..., H, W].

    Beyond the border there is nothing. An even square reaches one pixel further left and up, as
    in OpenCV.
    """
    assert size > 0, f"a square of {size} pixels"
    before, after = size // 2, size - 1 - size // 2
    x = mask.float()
    for dim in (-2, -1):
        pad = (before, after) if dim == -1 else (0, 0, before, after)
        x = _largest(F.pad(x, pad, value=-float("inf")), size, dim)
    return x.to(mask.dtype)


def _largest(x: Tensor, size: int, dim: int) -> Tensor:
    """Of `size` neighbours, where there are as many: of twice as many with every step."""
    reach = 1
    while reach < size:
        step = min(reach, size - reach)
        count = x.shape[dim] - step
        x = torch.maximum(x.narrow(dim, 0, count), x.narrow(dim, step, count))
        reach += step
    return x


def grown(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """A mask [h, w] with what is within a reach of it, along both sides; as `dilate`, sooner."""
    square = np.ones((2 * reach + 1,) * 2, np.uint8)
    found: NDArray[np.bool_] = opencv().dilate(np.ascontiguousarray(mask).view(np.uint8), square)
    return found.view(bool)


def erode(mask: Tensor, size: int) -> Tensor:
    """Smallest value in a square of `size` pixels; the square is that of `dilate`."""
    return (-dilate(-mask.float(), size)).to(mask.dtype)


def enlarge_mask(mask: Tensor, size: int) -> Tensor:
    """Dilate by a square, then erode by one of half its side: grows and closes gaps."""
    return erode(dilate(mask, size), max(size // 2, 1))


def reconstruct(values: Tensor, limit: Tensor, steps: int) -> Tensor:
    """Values [..., H, W] spread to their neighbours as far as the limit ≥ values allows, by so
    many pixels at most (Vincent 1993, grayscale reconstruction): a way never rises again."""
    for _ in range(steps):
        values = torch.minimum(dilate(values, 3), limit)
    return values


def span_of(seen: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """Rows and columns that hold all that is seen [h, w], and a margin around it, from the corner
    of a cell on."""
    found = []
    for axis in (1, 0):
        places = np.flatnonzero(seen.any(axis))
        low, high = (places[0], places[-1] + 1) if len(places) else (0, 0)
        found.append(slice(whole_cells(max(0, low - margin)), high + margin))
    return found[0], found[1]
