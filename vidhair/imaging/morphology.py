"""Growing and shrinking masks."""

import torch
import torch.nn.functional as F
from torch import Tensor


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


def erode(mask: Tensor, size: int) -> Tensor:
    """Smallest value in a square of `size` pixels; the square is that of `dilate`."""
    return (-dilate(-mask.float(), size)).to(mask.dtype)


def enlarge_mask(mask: Tensor, size: int) -> Tensor:
    """Dilate by a square, then erode by one of half its side: grows and closes gaps."""
    return erode(dilate(mask, size), max(size // 2, 1))
