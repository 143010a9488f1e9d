"""Growing and shrinking masks."""

import torch.nn.functional as F
from torch import Tensor


def dilate(mask: Tensor, size: int) -> Tensor:
    """Largest value in a square of `size` pixels, [..., H, W].

    Beyond the border there is nothing. An even square reaches one pixel further left and up, as
    in OpenCV.
    """
    assert size > 0, f"a square of {size} pixels"
    before, after = size // 2, size - 1 - size // 2
    x = mask.float().reshape(-1, 1, *mask.shape[-2:])
    # Rows, then columns: the largest of a square is the largest of its rows' largest.
    x = F.max_pool2d(F.pad(x, (before, after, 0, 0), value=-float("inf")), (1, size), stride=1)
    x = F.max_pool2d(F.pad(x, (0, 0, before, after), value=-float("inf")), (size, 1), stride=1)
    return x.view(mask.shape).to(mask.dtype)


def erode(mask: Tensor, size: int) -> Tensor:
    """Smallest value in a square of `size` pixels; the square is that of `dilate`."""
    return (-dilate(-mask.float(), size)).to(mask.dtype)


def enlarge_mask(mask: Tensor, size: int) -> Tensor:
    """Dilate by a square, then erode by one of half its side: grows and closes gaps."""
    return erode(dilate(mask, size), max(size // 2, 1))
