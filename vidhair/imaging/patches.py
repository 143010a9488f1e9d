"""Holes in pictures, filled with what is seen around them: texture goes on, nothing is blurred."""

from functools import cache
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt, minimum_filter
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import splu

from vidhair.imaging.fill import enlarge, fill
from vidhair.kernels import start_threads

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]

SPREAD_LEVELS = 8  # halvings over which colors spread where there is nothing to look at
ROUNDS, TURNS = 4, (12, 3)  # of matching, and of matching and voting: at the coarsest, the finest
TYPICAL = 75  # percentile of costs by which patches' votes are weighed
ANCHOR = 1e-3  # usual weight of the colors that patches have, beside that of their steps
FAINTER, LEAST_COUNT = 1.3, 0.1  # by how much a pixel further in counts less, and at least
LEAST_SHARE = 0.4  # of a source, that patches can be taken from, at every size
LEAST_SOURCE = 64  # patches, from which on there is something to choose


def inpaint(picture: Picture, hole: Mask, source: Mask, anchor: float = ANCHOR) -> Picture:
    """A picture float32 [h, w, 3] with its hole [h, w] filled from patches of the source [h, w].

    What is in neither is not looked at.

    From coarse to fine, the hole is made so that every patch over it is like one of the source
    (Wexler et al. 2007, "Space-time completion of video", eq. 2 to 5). The same numbers always give
    the same picture. Where there is too little of a source, it is what `fill` makes of it. anchor:
    weight of the colors that patches have, beside that of their steps; the more, the nearer to them
    is a hole with little around it, and the less well it joins that.
    """
    if not hole.any():
        return picture
    found = _from_patches(picture, hole, source, anchor)
    return np.where(hole[..., None], found, picture).astype(np.float32)


def nearest_through(hole: Mask, source: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns [h, w] of the sample of a source [h, w] that is nearest by ways through a
    hole [h, w] alone; where there is none, that is nearest."""
    rows, columns = distance_transform_edt(~source, return_distances=False, return_indices=True)
    wide = hole.shape[1] + 2
    left = np.pad(hole & ~source, 1).ravel()
    origin = np.full(left.size, -1)
    front = np.flatnonzero(np.pad(source, 1))
    origin[front] = front
    steps = (-1, 1, -wide, wide, -wide - 1, -wide + 1, wide - 1, wide + 1)
    while len(front):
        reached = []
        for step in steps:
            there = front + step
            new = left[there]
            there, came = there[new], front[new]
            origin[there], left[there] = origin[came], False
            reached.append(there)
        front = np.concatenate(reached)
    found = origin.reshape(-1, wide)[1:-1, 1:-1]
    through = found >= 0
    row, column = np.divmod(found, wide)
    return np.where(through, row - 1, rows), np.where(through, column - 1, columns)


def _from_patches(picture: Picture, hole: Mask, source: Mask, anchor: float) -> Picture:
    # At first it goes on as at its border, so that edges reach into it.
    smooth = spread(picture, source)
    made = np.where(hole[..., None], picture[nearest_through(hole, source)], picture)
    made = np.where((hole | source)[..., None], made, smooth).astype(np.float32)
    levels = [(made, hole, source)]
    reach = _kernels().REACH
    while distance_transform_edt(np.pad(levels[-1][1], 1)).max() > 2 * reach:
        one, gap, seen = levels[-1]
        coarser = _halved(seen, all)
        # What lies along the border of the picture or of the hole must still be found there.
        least = max(LEAST_SOURCE, LEAST_SHARE * coarser.sum())
        if min(gap.shape) < 8 * reach or _allowed(coarser, reach).sum() < least:
            break
        levels.append((_pooled(one), _halved(gap, any), _halved(seen, all)))
    result, places = levels[-1][0], None
    for number, (one, gap, seen) in reversed(list(enumerate(levels))):
        allowed = _allowed(seen, reach)
        if allowed.sum() < LEAST_SOURCE:
            return made
        if places is not None:
            result = np.where(gap[..., None], _doubled(result, gap.shape), one)
        wanted = binary_dilation(gap, np.ones((2 * reach + 1,) * 2))
        places = _places(places, wanted, allowed)
        share = number / max(1, len(levels) - 1)
        # What is known counts most, and what is nearer to it more.
        depth = distance_transform_edt(gap)
        counted = np.where(seen, 1, np.where(gap, np.maximum(LEAST_COUNT, FAINTER**-depth), 0))
        counted = counted.astype(np.float32)
        turns = round(TURNS[1] + share * (TURNS[0] - TURNS[1]))
        result = np.ascontiguousarray(result, np.float32)
        for turn in range(turns):
            costs = np.zeros(gap.shape, np.float32)
            _kernels().match(result, counted, wanted, allowed, places, costs, ROUNDS, turn + 1)
            typical = float(np.percentile(costs[wanted], TYPICAL)) + 1e-3
            _kernels().vote(result, gap, wanted, places, costs, typical)
    # Of the finest, edges and texture are taken, and not the colors: so it joins what is around.
    steps = []
    for axis in (0, 1):
        change = np.ascontiguousarray(np.diff(result, axis=axis, append=0), np.float32)
        _kernels().vote(change, wanted, wanted, places, costs, typical)
        steps.append(change)
    return _joined(result, hole, source, steps[0], steps[1], anchor)


def _joined(
    picture: Picture, hole: Mask, source: Mask, down: Picture, right: Picture, anchor: float
) -> Picture:
    """The hole with these steps [h, w, 3] to the pixels below and beside, as nearly as what is
    around it allows: least squares (Perez et al. 2003, "Poisson image editing", eq. 7)."""
    numbers = np.full(hole.shape, -1)
    numbers[hole] = np.arange(hole.sum())
    known, count = hole | source, int(hole.sum())
    diagonal = np.full(count, anchor)
    wanted = anchor * picture[hole].astype(np.float64)
    rows, columns = [], []
    ends = ((slice(None, -1), slice(1, None)), (slice(None), slice(None)))
    for change, (a, b) in (
        (down, [(first, ends[1][0]) for first in ends[0]]),
        (right, [(ends[1][0], first) for first in ends[0]]),
    ):
        both = known[a] & known[b] & (hole[a] | hole[b])
        i, j, step = numbers[a][both], numbers[b][both], change[a][both].astype(np.float64)
        colors = picture[a][both], picture[b][both]
        for mine, other, theirs, sign in ((i, j, colors[1], -1), (j, i, colors[0], 1)):
            inside = mine >= 0
            np.add.at(diagonal, mine[inside], 1)
            np.add.at(wanted, mine[inside], sign * step[inside])
            border = inside & (other < 0)
            np.add.at(wanted, mine[border], theirs[border])
        pair = (i >= 0) & (j >= 0)
        rows += [i[pair], j[pair]]
        columns += [j[pair], i[pair]]
    every = np.arange(count)
    values = np.concatenate([diagonal, np.full(sum(map(len, rows)), -1.0)])
    place = np.concatenate([every, *rows]), np.concatenate([every, *columns])
    matrix = csc_matrix((values, place), (count, count))
    joined = picture.copy()
    # Where little is around, steps that do not agree add up to colors that nothing has.
    low, high = picture[source].min(0), picture[source].max(0)
    joined[hole] = splu(matrix, "MMD_AT_PLUS_A").solve(wanted).clip(low, high)
    return joined


def spread(picture: Picture, seen: Mask) -> Picture:
    """Colors [h, w, 3] where they are seen [h, w], and evenly on from there."""
    values = torch.from_numpy(np.ascontiguousarray(picture, np.float32)).movedim(-1, 0)[None]
    weight = torch.from_numpy(seen.astype(np.float32))[None, None]
    return fill(values.contiguous(), weight, SPREAD_LEVELS)[0].movedim(0, -1).numpy()


def _allowed(seen: Mask, reach: int) -> Mask:
    """Centres of patches of which all is seen."""
    found: Mask = minimum_filter(seen, 2 * reach + 3, mode="constant", cval=False)
    return found


def _places(places: NDArray[np.int32] | None, wanted: Mask, allowed: Mask) -> NDArray[np.int32]:
    """Where patches are looked for first: where those of half the size were found, or nearest."""
    nearest = distance_transform_edt(~allowed, return_distances=False, return_indices=True)
    found = np.stack(nearest, -1).astype(np.int32)
    if places is None:
        return np.ascontiguousarray(found)
    rows, columns = np.indices(wanted.shape)
    h, w, _ = places.shape
    coarse = places[np.minimum(rows // 2, h - 1), np.minimum(columns // 2, w - 1)]
    guess = 2 * coarse + np.stack([rows % 2, columns % 2], -1)
    inside = (guess[..., 0] < wanted.shape[0]) & (guess[..., 1] < wanted.shape[1])
    guess = np.where(inside[..., None], guess, 0)
    good = inside & allowed[guess[..., 0], guess[..., 1]]
    return np.ascontiguousarray(np.where(good[..., None], guess, found), np.int32)


def _pooled(picture: Picture) -> Picture:
    values = torch.from_numpy(picture).movedim(-1, 0)[None]
    pooled = F.avg_pool2d(values, 2, ceil_mode=True, count_include_pad=False)
    return pooled[0].movedim(0, -1).contiguous().numpy()


def _halved(mask: Mask, how: object) -> Mask:
    """Of every square of 2 × 2 pixels, whether any or all of them are in it."""
    h, w = mask.shape
    padded = np.pad(mask, [(0, h % 2), (0, w % 2)], "edge")
    blocks = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2)
    found: Mask = blocks.any((1, 3)) if how is any else blocks.all((1, 3))
    return found


def _doubled(picture: Picture, size: tuple[int, ...]) -> Picture:
    values = torch.from_numpy(picture).movedim(-1, 0)[None].contiguous()
    h, w = picture.shape[:2]
    doubled = enlarge(values, 2 * h, 2 * w)[0].movedim(0, -1).numpy()
    return doubled[: size[0], : size[1]]


@cache
def _kernels() -> ModuleType:
    from vidhair.kernels import _patches

    start_threads()
    return _patches
