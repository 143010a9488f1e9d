"""Between frames and what is cut out of them: turned squares, and grids."""

import math
from functools import cache
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidhair.geometry import Grid
from vidhair.imaging.rows import strips
from vidhair.kernels import plain, start_threads

GRAIN = 12  # pixels by which the part of a frame begins that is looked at


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
    values: Tensor,
    grid: Grid,
    *,
    on: Grid | None = None,
    padding: str = "zeros",
    mode: str = "bilinear",
) -> Tensor:
    """Values at the samples of a grid, without aliasing.

    values: [T, C, H, W], the frames' pixels, or what the samples of the grid `on` hold.
    padding: "zeros", "border" or "reflection", beyond them. mode: "bilinear" or "bicubic", where
    they are enlarged. Returns [T, C, height, width].
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
    mode = mode if step < 1 else "bilinear"
    sampled = F.grid_sample(values, at, mode, padding, align_corners=False)
    return F.avg_pool2d(sampled, fine) if fine > 1 else sampled


def cut_frame(
    frame: NDArray[np.uint8],
    grid: Grid,
    device: str | torch.device = "cpu",
    *,
    mode: str = "bilinear",
) -> Tensor:
    """`cut_grid` of a frame [H, W, 3] in −1 … 1, which goes on mirrored, [1, 3, height, width].
    Only what is seen of it is converted."""
    spans = (grid.top, grid.height, frame.shape[0]), (grid.left, grid.width, frame.shape[1])
    rows, columns = (
        _seen(start, start + count * grid.step, length, 2 * grid.step + 1)
        for start, count, length in spans
    )
    part = np.ascontiguousarray(frame[rows, columns])
    height, width = part.shape[:2]
    on = Grid.of_pixels(height, width, columns.start, rows.start)
    levels = torch.from_numpy(part).to(device).movedim(-1, 0)[None].contiguous()
    return cut_grid(levels / 127.5 - 1, grid, on=on, padding="reflection", mode=mode)


def _seen(start: float, end: float, length: int, margin: float) -> slice:
    """Of `length` pixels, those from a start to an end, those that are mirrored there, and some
    around. Pixels are pooled as in the whole frame if as many as divide GRAIN are."""
    low = max(0, min(start, 2 * length - end) - margin)
    high = min(length, max(end, -start) + margin)
    return slice(int(low) // GRAIN * GRAIN, math.ceil(high))


def spread_grid(values: Tensor, grid: Grid, onto: Grid) -> Tensor:
    """The inverse of `cut_grid`: what the samples of a grid hold, enlarged onto a finer one.

    values: [T, C, h, w]. Returns [T, C, height, width] of `onto`, continued by the border's values
    beyond the grid. A strip at a time, so that memory holds no more than the result.
    """
    h, w = values.shape[2:]
    place = grid.seen_from(onto)
    result = values.new_empty((*values.shape[:2], onto.height, onto.width))
    if plain(values):
        planes, spread = values.contiguous().flatten(0, 1).numpy(), result.flatten(0, 1).numpy()
        corner = np.float32(place.top), np.float32(place.left)
        _kernels().spread(planes, *corner, np.float32(place.step), spread)
        return result

    def positions(start: float, count: int, extent: int) -> Tensor:
        index = torch.arange(count, dtype=values.dtype, device=values.device)
        return (index + 0.5 - start) / place.step * 2 / extent - 1

    xs = positions(place.left, onto.width, w)
    for rows in strips(onto.height, onto.width):
        ys = positions(place.top - rows.start, rows.stop - rows.start, h)
        at = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1)
        result[:, :, rows] = F.grid_sample(
            values, at.expand(len(values), -1, -1, -1), mode="bicubic", padding_mode="border",
            align_corners=False,
        )  # fmt: skip
    return result


def shrink(frame: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Means over squares of step × step pixels of a picture [H, W, 3]. The last ones may reach
    beyond it, where its border goes on."""
    if step == 1:
        return np.ascontiguousarray(frame)
    height, width = (-(-n // step) for n in frame.shape[:2])
    means = np.empty((height, width, 3), np.uint8)
    _kernels().shrink(np.ascontiguousarray(frame), step, means)
    return means


@cache
def _kernels() -> ModuleType:
    from vidhair.kernels import _grids

    start_threads()
    return _grids
