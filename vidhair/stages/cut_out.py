"""Hair alone, on the frame's own pixels."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.geometry import Grid
from vidhair.imaging.matting import guided_filter
from vidhair.imaging.morphology import dilate
from vidhair.imaging.rows import by_rows
from vidhair.imaging.warp import spread_grid
from vidhair.stages.layers import unit, window_of
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Derived, Every, stage


def frame_matte(alpha: Tensor, grid: Grid, picture: Tensor, window: Grid) -> Tensor:
    """A matte [T, 1, h, w] on a grid brought to the window's pixels.

    picture: [T, 3, H, W] in 0 … 1, the source there. A grid coarser than the frame is laid onto the
    strands of the full-size picture.
    """
    full = spread_grid(alpha, grid, window).clamp_(0, 1)
    if grid.step > 1:
        reach = round(2 * grid.step)
        near = dilate((full > 0).float(), reach + 1)
        full = guided_filter(picture, full, reach, 1e-3) * near
    # Nothing at all is changed where there is next to no hair.
    return by_rows(lambda a: a * (a >= 1 / 128), full)


@dataclass(frozen=True)
class CutOut(Derived):
    """alpha: uint8 [T, H, W], how far each pixel shows hair of those who are chosen."""

    ROWS = ("alpha",)
    alpha: NDArray[np.uint8]


@stage(keep=False)
def frame_alpha(frames: Frames, matte: Matte, hair_window: HairWindow, at_once: AtOnce) -> CutOut:
    """One person's matte on the frame's own pixels."""

    def alpha(item: tuple[int, NDArray[np.uint8]]) -> NDArray[np.uint8]:
        row, frame = item
        whole = np.zeros(frame.shape[:2], np.uint8)
        window = window_of(matte.alpha[row][None], hair_window, (frame.shape[1], frame.shape[0]))
        if window is not None:
            picture = unit(torch.from_numpy(frame[window.pixels][None].copy()))
            share = torch.from_numpy(matte.alpha[row])[None, None] / 255
            full = frame_matte(share, hair_window, picture, window)
            whole[window.pixels] = (full[0, 0] * 255).round().to(torch.uint8).numpy()
        return whole

    return CutOut(np.stack(list(at_once(alpha, enumerate(frames)))))


@stage(keep=False)
def cut_out(frame_alpha: Every[CutOut]) -> CutOut:
    """Everybody's."""
    return CutOut(np.maximum.reduce([one.alpha for one in frame_alpha]))
