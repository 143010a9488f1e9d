"""Temporal smoothing of latents and transforms."""

from dataclasses import dataclass

import numpy as np
import torch

from vidhair.edits.directions import AttributeSpace
from vidhair.geometry import Similarity
from vidhair.settings import setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.invert import Latents
from vidhair.wiring import Series, Value, stage

# ⅓·(¼, ¾, 1, ¾, ¼): the taps of the released stylegan3-editing code. They sum to one, so a still
# face stays exactly still.
TAPS = np.array([0.25, 0.75, 1.0, 0.75, 0.25]) / 3


@dataclass(frozen=True, kw_only=True)
class SmoothConfig:
    latents: bool = setting(True, "smooth the codes over five frames")
    transforms: bool = setting(True, "smooth rotation, place and size over five frames")
    share: bool = setting(
        True, "let only pose, expression and light change inside a shot (packs with attributes)"
    )
    average_fine_from: int = setting(
        9, "codes of this layer and finer ones are averaged over the shot; 18 for none",
        low=0, high=18,
    )  # fmt: skip


def smooth_over_time(
    values: np.ndarray, cuts: np.ndarray | None = None, *, taps: np.ndarray = TAPS
) -> np.ndarray:
    """Smoothing along the first axis, which keeps every frame.

    values: [T, …]. cuts: [T] bool, True where a frame begins a new shot; taps never reach across.
    taps: [odd], brought to a sum of one.
    At the ends of the clip and at cuts the remaining taps are renormalised to sum to one.
    Source: stylegan3-editing (Alaluf et al. 2022), section 6; the ends are ours.
    """
    frames = len(values)
    shot = np.zeros(frames, int) if cuts is None else np.cumsum(cuts)
    total = np.zeros(values.shape, np.float64)
    weight = np.zeros(frames)
    reach = len(taps) // 2
    for offset, tap in zip(range(-reach, reach + 1), taps, strict=True):
        low, high = max(0, -offset), min(frames, frames - offset)
        if low >= high:
            continue
        same = (shot[low:high] == shot[low + offset : high + offset]) * tap
        weight[low:high] += same
        shape = (-1,) + (1,) * (values.ndim - 1)
        share = same.reshape(shape)
        # What lies beyond a cut may be anything, NaN included.
        total[low:high] += share * np.where(share > 0, values[low + offset : high + offset], 0)
    return (total / weight.reshape((-1,) + (1,) * (values.ndim - 1))).astype(values.dtype)


def average_fine_layers(styles: np.ndarray, first: int, cuts: np.ndarray | None = None):
    """Replace the codes of layers `first` … by their mean over the shot. styles: [T, L, D]."""
    shot = np.zeros(len(styles), int) if cuts is None else np.cumsum(cuts)
    averaged = styles.copy()
    for index in np.unique(shot):
        frames = shot == index
        averaged[frames, first:] = styles[frames, first:].mean(axis=0)
    return averaged


def runs(present: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """[T] bool: where smoothing must begin anew: at cuts, and where the face comes or goes."""
    changed = np.concatenate([[True], present[1:] != present[:-1]])
    return cuts | changed


def share_identity(styles: np.ndarray, space: AttributeSpace, cuts: np.ndarray) -> np.ndarray:
    """Keep of every frame's difference to its shot only what pose, expression and light explain.

    styles: [T, L, D]. An encoder also reads hair and skin a little differently in every frame;
    left in, that would flicker.
    """
    shot = np.cumsum(cuts)
    shared = np.empty_like(styles)
    for index in np.unique(shot):
        frames = shot == index
        mean = styles[frames].mean(axis=0)
        deviation = torch.from_numpy((styles[frames] - mean).mean(axis=1))
        shared[frames] = mean + space.moving_part(deviation).numpy()[:, None]
    return shared


def smooth_styles(
    styles: np.ndarray,
    present: np.ndarray,
    cuts: np.ndarray,
    config: SmoothConfig,
    space: AttributeSpace | None = None,
) -> np.ndarray:
    """Steady codes [T, L, D] of the present frames; absent ones stay as they are."""
    steady = styles.copy()
    if not present.any():
        return steady
    values, shots = styles[present], _cuts_among(present, cuts)
    if config.share and space is not None and space.knows_motion:
        values = share_identity(values, space, shots)
    if config.average_fine_from < values.shape[1]:
        values = average_fine_layers(values, config.average_fine_from, shots)
    steady[present] = values
    return smooth_over_time(steady, runs(present, cuts)) if config.latents else steady


def _cuts_among(present: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Cuts of the clip that has only the present frames."""
    shot = np.cumsum(cuts)[present]
    return np.concatenate([[True], shot[1:] != shot[:-1]])


def smooth_similarity(
    similarity: Similarity, present: np.ndarray, cuts: np.ndarray, config: SmoothConfig
) -> Similarity:
    """Steady transforms; smoothed as matrices entry by entry, as the published method does."""
    if not config.transforms:
        return similarity
    matrices = np.where(present[:, None, None], similarity.matrices(), np.eye(3))
    return Similarity.from_matrices(smooth_over_time(matrices, runs(present, cuts)))


@dataclass(frozen=True)
class Pivots(Value):
    """Smoothed codes without an edit, and where the face lies in the clip's box.

    styles: [T, L, D]. transform: [T, 4], columns of a `Similarity`: angle in degrees, tx, ty,
    scale.
    """

    ROWS = ("styles", "transform")
    styles: np.ndarray
    transform: np.ndarray

    @property
    def similarity(self) -> Similarity:
        return Similarity(*self.transform.T)


@stage()
def pivots(
    latents: Series[Latents],
    track: Series[FaceTrack],
    space: AttributeSpace | None,
    config: SmoothConfig,
) -> Pivots:
    found = track.whole()
    styles = smooth_styles(latents.whole().styles, found.present, found.cuts, config, space)
    s = smooth_similarity(found.similarity, found.present, found.cuts, config)
    return Pivots(styles, np.stack([s.angle_deg, s.tx, s.ty, s.scale], 1))
