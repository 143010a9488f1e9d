"""Where hair is likely, by a network that was made for hair of real people: a prior for mattes.

It looks at the surroundings of the head, about as large as the pictures that it was trained on: in
whole frames small heads are lost, and where heads are larger, what lies behind becomes hair.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.geometry import Grid
from vidhair.imaging.warp import cut_frame
from vidhair.models.parsers.hair_segmenter import SIDE, HairSegmenter
from vidhair.stages.align import FaceTrack
from vidhair.stages.region import REACH, HeadRegion
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Value, stage

AT_ONCE = 4  # frames
GRAIN = 64  # samples by which the view moves with a head; a multiple of the network's STRIDE


@dataclass(frozen=True)
class HairPrior(Value):
    """levels: uint8 [T, h, w], probability of hair × 255 on `grid`; zero without the person."""

    ROWS = ("levels",)
    levels: NDArray[np.uint8]

    def grid(self, region: HeadRegion) -> Grid:
        """Where the samples lie: the region's grid, finer by a whole factor."""
        return region.finer(self.levels.shape[1] // region.height)


def prior_grid(region: HeadRegion, side: float) -> Grid:
    """The coarsest one that has SIDE samples along the surroundings of a head.

    side: of the crop of the face, in pixels of the frame.
    """
    around = min(max(region.height, region.width), (1 + 2 * REACH) * side / region.step)
    return region.finer(math.ceil(SIDE / around))


def view(centre: NDArray[np.float64], side: float, grid: Grid) -> Grid:
    """The samples of a grid around a head: begins and ends at multiples of GRAIN from the grid's
    corner, the last of which may lie beyond it. centre [2], side: of the crop of the face."""
    reach = (0.5 + REACH) * side
    low, high = grid.places(np.stack([centre - reach, centre + reach]))
    first = np.floor(np.maximum(low, 0) / GRAIN) * GRAIN
    size = np.ceil((np.minimum(high, [grid.width, grid.height]) - first) / GRAIN) * GRAIN
    left, top = np.array([grid.left, grid.top]) + first * grid.step
    width, height = size.astype(int).tolist()
    return Grid(float(left), float(top), grid.step, height, width)


@torch.inference_mode()
def segment(
    frames: Frames,
    views: Sequence[Grid | None],
    grid: Grid,
    segmenter: HairSegmenter,
    at_once: AtOnce,
) -> NDArray[np.uint8]:
    """Probability of hair × 255, uint8 [T, h, w] on a grid; zero outside of the views.

    views: what of each frame the network sees, by `view`; None for nothing.
    """
    device = next(segmenter.parameters()).device
    high, wide = (math.ceil(n / GRAIN) * GRAIN for n in (grid.height, grid.width))
    levels = np.zeros((len(views), high, wide), np.uint8)

    def cut(item: tuple[NDArray[np.uint8], Grid]) -> Tensor:
        # Beyond the frame's border the picture goes on mirrored, as the parser sees it.
        return cut_frame(*item, device)

    shown = ((frames.rows(t, t + 1).pixels[0], seen) for t, seen in enumerate(views) if seen)
    cuts = at_once(cut, shown)
    for (seen, _), run in groupby(enumerate(views), lambda item: (item[1], item[0] // AT_ONCE)):
        if seen is None:
            continue
        index = [frame for frame, _ in run]
        picture = torch.cat([next(cuts) for _ in index]) / 2 + 0.5
        hair = segmenter(picture, torch.zeros_like(picture[:, :1]))[:, 0]
        left, top = np.rint(grid.places(np.array([seen.left, seen.top]))).astype(int)
        rows, columns = slice(top, top + seen.height), slice(left, left + seen.width)
        levels[index, rows, columns] = (hair * 255).round().to(torch.uint8).cpu().numpy()
    return np.ascontiguousarray(levels[:, : grid.height, : grid.width])


# ---- stages


@stage(compress=True)
def segmented(
    frames: Frames,
    track: FaceTrack,
    region: HeadRegion,
    segmenter: HairSegmenter,
    at_once: AtOnce,
) -> HairPrior:
    grid, axes = prior_grid(region, track.box.side), track.axes
    views = [
        view(axes.centre[t], axes.side[t], grid) if track.present[t] else None
        for t in range(len(frames))
    ]
    return HairPrior(segment(frames, views, grid, segmenter, at_once))
