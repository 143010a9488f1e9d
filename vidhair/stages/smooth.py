"""Temporal smoothing of latents and transforms."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.geometry import Similarity
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.settings import setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.invert import Latents
from vidhair.wiring import Near, Series, Span, Value, ranges, stage

# ⅓·(¼, ¾, 1, ¾, ¼): the taps of the released stylegan3-editing code. They sum to one, so a still
# face stays exactly still.
TAPS = np.array([0.25, 0.75, 1.0, 0.75, 0.25]) / 3
REACH = len(TAPS) // 2

Floating = TypeVar("Floating", bound=np.floating[Any])


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
    values: NDArray[Floating],
    cuts: NDArray[np.bool_] | None = None,
    *,
    taps: NDArray[np.float64] = TAPS,
) -> NDArray[Floating]:
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


def average_fine_layers(
    styles: NDArray[np.float32], first: int, means: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Replace the codes of layers `first` … by their shots' means. styles, means: [T, L, D]."""
    averaged = styles.copy()
    averaged[:, first:] = means[..., first:, :]
    return averaged


def runs(present: NDArray[np.bool_], cuts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[T] bool: where smoothing must begin anew: at cuts, and where the face comes or goes."""
    changed = np.concatenate([[True], present[1:] != present[:-1]])
    begins: NDArray[np.bool_] = cuts | changed
    return begins


def share_identity(
    styles: NDArray[np.float32], space: AttributeSpace, means: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Keep of every frame's difference to its shot only what pose, expression and light explain.

    styles, means: [T, L, D], the shots' means stay the same. An encoder also reads hair and skin a
    little differently in every frame; left in, that would flicker.
    """
    deviation = torch.from_numpy((styles - means).mean(axis=1))
    moving: NDArray[np.float32] = space.moving_part(deviation).numpy()
    return means + moving[:, None]


def smooth_styles(
    styles: NDArray[np.float32],
    means: NDArray[np.float32],
    present: NDArray[np.bool_],
    cuts: NDArray[np.bool_],
    config: SmoothConfig,
    space: AttributeSpace | None = None,
) -> NDArray[np.float32]:
    """Steady codes [T, L, D] of the present frames; absent ones stay as they are.

    means: [T, L, D] of the present frames of each one's shot.
    """
    smoothed = styles.copy()
    if not present.any():
        return smoothed
    values, means = styles[present], means[present]
    if config.share and space is not None and space.knows_motion:
        values = share_identity(values, space, means)
    if config.average_fine_from < values.shape[1]:
        values = average_fine_layers(values, config.average_fine_from, means)
    smoothed[present] = values
    return smooth_over_time(smoothed, runs(present, cuts)) if config.latents else smoothed


def smooth_similarity(
    similarity: Similarity,
    present: NDArray[np.bool_],
    cuts: NDArray[np.bool_],
    config: SmoothConfig,
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
    styles: NDArray[np.float32]
    transform: NDArray[np.float64]

    @property
    def similarity(self) -> Similarity:
        return Similarity(*self.transform.T)


@dataclass(frozen=True)
class ShotCodes(Value):
    """Mean codes of every shot, of its frames with the face. styles: [S, L, D] float32. shot: [T],
    which one a frame belongs to."""

    ROWS = ("shot",)
    styles: NDArray[np.float32]
    shot: NDArray[np.int64]


@stage()
def shot_codes(latents: Series[Latents], track: Series[FaceTrack]) -> ShotCodes:
    return means_of_shots(latents, track)


def means_of_shots(codes: Series[Any], track: Series[FaceTrack]) -> ShotCodes:
    """Of any values with styles [T, L, D], which are read by range."""
    present = track.field("present")
    shot = np.cumsum(track.field("cuts"))
    shot -= shot[0]
    shape = codes.rows(0, 1).styles.shape[1:]
    totals = np.zeros((shot[-1] + 1, *shape))
    for start, stop in ranges(codes.count):
        styles, here = codes.rows(start, stop).styles, shot[start:stop]
        for index in np.unique(here):
            totals[index] += styles[(here == index) & present[start:stop]].sum(0, dtype=float)
    counts = np.bincount(shot[present], minlength=len(totals))
    return ShotCodes((totals / np.maximum(counts, 1)[:, None, None]).astype(np.float32), shot)


@stage(version=2, chunk=64)
def pivots(
    latents: Annotated[Latents, Near(REACH)],
    track: Annotated[FaceTrack, Near(REACH)],
    shot_codes: Annotated[ShotCodes, Near(REACH)],
    span: Span,
    space: AttributeSpace | None,
    config: SmoothConfig,
) -> Pivots:
    means = shot_codes.styles[shot_codes.shot]
    styles = smooth_styles(latents.styles, means, track.present, track.cuts, config, space)
    s = smooth_similarity(track.similarity, track.present, track.cuts, config)
    core = span.core(REACH)
    return Pivots(styles[core], np.stack([s.angle_deg, s.tx, s.ty, s.scale], 1)[core])
