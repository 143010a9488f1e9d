"""How steady a drawn clip is: what changes from frame to frame beside the motion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidhair.imaging.motion import fetch, flow

RESTS = 0.25  # pixels from frame to frame, below which a place rests
POPS = 24.0  # levels by which more than the source a place changes that jumps

Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class Steadiness:
    """Numbers of a drawn clip; NaN where nothing was there to be measured.

    change: mean absolute difference to the frame before, where the source's motion has taken it,
    in levels, over the source's. at_rest: the same where nothing moves. pops: share of pixels that
    change by POPS levels more than the source does. source, drawn: those differences.
    """

    change: float
    at_rest: float
    pops: float
    source: float
    drawn: float


class SteadinessMeter:
    """Takes frames one by one, uint8 [H, W, 3], as they were and as they were drawn."""

    def __init__(self) -> None:
        self._last: tuple[Levels, Levels] | None = None
        self._sums = np.zeros((2, 3))  # of all, and of what rests: source, drawn, pixels
        self._pops = 0.0

    def cut(self) -> None:
        """The next frame belongs to another shot."""
        self._last = None

    def add(self, source: Levels, drawn: Levels) -> None:
        last, self._last = self._last, (source, drawn)
        if last is None:
            return
        motion = flow(source, last[0])
        inside = _stays_inside(motion)
        before, after = (
            np.abs(now - fetch(then, motion).astype(np.float32)).mean(-1)
            for now, then in zip((source, drawn), last, strict=True)
        )
        rests = inside & (np.hypot(*motion.transpose(2, 0, 1)) < RESTS)
        for total, where in zip(self._sums, (inside, rests), strict=True):
            total += before[where].sum(), after[where].sum(), where.sum()
        self._pops += (inside & (after > before + POPS)).sum()

    def result(self) -> Steadiness:
        with np.errstate(invalid="ignore", divide="ignore"):
            (source, drawn, pixels), (source_at_rest, drawn_at_rest, _) = self._sums
            return Steadiness(
                change=float(drawn / source),
                at_rest=float(drawn_at_rest / source_at_rest),
                pops=float(np.float64(self._pops) / pixels),
                source=float(source / pixels),
                drawn=float(drawn / pixels),
            )


def _stays_inside(motion: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels whose place in the other picture is within it, [H, W]."""
    height, width = motion.shape[:2]
    x = motion[..., 0] + np.arange(width)
    y = motion[..., 1] + np.arange(height)[:, None]
    inside: NDArray[np.bool_] = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return inside
