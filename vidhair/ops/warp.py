"""Cutting squares out of frames."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


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


def cut_rectangle(
    frames: Tensor,
    left: float,
    top: float,
    step: float,
    height: int,
    width: int,
    *,
    padding: str = "zeros",
) -> Tensor:
    """Resample an upright rectangle of every frame, without aliasing.

    frames: [T, C, H, W]. left, top: its corner in pixels. step: frame pixels per sample.
    padding: "zeros", "border" or "reflection", beyond the frame.
    Returns [T, C, height, width].
    """
    fine = 2 if step > 1 else 1
    shrink = max(1, int(step / fine))
    if shrink > 1:
        frames = F.avg_pool2d(frames, shrink, ceil_mode=True, count_include_pad=False)
    h, w = frames.shape[2] * shrink, frames.shape[3] * shrink

    def positions(start: float, count: int, extent: int) -> Tensor:
        index = torch.arange(count * fine, dtype=frames.dtype, device=frames.device)
        return (start + (index + 0.5) * step / fine) * 2 / extent - 1

    ys, xs = positions(top, height, h), positions(left, width, w)
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).expand(len(frames), -1, -1, -1)
    sampled = F.grid_sample(frames, grid, padding_mode=padding, align_corners=False)
    return F.avg_pool2d(sampled, fine) if fine > 1 else sampled


def spread_rectangle(
    picture: Tensor, left: float, top: float, step: float, height: int, width: int
) -> Tensor:
    """The inverse of `cut_rectangle`: enlarge a canvas onto the frame it was cut from.

    picture: [T, C, h, w], whose samples lie `step` frame pixels apart from (left, top) on.
    Returns [T, C, height, width], continued by its border values beyond the canvas.
    """
    h, w = picture.shape[2:]

    def positions(start: float, count: int, extent: int) -> Tensor:
        index = torch.arange(count, dtype=picture.dtype, device=picture.device)
        return (index + 0.5 - start) / step * 2 / extent - 1

    ys, xs = positions(top, height, h), positions(left, width, w)
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).expand(len(picture), -1, -1, -1)
    return F.grid_sample(picture, grid, mode="bicubic", padding_mode="border", align_corners=False)
