"""Squares of a picture that look like others, for filling holes from what is around them."""

import numpy as np

from vidhair.kernels.simd import compiled

REACH = 3  # pixels from a patch's centre to its border


@compiled
def _distance(picture, counted, y, x, v, u, most):
    """Between the patches at (y, x) and at (v, u): the mean of squares, by how much every pixel of
    the first counts, or something larger than `most` if it is."""
    height, width, _ = picture.shape
    top, bottom = max(-REACH, -y), min(REACH, height - 1 - y)
    left, right = max(-REACH, -x), min(REACH, width - 1 - x)
    total, count = np.float32(0), np.float32(0)
    for i in range(top, bottom + 1):
        for j in range(left, right + 1):
            count += counted[y + i, x + j]
    count = max(count, np.float32(1e-3))
    most *= count
    for i in range(top, bottom + 1):
        for j in range(left, right + 1):
            share = counted[y + i, x + j]
            if share > np.float32(0):
                for c in range(3):
                    away = picture[y + i, x + j, c] - picture[v + i, u + j, c]
                    total += share * away * away
        if total > most:
            break
    return total / count


@compiled
def match(picture, counted, wanted, allowed, places, costs, rounds, seed):
    """Improves where every wanted patch has its like, by spreading good finds to neighbours and by
    looking around them ever nearer (Barnes et al. 2009, "PatchMatch").

    picture: float32 [H, W, 3]; counted: float32 [H, W], how far a pixel has to be like its like;
    wanted: bool [H, W]; allowed: bool [H, W], centres of patches that
    may be taken, which lie in the picture as wholes; places: int32 [H, W, 2], rows and columns of
    such ones; costs: float32 [H, W]. rounds: even ones go from the top left, odd ones back.
    """
    height, width, _ = picture.shape
    state = np.uint32(seed)
    for y in range(height):
        for x in range(width):
            if wanted[y, x]:
                costs[y, x] = _distance(
                    picture, counted, y, x, places[y, x, 0], places[y, x, 1], np.float32(1e30)
                )
    for turn in range(rounds):
        step = 1 if turn % 2 == 0 else -1
        for row in range(height):
            y = row if step == 1 else height - 1 - row
            for column in range(width):
                x = column if step == 1 else width - 1 - column
                if not wanted[y, x]:
                    continue
                best = costs[y, x]
                for k in range(2):
                    b, a = (y - step, x) if k == 0 else (y, x - step)
                    if not (0 <= b < height and 0 <= a < width and wanted[b, a]):
                        continue
                    v, u = places[b, a, 0] + y - b, places[b, a, 1] + x - a
                    if 0 <= v < height and 0 <= u < width and allowed[v, u]:
                        found = _distance(picture, counted, y, x, v, u, best)
                        if found < best:
                            best = found
                            places[y, x, 0], places[y, x, 1] = v, u
                radius = max(height, width)
                while radius >= 1:
                    state = np.uint32(state * np.uint32(1664525) + np.uint32(1013904223))
                    dv = int(np.int64(state >> np.uint32(8)) % (2 * radius + 1)) - radius
                    state = np.uint32(state * np.uint32(1664525) + np.uint32(1013904223))
                    du = int(np.int64(state >> np.uint32(8)) % (2 * radius + 1)) - radius
                    v, u = places[y, x, 0] + dv, places[y, x, 1] + du
                    if 0 <= v < height and 0 <= u < width and allowed[v, u]:
                        found = _distance(picture, counted, y, x, v, u, best)
                        if found < best:
                            best = found
                            places[y, x, 0], places[y, x, 1] = v, u
                    radius //= 2
                costs[y, x] = best


@compiled
def vote(picture, hole, wanted, places, costs, scale):
    """Every pixel of the hole becomes the mean of what the patches over it have in its place, the
    more of those that are like it. scale: of costs, at which a patch counts e times less."""
    height, width, _ = picture.shape
    source = picture.copy()
    for y in range(height):
        for x in range(width):
            if not hole[y, x]:
                continue
            total = np.float32(0)
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            for i in range(max(-REACH, -y), min(REACH, height - 1 - y) + 1):
                for j in range(max(-REACH, -x), min(REACH, width - 1 - x) + 1):
                    if not wanted[y + i, x + j]:
                        continue
                    near = np.float32(i * i + j * j) / np.float32(2 * REACH)
                    share = np.exp(-costs[y + i, x + j] / np.float32(scale) - near)
                    v, u = places[y + i, x + j, 0] - i, places[y + i, x + j, 1] - j
                    red += share * source[v, u, 0]
                    green += share * source[v, u, 1]
                    blue += share * source[v, u, 2]
                    total += share
            if total > np.float32(1e-30):
                picture[y, x, 0] = red / total
                picture[y, x, 1] = green / total
                picture[y, x, 2] = blue / total
