"""Temporal smoothing of latents and transforms."""

import numpy as np

# ⅓·(¼, ¾, 1, ¾, ¼): the taps of the released stylegan3-editing code. They sum to one, so a still
# face stays exactly still.
TAPS = np.array([0.25, 0.75, 1.0, 0.75, 0.25]) / 3
REACH = len(TAPS) // 2


def smooth_over_time(values: np.ndarray, cuts: np.ndarray | None = None) -> np.ndarray:
    """Five-tap smoothing along the first axis, which keeps every frame.

    values: [T, …]. cuts: [T] bool, True where a frame begins a new shot; taps never reach across.
    At the ends of the clip and at cuts the remaining taps are renormalised to sum to one.
    Source: stylegan3-editing (Alaluf et al. 2022), section 6; the ends are ours.
    """
    frames = len(values)
    shot = np.zeros(frames, int) if cuts is None else np.cumsum(cuts)
    total = np.zeros(values.shape, np.float64)
    weight = np.zeros(frames)
    for offset, tap in zip(range(-REACH, REACH + 1), TAPS, strict=True):
        low, high = max(0, -offset), min(frames, frames - offset)
        if low >= high:
            continue
        same = (shot[low:high] == shot[low + offset : high + offset]) * tap
        weight[low:high] += same
        shape = (-1,) + (1,) * (values.ndim - 1)
        total[low:high] += same.reshape(shape) * values[low + offset : high + offset]
    return (total / weight.reshape((-1,) + (1,) * (values.ndim - 1))).astype(values.dtype)


def average_fine_layers(styles: np.ndarray, first: int, cuts: np.ndarray | None = None):
    """Replace the codes of layers `first` … by their mean over the shot. styles: [T, L, D]."""
    shot = np.zeros(len(styles), int) if cuts is None else np.cumsum(cuts)
    averaged = styles.copy()
    for index in np.unique(shot):
        frames = shot == index
        averaged[frames, first:] = styles[frames, first:].mean(axis=0)
    return averaged
