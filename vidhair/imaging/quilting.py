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

MOST_BLOCKS = 300  # that are chosen from
OVERLAP = 3  # of as many parts of a block's side, one
TURNS = (0, -30, 30, -60, 60)  # degrees by which texture is turned, so that it hangs
HANGS = 25.0  # degrees off the vertical, that hanging texture runs along at most
AS_GOOD = 1.3  # times the least cost, that others are chosen up to


def direction(plane: Plane, sigma: float) -> Plane:
    """Along which lines of a plane [h, w] run, in degrees off the vertical, −90 … 90: across the
    main axis of its structure tensor (Bigun and Granlund 1987) over a blur."""
    down, right = np.gradient(gaussian_filter(plane, 1.0))
    both, a, b = (gaussian_filter(x, sigma) for x in (right * down, right * right, down * down))
    found: Plane = np.rad2deg(0.5 * np.arctan2(2 * both, a - b)).astype(np.float32)
    return found


def hanging_blocks(picture: Plane, seen: Mask, block: int) -> Plane:
    """Blocks [N, C, block, block] of a picture [C, h, w] where all is seen, turned so that what
    they show runs down; those that run so already, if there are enough."""
    found: list[Plane] = []
    for turn in TURNS:
        turned, known = picture, seen
        if turn:
            turned = rotate(picture, turn, (1, 2), order=1).astype(np.float32)
            known = rotate(seen.astype(np.float32), turn, order=1) > 0.99
        whole = minimum_filter(known, block, mode="constant", cval=False)
        whole &= np.abs(direction(turned[0], block / 4)) < HANGS
        places = np.argwhere(whole) - block // 2
        chosen = places[np.linspace(0, len(places) - 1, min(MOST_BLOCKS, len(places))).astype(int)]
        found += [turned[:, y : y + block, x : x + block] for y, x in chosen]
        if len(found) >= MOST_BLOCKS:
            break
    some = np.linspace(0, len(found) - 1, min(MOST_BLOCKS, len(found))).astype(int)
    return np.stack([found[k] for k in some]) if found else np.zeros((0, 0, block, block), np.float32)


def quilted(picture: Plane, seen: Mask, wanted: Mask, blocks: Plane) -> Plane:
    """A picture [C, h, w] where it is seen, and blocks [N, C, b, b] laid over what is wanted [h, w]
    from top to bottom. Zero elsewhere. The same blocks always give the same picture."""
    side = blocks.shape[-1]
    lap = max(1, side // OVERLAP)
    margin = (side, side), (side, side)
    found = np.pad(np.where(seen, picture, 0), ((0, 0), *margin)).astype(np.float32)
    gap, laid = np.pad(wanted & ~seen, margin), np.pad(seen, margin)
    own, rng = laid.copy(), np.random.default_rng(0)
    if not gap.any() or not len(blocks):
        return found[:, side:-side, side:-side]
    rows, columns = (np.flatnonzero(gap.any(axis)) for axis in (1, 0))
    for y in range(rows[0] - lap, rows[-1] + 1, side - lap):
        for x in range(columns[0] - lap, columns[-1] + 1, side - lap):
            part = slice(y, y + side), slice(x, x + side)
            if not gap[part].any():
                continue
            there, before = laid[part], found[:, part[0], part[1]]
            costs = (np.square(blocks - before) * there).sum((1, 2, 3))
            good = np.flatnonzero(costs <= AS_GOOD * costs.min() + 1e-6)
            block = blocks[good[rng.integers(len(good))]]
            away = np.square(block - before).sum(0) * there
            new = _after_cut(away[:, :lap], side) & _after_cut(away[:lap].T, side).T
            new = (new | ~there) & ~own[part]
            before[:, new] = block[:, new]
            laid[part] |= True
    return (found * (gap | own))[:, side:-side, side:-side]


def _after_cut(costs: Plane, side: int) -> Mask:
    """What lies to the right of the cheapest way down an overlap [side, lap], [side, side]."""
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


def gone_on(picture: Plane, seen: Mask, wanted: Mask, sizes: Sequence[int]) -> Plane | None:
    """A picture [C, h, w] that goes on, hanging, from where it is seen to where it is wanted, of
    blocks of the first size of which there are enough; None if there is none."""
    for size in sizes:
        blocks = hanging_blocks(picture, seen, size)
        if len(blocks) >= MOST_BLOCKS // 10:
            return quilted(picture, seen, wanted, blocks)
    return None
