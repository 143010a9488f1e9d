"""The ops by their defining formulas, in NumPy and float64."""

import numpy as np


def upfirdn2d(x, f, *, up=(1, 1), down=(1, 1), padding=(0, 0, 0, 0), flip_filter=False, gain=1.0):
    """Insert zeros, pad, crop, convolve, drop samples. x: [N, C, H, W]; pairs are (x, y)."""
    x, f = np.asarray(x, np.float64), np.ones((1, 1)) if f is None else np.asarray(f, np.float64)
    f = np.outer(f, f) if f.ndim == 1 else f
    n, c, h, w = x.shape
    spread = np.zeros((n, c, h * up[1], w * up[0]))
    spread[:, :, :: up[1], :: up[0]] = x
    left, right, top, bottom = padding
    pad = [(0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))]
    spread = np.pad(spread, pad)
    height, width = spread.shape[2:]
    spread = spread[
        :, :, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)
    ]
    f = f if flip_filter else f[::-1, ::-1]
    windows = np.lib.stride_tricks.sliding_window_view(spread, f.shape, axis=(2, 3))
    return gain * np.einsum("nchwij,ij->nchw", windows, f)[:, :, :: down[1], :: down[0]]


def filtered_lrelu(
    x, *, fu, fd, b=None, up=1, down=1, padding=(0, 0, 0, 0), gain=2**0.5, slope=0.2, clamp=None,
    flip_filter=False,
):  # fmt: skip
    """Bias, upsample (gain up²), leaky ReLU, gain, clamp, downsample."""
    x = np.asarray(x, np.float64)
    if b is not None:
        x = x + np.asarray(b, np.float64)[:, None, None]
    x = upfirdn2d(x, fu, up=(up, up), padding=padding, gain=up**2, flip_filter=flip_filter)
    x = np.where(x > 0, x, x * slope) * gain
    if clamp is not None:
        x = x.clip(-clamp, clamp)
    return upfirdn2d(x, fd, down=(down, down), flip_filter=flip_filter)
