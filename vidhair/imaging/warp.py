"""Between frames and what is cut out of them: turned squares, and grids."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidhair.geometry import Grid
from vidhair.imaging.rows import strips


def to_unit(frames: NDArray[np.uint8], device: str | torch.device = "cpu") -> Tensor:
    """uint8 [T, H, W, 3] → float32 [T, 3, H, W] in −1 … 1."""
    return torch.from_numpy(frames).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def cut_squares(
    frames: Tensor,
    centre: NDArray[np.float64],
    x: NDArray[np.float64],
    size: int,
    *,
    padding: str = "reflection",
    like: NDArray[np.float64] | None = None,
) -> Tensor:
    """Sample a square centre ± x ± y around every frame's face, without aliasing.

    frames: [T, C, H, W]. centre, x: [T, 2] in pixels; y is x turned by 90° clockwise as seen.
    padding: "reflection", "border" or "zeros", beyond the frame. like: the x of all squares that
    are to be sampled alike, where these are some of them.
    Returns [T, C, size, size].
    """
    t = len(frames)
    ratio = 2 * np.hypot(*(x if like is None else like).T) / size
    # Samples lie at most one pixel of the reduced frames apart, two to four per output pixel.
    shrink = max(1, int(np.median(ratio) / 2))
    fine = int(np.clip(np.ceil(ratio.max() / shrink - 1e-6), 2, 4))
    if shrink > 1:
        frames = F.avg_pool2d(frames, shrink, ceil_mode=True, count_include_pad=False)
    high, wide = (frames.shape[2] * shrink, frames.shape[3] * shrink)
    theta = np.zeros((t, 2, 3))
    theta[:, 0, 0], theta[:, 1, 0] = x[:, 0] * 2 / wide, x[:, 1] * 2 / high
    theta[:, 0, 1], theta[:, 1, 1] = -x[:, 1] * 2 / wide, x[:, 0] * 2 / high
    theta[:, 0, 2] = centre[:, 0] * 2 / wide - 1
    theta[:, 1, 2] = centre[:, 1] * 2 / high - 1
    grid = F.affine_grid(
        torch.as_tensor(theta, dtype=frames.dtype, device=frames.device),
        [t, 1, fine * size, fine * size],
        align_corners=False,
    )
    sampled = F.grid_sample(frames, grid, padding_mode=padding, align_corners=False)
    return F.avg_pool2d(sampled, fine)


def cut_grid(
    values: Tensor, grid: Grid, *, on: Grid | None = None, padding: str = "zeros"
) -> Tensor:
    """Values at the samples of a grid, without aliasing.

    values: [T, C, H, W], the frames' pixels, or what the samples of the grid `on` hold.
    padding: "zeros", "border" or "reflection", beyond them. Returns [T, C, height, width].
    """
    place = grid if on is None else grid.seen_from(on)
    step = place.step
    fine = 2 if step > 1 else 1
    shrink = max(1, int(step / fine))
    if shrink > 1:
        values = F.avg_pool2d(values, shrink, ceil_mode=True, count_include_pad=False)
    h, w = values.shape[2] * shrink, values.shape[3] * shrink

    def positions(start: float, count: int, extent: int) -> Tensor:
        index = torch.arange(count * fine, dtype=values.dtype, device=values.device)
        return (start + (index + 0.5) * step / fine) * 2 / extent - 1

    ys, xs = positions(place.top, place.height, h), positions(place.left, place.width, w)
    at = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).expand(len(values), -1, -1, -1)
    sampled = F.grid_sample(values, at, padding_mode=padding, align_corners=False)
    return F.avg_pool2d(sampled, fine) if fine > 1 else sampled


def spread_grid(values: Tensor, grid: Grid, onto: Grid) -> Tensor:
    """The inverse of `cut_grid`: what the samples of a grid hold, enlarged onto a finer one.

    values: [T, C, h, w]. Returns [T, C, height, width] of `onto`, continued by the border's values
    beyond the grid. A strip at a time, so that memory holds no more than the result.
    """
    h, w = values.shape[2:]
    place = grid.seen_from(onto)

    def positions(start: float, count: int, extent: int) -> Tensor:
        index = torch.arange(count, dtype=values.dtype, device=values.device)
        return (index + 0.5 - start) / place.step * 2 / extent - 1

    xs = positions(place.left, onto.width, w)
    result = values.new_empty((*values.shape[:2], onto.height, onto.width))
    for rows in strips(onto.height, onto.width):
        ys = positions(place.top - rows.start, rows.stop - rows.start, h)
        at = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1)
        result[:, :, rows] = F.grid_sample(
            values, at.expand(len(values), -1, -1, -1), mode="bicubic", padding_mode="border",
            align_corners=False,
        )  # fmt: skip
    return result
