"""The ops by their defining formulas, in NumPy and float64."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def upfirdn2d(
    x: ArrayLike,
    f: ArrayLike | None,
    *,
    up: tuple[int, int] = (1, 1),
    down: tuple[int, int] = (1, 1),
    padding: Sequence[int] = (0, 0, 0, 0),
    flip_filter: bool = False,
    gain: float = 1.0,
) -> NDArray[Any]:
    """Insert zeros, pad, crop, convolve, drop samples. x: [N, C, H, W]; pairs are (x, y)."""
    signal = np.asarray(x, np.float64)
    taps = np.ones((1, 1)) if f is None else np.asarray(f, np.float64)
    taps = np.outer(taps, taps) if taps.ndim == 1 else taps
    n, c, h, w = signal.shape
    spread = np.zeros((n, c, h * up[1], w * up[0]))
    spread[:, :, :: up[1], :: up[0]] = signal
    left, right, top, bottom = padding
    pad = [(0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))]
    spread = np.pad(spread, pad)
    height, width = spread.shape[2:]
    spread = spread[
        :, :, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)
    ]
    taps = taps if flip_filter else taps[::-1, ::-1]
    axes: Any = 2, 3
    windows = np.lib.stride_tricks.sliding_window_view(spread, taps.shape, axis=axes)
    return gain * np.einsum("nchwij,ij->nchw", windows, taps)[:, :, :: down[1], :: down[0]]


def filtered_lrelu(
    x: ArrayLike,
    *,
    fu: ArrayLike | None,
    fd: ArrayLike | None,
    b: ArrayLike | None = None,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    gain: float = 2**0.5,
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> NDArray[Any]:
    """Bias, upsample (gain up²), leaky ReLU, gain, clamp, downsample."""
    y: NDArray[Any] = np.asarray(x, np.float64)
    if b is not None:
        y = y + np.asarray(b, np.float64)[:, None, None]
    y = upfirdn2d(y, fu, up=(up, up), padding=padding, gain=up**2, flip_filter=flip_filter)
    y = np.where(y > 0, y, y * slope) * gain
    if clamp is not None:
        y = y.clip(-clamp, clamp)
    return upfirdn2d(y, fd, down=(down, down), flip_filter=flip_filter)
