"""Cutting squares out of frames."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def to_unit(frames: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
    """uint8 [T, H, W, 3] → float32 [T, 3, H, W] in −1 … 1."""
    return torch.from_numpy(frames).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def cut_squares(
    frames: Tensor, centre: np.ndarray, x: np.ndarray, size: int, *, padding: str = "reflection"
) -> Tensor:
    """Sample a square centre ± x ± y around every frame's face, without aliasing.

    frames: [T, C, H, W]. centre, x: [T, 2] in pixels; y is x turned by 90° clockwise as seen.
    padding: "reflection", "border" or "zeros", beyond the frame.
    Returns [T, C, size, size].
    """
    t = len(frames)
    side = 2 * np.hypot(x[:, 0], x[:, 1])
    # Two samples per output pixel and axis, of frames reduced so that these lie close enough.
    shrink = max(1, int(np.median(side) / (2 * size)))
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
        [t, 1, 2 * size, 2 * size],
        align_corners=False,
    )
    sampled = F.grid_sample(frames, grid, padding_mode=padding, align_corners=False)
    return F.avg_pool2d(sampled, 2)
