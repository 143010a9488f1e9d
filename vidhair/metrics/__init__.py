"""Yardsticks: how far an edited clip is from what it should be, or from its source.

All take uint8 frames [T, H, W, 3] and weights [T, H, W] in 0 … 1, and work frame by frame, so that
whole clips need little memory.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.imaging.color import delta_e_2000, rgb_to_lab
from vidhair.models.perceptual import PerceptualDistance

__all__ = ["color_difference", "color_progress", "flicker", "lpips", "mean_lab", "psnr"]


def _lab(frame: NDArray[Any]) -> Tensor:
    """[1, 3, H, W] in Lab."""
    return rgb_to_lab(torch.from_numpy(frame)[None].movedim(-1, 1).float() / 255)


def _weighted(values: Tensor, weight: NDArray[Any]) -> tuple[float, float]:
    w = torch.from_numpy(weight.astype(np.float32))
    return float((values * w).sum()), float(w.sum())


def _mean(pairs: Iterator[tuple[float, float]]) -> float:
    sums = np.array(list(pairs)).reshape(-1, 2).sum(0)
    return float(sums[0] / sums[1]) if sums[1] else float("nan")


def psnr(a: NDArray[Any], b: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
    """Peak signal-to-noise ratio in dB over all frames together; infinite if they are equal."""
    error, count = 0.0, 0.0
    for index in range(len(a)):
        square = np.square(a[index].astype(np.float32) - b[index].astype(np.float32)).mean(-1)
        w = np.ones_like(square) if weight is None else weight[index]
        error, count = error + float((square * w).sum()), count + float(w.sum())
    if count == 0:
        return float("nan")
    return float("inf") if error == 0 else float(10 * np.log10(255**2 * count / error))


def lpips(
    a: NDArray[Any],
    b: NDArray[Any],
    distance: PerceptualDistance,
    weight: NDArray[Any] | None = None,
    *,
    device: str = "cpu",
) -> float:
    """Mean LPIPS under the weight. distance: `LPIPS(read_lpips(path))`, or another, on `device`.

    Clips of one frame give that frame's distance.
    """

    def picture(frame: NDArray[Any]) -> Tensor:
        return (torch.from_numpy(frame).to(device)[None].movedim(-1, 1).float() / 255) * 2 - 1

    def weighted(index: int) -> tuple[float, float]:
        pair = picture(a[index]), picture(b[index])
        if weight is None:
            return float(distance(*pair)), 1.0
        mask = torch.from_numpy(weight[index].astype(np.float32)).to(device)[None, None]
        total = float(mask.sum())
        return float(distance(*pair, mask)) * total, total

    return _mean(weighted(index) for index in range(len(a)))


def color_difference(a: NDArray[Any], b: NDArray[Any], weight: NDArray[Any]) -> float:
    """Mean CIEDE2000 difference under the weight."""
    return _mean(
        _weighted(delta_e_2000(_lab(x), _lab(y))[0], w)
        for x, y, w in zip(a, b, weight, strict=True)
    )


def mean_lab(frames: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """Mean Lab [3] under the weight."""
    labs = ((_lab(f)[0], w) for f, w in zip(frames, weight, strict=True))
    sums = [[_weighted(channel, w) for channel in lab] for lab, w in labs]
    total = np.array(sums).sum(0)
    mean: NDArray[np.float64] = total[:, 0] / total[:, 1]
    return mean


def color_progress(before: NDArray[Any], after: NDArray[Any], target: NDArray[Any]) -> float:
    """How much of the way from one mean Lab [3] to the target another one lies; 1 is all of it."""
    way = target - before
    return float((after - before) @ way / (way @ way))


def flicker(frames: NDArray[Any], weight: NDArray[Any]) -> float:
    """Mean CIEDE2000 difference of each pixel to the frame before, where both have weight."""
    return _mean(
        _weighted(
            delta_e_2000(_lab(frames[i]), _lab(frames[i - 1]))[0],
            np.minimum(weight[i], weight[i - 1]),
        )
        for i in range(1, len(frames))
    )
