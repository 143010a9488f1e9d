"""What edits make of frames, as patches that lie over one another."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.geometry import Grid
from vidhair.imaging.blur import whole_cells
from vidhair.imaging.rows import put_levels
from vidhair.imaging.warp import spread_grid
from vidhair.stages.align import FaceTrack
from vidhair.stages.fade import Fade
from vidhair.stages.region import HairWindow
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Derived


def window_of(
    alpha: NDArray[np.uint8], grid: Grid, frame_size: tuple[int, int], margin: int = 0
) -> Grid | None:
    """The part of the frame, from the corner of a cell on, that holds all of a matte [T, h, w];
    None if empty.

    margin: pixels around it that are held, too.
    """
    width, height = frame_size
    left, top, step = grid.left, grid.top, grid.step
    rows, columns = alpha.any((0, 2)).nonzero()[0], alpha.any((0, 1)).nonzero()[0]
    if not len(rows):
        return None
    low_x = whole_cells(max(0, int(np.floor(left + (columns[0] - 1) * step)) - margin))
    low_y = whole_cells(max(0, int(np.floor(top + (rows[0] - 1) * step)) - margin))
    high_x = min(width, int(np.ceil(left + (columns[-1] + 2) * step)) + margin)
    high_y = min(height, int(np.ceil(top + (rows[-1] + 2) * step)) + margin)
    if high_x <= low_x or high_y <= low_y:
        return None
    return Grid.of_pixels(high_y - low_y, high_x - low_x, low_x, low_y)


def unit(levels: Tensor) -> Tensor:
    """uint8 [T, H, W, 3] → float32 [T, 3, H, W] in 0 … 1."""
    return levels.movedim(-1, 1).contiguous() / 255


@dataclass(frozen=True)
class Patch:
    """What an edit makes of one frame, in a window. pixels: uint8 [h, w, 3], those of the source
    where alpha, uint8 [h, w], is zero; alpha: how much of what is behind is hidden."""

    window: Grid
    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8]

    def faded(self, frame: NDArray[np.uint8], strength: float) -> "Patch":
        """With a share of its effect on the frame [H, W, 3]. strength: 0 … 1."""
        source = frame[self.window.pixels].astype(np.float32)
        pixels = source + np.float32(strength) * (self.pixels - source)
        return Patch(
            self.window,
            np.rint(pixels).astype(np.uint8),
            np.ceil(self.alpha * np.float32(strength)).astype(np.uint8),
        )


def patch_of(window: Grid, seen: NDArray[np.uint8], result: Tensor, alpha: Tensor) -> Patch:
    """Of a result in 0 … 1, put into what is seen in the window, [1, H, W, 3], where alpha
    [1, 1, H, W] is not zero."""
    hides = put_levels(result[0], alpha[0, 0], seen[0])
    return Patch(window, seen[0], hides)


def change_of(
    source: Tensor,
    seen: NDArray[np.uint8],
    levels: NDArray[Any],
    drawn: NDArray[np.float32],
    grid: Grid,
    window: Grid,
) -> Tensor:
    """How a window's pixels [1, 3, H, W] in 0 … 1 change, as samples of a grid do.

    seen, levels: [h, w, 3], what these show of the source, and then; drawn: [h, w] in 0 … 1, how
    far that is drawn anew: there the source's details that are finer than samples go, too.
    """
    away = np.concatenate([levels - seen.astype(np.float32), seen], -1) / np.float32(255)
    planes = np.concatenate([away, drawn[..., None]], -1).astype(np.float32)
    if grid.step == 1:
        planes = planes[..., :3]
    spread = spread_grid(torch.from_numpy(planes).movedim(-1, 0)[None].contiguous(), grid, window)
    if grid.step == 1:
        return spread
    moved, coarse, share = spread[:, :3], spread[:, 3:6], spread[:, 6:]
    return moved - share.clamp(0, 1) * (source - coarse)


@dataclass(frozen=True)
class Layer(Derived):
    """A person's edit, by frames. patches: T of them, None where nothing changes. nearness: [T],
    the larger the nearer: the side of the face's crop in pixels."""

    ROWS = ("patches", "nearness")
    patches: list[Patch | None]
    nearness: NDArray[np.float64]

    def over(self, frames: Frames) -> Frames:
        """The frames, edited, one by one as they are asked for."""

        def read(start: int, stop: int) -> NDArray[np.uint8]:
            pixels = frames.rows(start, stop).pixels.copy()
            for frame, patch in zip(pixels, self.patches[start:stop], strict=True):
                if patch is not None:
                    frame[:] = fold(frame, [patch])
            return pixels

        return Frames(read, 0, len(frames))


def fold(frame: NDArray[np.uint8], patches: Iterable[Patch]) -> NDArray[np.uint8]:
    """A frame uint8 [H, W, 3] with patches over it, from back to front.

    Each was made over the source, so it hides as much of what the ones behind it changed as its
    alpha says: x ← patch + (1 − α)·(x − source).
    """
    result, behind = frame.copy(), False
    for patch in patches:
        seen, pixels = result[patch.window.pixels], patch.pixels
        if behind:
            source = frame[patch.window.pixels].astype(np.int16)
            through = 1 - patch.alpha[..., None] / np.float32(255)
            moved = pixels + through * (seen - source)
            pixels = np.rint(moved).clip(0, 255).astype(np.uint8)
        np.copyto(seen, pixels, where=patch.alpha[..., None] > 0)
        behind = True
    return result


def joined(frame: NDArray[np.uint8], lower: Patch | None, upper: Patch | None) -> Patch | None:
    """Two patches of a frame [H, W, 3] as one; see `laid_over`."""
    if lower is None or upper is None:
        return lower or upper
    corners = np.array([[w.top, w.left, w.top + w.height, w.left + w.width]
                        for w in (lower.window, upper.window)])  # fmt: skip
    (top, left), (bottom, right) = corners[:, :2].min(0), corners[:, 2:].max(0)
    window = Grid.of_pixels(int(bottom - top), int(right - left), int(left), int(top))
    pixels, clear = frame[window.pixels].copy(), np.ones((window.height, window.width), np.float32)
    for patch in (lower, upper):
        here = patch.window.seen_from(window).pixels
        np.copyto(pixels[here], patch.pixels, where=patch.alpha[..., None] > 0)
        clear[here] *= 1 - patch.alpha / np.float32(255)
    return Patch(window, pixels, np.ceil((1 - clear) * 255).astype(np.uint8))


def make_layer(
    frames: Frames,
    track: FaceTrack,
    fade: Fade,
    make: Callable[[NDArray[np.intp]], Iterable[Patch | None]],
) -> Layer:
    """Of the frames in which the edit shows. make: gives patches for frames by their rows [n]."""
    patches: list[Patch | None] = [None] * len(frames)
    rows = np.flatnonzero(track.present & (fade.strength > 0))
    if len(rows):
        for row, patch in zip(rows, make(rows), strict=True):
            patches[row], strength = patch, float(fade.strength[row])
            if patch is not None and strength < 1:
                (source,) = frames.rows(row, row + 1)
                patches[row] = patch.faded(source, strength)
    return Layer(patches, np.where(track.present, track.axes.side, 0))


def laid(
    frames: Frames,
    levels: NDArray[np.uint8],
    changed: NDArray[np.uint8],
    track: FaceTrack,
    fade: Fade,
    hair_window: HairWindow,
    at_once: AtOnce,
) -> Layer:
    """What is drawn in the hair's window, laid over frames as a difference to what they show there.

    levels: [T, h, w, 3]; changed: [T, h, w], how far a sample is not the frame's.
    """

    def patch(item: tuple[int, NDArray[np.uint8]]) -> Patch | None:
        row, frame = item
        window = window_of(changed[row][None], hair_window, (frame.shape[1], frame.shape[0]))
        if window is None:
            return None
        seen = frame[window.pixels][None].copy()
        source, drawn = unit(torch.from_numpy(seen)), changed[row] / np.float32(255)
        cut = hair_window.cut(frame)
        moved = change_of(source, cut, levels[row], drawn, hair_window, window)
        full = spread_grid(torch.from_numpy(drawn)[None, None], hair_window, window)
        result = (source + moved).clamp(0, 1)
        return patch_of(window, seen, result, full.clamp(0, 1) * (full >= 1 / 255))

    return make_layer(frames, track, fade, lambda rows: at_once(patch, frames.numbered(rows)))
