"""Texture that goes on, of blocks of what is seen of it (Efros and Freeman 2001, "Image quilting").

Blocks overlap, and each is one of those that agree best with what is laid already. They are cut
where they differ least.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, minimum_filter, rotate

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]

ENOUGH_BLOCKS, MOST_BLOCKS = 16, 300  # that are chosen from
TALL, APART = 3, 3  # times as high as wide; of as many parts of a width, one lies between two
OVERLAP = 3  # of as many parts of a block's side, one
USUAL = (0.6, 1.4)  # of the median contrast, that blocks have
USED = 0.5  # by how much more a block costs each time that it has been laid
TURNS = (0, -30, 30, -60, 60)  # degrees by which texture is turned, so that it hangs
HANGS = 15.0  # degrees off the vertical, that hanging texture runs along at most


def direction(plane: Plane, sigma: float) -> Plane:
    """Along which lines of a plane [h, w] run, in degrees off the vertical, −90 … 90: across the
    main axis of its structure tensor (Bigun and Granlund 1987) over a blur."""
    down, right = np.gradient(gaussian_filter(plane, 1.0))
    both, a, b = (gaussian_filter(x, sigma) for x in (right * down, right * right, down * down))
    found: Plane = np.rad2deg(0.5 * np.arctan2(2 * both, a - b)).astype(np.float32)
    return found


def hanging_blocks(picture: Plane, seen: Mask, width: int) -> Plane:
    """Blocks [N, C, TALL · width, width] of a picture [C, h, w] where all is seen, turned so that
    what they show runs down; of those that are turned least, if there are enough. Without their
    means, and those of much more or less contrast than most."""
    height, step = TALL * width, max(1, width // APART)
    found: list[Plane] = []
    for turn in TURNS:
        turned, known = picture, seen
        if turn:
            turned = rotate(picture, turn, (1, 2), order=1).astype(np.float32)
            known = rotate(seen.astype(np.float32), turn, order=1) > 0.99
        whole = minimum_filter(known, (height, width), mode="constant", cval=False)
        whole &= np.abs(direction(turned[0], width / 3)) < HANGS
        places = np.argwhere(whole[::step, ::step]) * step - (height // 2, width // 2)
        found += [turned[:, y : y + height, x : x + width] for y, x in places]
        if len(found) >= ENOUGH_BLOCKS:
            break
    if not found:
        return np.zeros((0, len(picture), height, width), np.float32)
    some = np.stack(found[:: max(1, len(found) // MOST_BLOCKS)])
    some -= some.mean((2, 3), keepdims=True)
    contrast = some[:, 0].std((1, 2))
    low, high = np.median(contrast) * np.array(USUAL)
    usual: Plane = some[(contrast >= low) & (contrast <= high)]
    return usual


def quilted(picture: Plane, seen: Mask, wanted: Mask, blocks: Plane) -> Plane:
    """A picture [C, h, w] where it is seen, and blocks [N, C, a, b] laid over what is wanted [h, w]
    from top to bottom. Zero elsewhere. The same blocks always give the same picture."""
    height, width = blocks.shape[-2:]
    down, across = (max(1, side // OVERLAP) for side in (height, width))
    margin = (height, height), (width, width)
    found = np.pad(np.where(seen, picture, 0), ((0, 0), *margin)).astype(np.float32)
    gap, laid = np.pad(wanted & ~seen, margin), np.pad(seen, margin)
    own, used = laid.copy(), np.zeros(len(blocks))
    inner = slice(height, -height), slice(width, -width)
    if not gap.any() or not len(blocks):
        return found[:, inner[0], inner[1]]
    rows, columns = (np.flatnonzero(gap.any(axis)) for axis in (1, 0))
    for number, x in enumerate(range(columns[0] - across, columns[-1] + 1, width - across)):
        first = rows[0] - down - (number % 2) * (height - down) // 2  # as bricks lie
        for y in range(first, rows[-1] + 1, height - down):
            part = slice(y, y + height), slice(x, x + width)
            if not gap[part].any():
                continue
            there, before = laid[part], found[:, part[0], part[1]]
            costs = (np.square(blocks - before) * there).sum((1, 2, 3)) / max(1, there.sum())
            best = int((costs * (1 + USED * used) + USED * used).argmin())
            used[best] += 1
            away = np.square(blocks[best] - before).sum(0) * there
            new = _after_cut(away[:, :across], width) & _after_cut(away[:down].T, height).T
            new = (new | ~there) & ~own[part]
            before[:, new] = blocks[best][:, new]
            laid[part] |= True
    return (found * (gap | own))[:, inner[0], inner[1]]


def _after_cut(costs: Plane, side: int) -> Mask:
    """What lies to the right of the cheapest way down an overlap [n, lap], [n, side]."""
    total = costs.astype(np.float64)
    for row in range(1, len(total)):
        above = np.pad(total[row - 1], 1, constant_values=np.inf)
        total[row] += np.minimum(np.minimum(above[:-2], above[1:-1]), above[2:])
    right = np.ones((len(total), side), bool)
    column = int(total[-1].argmin())
    for row in range(len(total) - 1, -1, -1):
        low = max(0, column - 1)
        column = low + int(total[row, low : column + 2].argmin())
        right[row, :column] = False
    return right


def gone_on(picture: Plane, seen: Mask, wanted: Mask, widths: Sequence[int]) -> Plane | None:
    """A picture [C, h, w] that goes on, hanging, from where it is seen to where it is wanted, of
    blocks of the first width of which there are enough; None if there is none."""
    for width in widths:
        blocks = hanging_blocks(picture, seen, width)
        if len(blocks) >= ENOUGH_BLOCKS:
            return quilted(picture, seen, wanted, blocks)
    return None
