"""A dye over a picture on CPUs, tile by tile: what `vidhair.edits.dye` defines.

What varies slowly comes as cells, means of side × side pixels, which are looked up between their
centres. What follows from a single number comes from tables of evenly spaced entries. Arrays are
float32, but for `near`, bool [h, w], the pixels where the color of hair is needed. tiles: int64
[n, 2], first rows and columns of those that hold such pixels.
"""

import numpy as np
from numba import prange

from vidhair.kernels.simd import compiled

ROWS, COLUMNS = 16, 128  # of a tile; multiples of the sides of cells
SIDES = 8  # planes of cells: the color in front times its share, the share, the same behind
# Shares below which a color is not known: of a side, and of hair.
LEAST, KNOWN = np.float32(1e-5), np.float32(1e-3)
DELTA = np.float32(6 / 29)  # from which the root of XYZ is a cube root
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)


fast = compiled(error_model="numpy", fastmath=True)
fast_parallel = compiled(error_model="numpy", fastmath=True, parallel=True)


@fast
def _look_up(table, place):
    """Between entries; place: in entries, from the first one on."""
    k = min(max(int(place), 0), len(table) - 2)
    return table[k] + (place - np.float32(k)) * (table[k + 1] - table[k])


@fast
def _cell(i, count, size):
    """(cell, share of the next one) of a pixel of `size` that `count` cells cover."""
    at = (np.float32(i) + HALF) * (np.float32(count) / np.float32(size)) - HALF
    at = min(max(at, ZERO), np.float32(count - 1))
    k = min(int(at), max(count - 2, 0))
    return k, at - np.float32(k)


@fast
def _columns(left, count, cells, width):
    """(cells, shares of the next ones) of some pixels of a row."""
    places, shares = np.empty(count, np.int64), np.empty(count, np.float32)
    for x in range(count):
        places[x], shares[x] = _cell(left + x, cells.shape[2], width)
    return places, shares


@fast
def _enlarge(cells, y, height, columns, values):
    """values [C, n] = cells [C, h', w'] at some pixels of row y."""
    places, shares = columns
    k, down = _cell(y, cells.shape[1], height)
    below = min(k + 1, cells.shape[1] - 1)
    first, end = places[0], min(places[-1] + 2, cells.shape[2])
    mixed = np.empty(end - first + 1, np.float32)
    for c in range(len(cells)):
        a, b = cells[c, k, first:end], cells[c, below, first:end]
        for j in range(end - first):
            mixed[j] = a[j] + down * (b[j] - a[j])
        mixed[end - first] = mixed[end - first - 1]
        for x in range(len(places)):
            j = places[x] - first
            values[c, x] = mixed[j] + shares[x] * (mixed[j + 1] - mixed[j])


@fast
def _add_cells(values, side, sums):
    """sums [C, n'] += values [C, n] of one row."""
    n = values.shape[1]
    for c in range(len(values)):
        if side == 4:
            for j in range(n // 4):
                sums[c, j] += (values[c, 4 * j] + values[c, 4 * j + 1]) + (
                    values[c, 4 * j + 2] + values[c, 4 * j + 3]
                )
        elif side == 2:
            for j in range(n // 2):
                sums[c, j] += values[c, 2 * j] + values[c, 2 * j + 1]
        else:
            for j in range(n):
                sums[c, j] += values[c, j]
        for x in range(n // side * side, n):
            sums[c, n // side] += values[c, x]


@fast
def _finish_cells(sums, y, bottom, left, columns, side, cells):
    """After the last row of pixels y of a row of cells, the means of those, of so many columns of
    pixels from `left` on; bottom: where rows end. The sums begin anew."""
    if (y + 1) % side != 0 and y + 1 != bottom:
        return
    rows = y % side + 1
    for j in range((columns + side - 1) // side):
        share = ONE / np.float32(rows * min(side, columns - j * side))
        for c in range(len(cells)):
            cells[c, y // side, left // side + j] = share * sums[c, j]
    sums[:] = ZERO


@fast
def _unmix(picture, alpha, front, front_share, back, back_share):
    """One channel's color (front, back, behind on average), of sums over what lies around."""
    front, behind = front / (front_share + LEAST), back / (back_share + LEAST)
    rest = picture - alpha * front - (ONE - alpha) * behind
    front = min(max(front + alpha * rest, ZERO), ONE)
    return front, min(max(behind + (ONE - alpha) * rest, ZERO), ONE), behind


@fast_parallel
def share_out(picture, alpha, means, side, cells):
    """Cells [8, h', w'] of a picture [3, h, w] in front and behind, each as far as it is seen.

    means: of such cells, by which the two are told apart where the matte is partial; [8, 0, 0] for
    the picture itself on both sides.
    """
    _, height, width = picture.shape
    told = means.size > 0
    across = (width + COLUMNS - 1) // COLUMNS
    down = (height + ROWS - 1) // ROWS
    for task in prange(across * down):
        # Neighbouring tasks lie far apart, as hair is in some places.
        top, left = task % down * ROWS, task // down * COLUMNS
        n = min(COLUMNS, width - left)
        values, around = np.empty((SIDES, n), np.float32), np.empty((SIDES, n), np.float32)
        sums = np.zeros((SIDES, (n + side - 1) // side), np.float32)
        columns = _columns(left, n if told else 0, means, width)
        bottom = min(top + ROWS, height)
        for y in range(top, bottom):
            a, partial = alpha[y, left : left + n], False
            for x in range(n):
                values[3, x], values[7, x] = a[x], ONE - a[x]
                partial |= (a[x] > ZERO) & (a[x] < ONE)
            for c in range(3):
                p = picture[c, y, left : left + n]
                for x in range(n):
                    values[c, x] = a[x] * p[x]
                    values[c + 4, x] = p[x] - a[x] * p[x]
            if told and partial:
                _enlarge(means, y, height, columns, around)
                for x in range(n):
                    if a[x] > ZERO and a[x] < ONE:
                        for c in range(3):
                            front, back, _ = _unmix(
                                picture[c, y, left + x], a[x], around[c, x], around[3, x],
                                around[c + 4, x], around[7, x]
                            )  # fmt: skip
                            values[c, x], values[c + 4, x] = a[x] * front, (ONE - a[x]) * back
            _add_cells(values, side, sums)
            _finish_cells(sums, y, bottom, left, n, side, cells)


@fast_parallel
def find_near(alpha, around, near, holds):
    """near = whether there is hair at most `around` pixels away; holds: bool [rows, columns], in
    which tiles there is."""
    height, width = alpha.shape
    for task in prange(len(holds)):
        seen = np.zeros(width + 2 * around, np.bool_)
        inside = seen[around : around + width]
        for y in range(task * ROWS, min((task + 1) * ROWS, height)):
            inside[:] = False
            for other in range(max(0, y - around), min(height, y + around + 1)):
                row = alpha[other]
                for x in range(width):
                    inside[x] |= row[x] > ZERO
            near[y] = False
            for shift in range(2 * around + 1):
                for x in range(width):
                    near[y, x] |= seen[x + shift]
        for column in range(holds.shape[1]):
            top, left = task * ROWS, column * COLUMNS
            holds[task, column] = near[top : top + ROWS, left : left + COLUMNS].any()


@fast
def _lightness(red, green, blue, tables):
    """L of CIE Lab."""
    to_linear, root, _, to_xyz, _ = tables
    entries = np.float32(len(to_linear) - 1)
    y = to_xyz[1, 0] * _look_up(to_linear, red * entries)
    y += to_xyz[1, 1] * _look_up(to_linear, green * entries)
    y += to_xyz[1, 2] * _look_up(to_linear, blue * entries)
    return np.float32(116) * _look_up(root, y * np.float32(len(root) - 1)) - np.float32(16)


@fast
def _lab(red, green, blue, tables):
    to_linear, root, _, to_xyz, _ = tables
    entries = np.float32(len(to_linear) - 1)
    red, green = _look_up(to_linear, red * entries), _look_up(to_linear, green * entries)
    blue = _look_up(to_linear, blue * entries)
    x = to_xyz[0, 0] * red + to_xyz[0, 1] * green + to_xyz[0, 2] * blue
    y = to_xyz[1, 0] * red + to_xyz[1, 1] * green + to_xyz[1, 2] * blue
    z = to_xyz[2, 0] * red + to_xyz[2, 1] * green + to_xyz[2, 2] * blue
    entries = np.float32(len(root) - 1)
    x, y, z = (
        _look_up(root, x * entries), _look_up(root, y * entries), _look_up(root, z * entries)
    )  # fmt: skip
    return (
        np.float32(116) * y - np.float32(16), np.float32(500) * (x - y), np.float32(200) * (y - z)
    )  # fmt: skip


@fast
def _cube(f):
    """The inverse of the root of XYZ."""
    if f > DELTA:
        return f * f * f
    return np.float32(3) * DELTA * DELTA * (f - np.float32(4 / 29))


@fast
def _rgb(lightness, a, b, tables):
    """In 0 … 1."""
    _, _, to_srgb, _, to_rgb = tables
    y = (lightness + np.float32(16)) / np.float32(116)
    x, z = _cube(y + a / np.float32(500)), _cube(y - b / np.float32(200))
    y = _cube(y)
    red = to_rgb[0, 0] * x + to_rgb[0, 1] * y + to_rgb[0, 2] * z
    green = to_rgb[1, 0] * x + to_rgb[1, 1] * y + to_rgb[1, 2] * z
    blue = to_rgb[2, 0] * x + to_rgb[2, 1] * y + to_rgb[2, 2] * z
    entries = np.float32(len(to_srgb) - 1)
    return (
        _look_up(to_srgb, min(max(red, ZERO), ONE) * entries),
        _look_up(to_srgb, min(max(green, ZERO), ONE) * entries),
        _look_up(to_srgb, min(max(blue, ZERO), ONE) * entries),
    )


def near_tiles(alpha, around):
    """(near, tiles) of a matte; near is what is at most `around` pixels away from hair."""
    near = np.empty(alpha.shape, np.bool_)
    holds = np.empty(
        [-(-n // side) for n, side in zip(alpha.shape, (ROWS, COLUMNS), strict=True)], np.bool_
    )
    find_near(alpha, around, near, holds)
    return near, np.argwhere(holds) * (ROWS, COLUMNS)


@fast
def _deep(nearby, inner):
    """How far hair lies behind the border, by the mean of the matte nearby."""
    share = max((nearby - inner) / (ONE - inner), ZERO)
    return share * share * share * share


@fast_parallel
def find_hair(picture, alpha, near, tiles, sides, inner, tables, side, front, lab, within):
    """front and lab, [3, h, w]: the color of hair, in sRGB and in Lab, where it is near.

    sides: means of `share_out`. within: cells [4, h', w'] of Lab times how far a pixel lies behind
    the border, and of that; inner: mean of the matte from which it does.
    """
    _, height, width = picture.shape
    for task in prange(len(tiles)):
        top, left = tiles[task]
        n, bottom = min(COLUMNS, width - left), min(top + ROWS, height)
        values, around = np.empty((4, n), np.float32), np.empty((SIDES, n), np.float32)
        sums = np.zeros((4, (n + side - 1) // side), np.float32)
        columns = _columns(left, n, sides, width)
        for y in range(top, bottom):
            values[:] = ZERO
            if near[y, left : left + n].any():
                _enlarge(sides, y, height, columns, around)
                for x in range(n):
                    if not near[y, left + x]:
                        continue
                    a = alpha[y, left + x]
                    for c in range(3):
                        front[c, y, left + x], _, _ = _unmix(
                            picture[c, y, left + x], a, around[c, x], around[3, x],
                            around[c + 4, x], around[7, x]
                        )  # fmt: skip
                    color = _lab(
                        front[0, y, left + x], front[1, y, left + x], front[2, y, left + x], tables
                    )
                    share = _deep(around[3, x], inner)
                    values[3, x] = share
                    for c in range(3):
                        lab[c, y, left + x] = color[c]
                        values[c, x] = color[c] * share
                _add_cells(values, side, sums)
            _finish_cells(sums, y, bottom, left, n, side, within)


@fast
def _lighter(light, nearby, within, inner, believed):
    """How far hair is taken for what lies behind the border, and not for what is mixed into it.

    within: [4], means of `find_hair`'s cells.
    """
    share = _deep(nearby, inner)
    if light > within[0] / (within[3] + KNOWN):
        return believed * (ONE - share) * (within[3] / (within[3] + np.float32(0.02)))
    return ZERO


@fast_parallel
def find_light(alpha, near, tiles, lab, border, side, light):
    """light: cells [2, h', w'] of the lightness that falls on hair times how sure it is hair, and
    of that. sides, within: means of `share_out` and `find_hair`."""
    height, width = alpha.shape
    sides, within, inner, believed = border
    for task in prange(len(tiles)):
        top, left = tiles[task]
        n, bottom = min(COLUMNS, width - left), min(top + ROWS, height)
        values = np.empty((2, n), np.float32)
        nearby, inside = np.empty((1, n), np.float32), np.empty((4, n), np.float32)
        sums = np.zeros((2, (n + side - 1) // side), np.float32)
        fine, coarse = _columns(left, n, sides, width), _columns(left, n, within, width)
        for y in range(top, bottom):
            a = alpha[y, left : left + n]
            values[:] = ZERO
            if a.any():
                _enlarge(sides[3:4], y, height, fine, nearby)
                _enlarge(within, y, height, coarse, inside)
                for x in range(n):
                    if a[x] > ZERO:
                        old = lab[0, y, left + x]
                        share = _lighter(old, nearby[0, x], inside[:, x], inner, believed)
                        mean = inside[0, x] / (inside[3, x] + KNOWN)
                        values[1, x] = a[x] * a[x]
                        values[0, x] = values[1, x] * (old + share * (mean - old))
                _add_cells(values, side, sums)
            _finish_cells(sums, y, bottom, left, n, side, light)


@fast_parallel
def lay_on(picture, alpha, near, tiles, border, light, dyes, tables, lab, result):
    """result: the picture with dyed hair; it holds the hair's color, and then is [3, h, w] in
    0 … 1. lab becomes that of dyed hair.

    source: [3], Lab of hair on average, of whose variation of hue `own` stays. layers: [n, 2],
    lightness of each dye, and the gain of strands' contrast; curves: [n, 4, N], the lightness of
    hair by the light on it in 0 … 100, and lightness, a and b of strands by how far they differ
    from the dye, −reach … reach. shares: [n, h, w] or [n, 1, 1].
    """
    _, height, width = picture.shape
    sides, within, inner, believed = border
    source, own, layers, curves, reach, shares = dyes
    whole = shares.shape[2] > 1
    for task in prange(len(tiles)):
        top, left = tiles[task]
        n, bottom = min(COLUMNS, width - left), min(top + ROWS, height)
        nearby, inside = np.empty((1, n), np.float32), np.empty((4, n), np.float32)
        lit = np.empty((2, n), np.float32)
        fine, coarse = _columns(left, n, sides, width), _columns(left, n, within, width)
        bright = _columns(left, n, light, width)
        for y in range(top, bottom):
            if not near[y, left : left + n].any():
                continue
            _enlarge(sides[3:4], y, height, fine, nearby)
            _enlarge(within, y, height, coarse, inside)
            _enlarge(light, y, height, bright, lit)
            for x in range(n):
                at = left + x
                if not near[y, at]:
                    continue
                old, a, b = lab[0, y, at], lab[1, y, at], lab[2, y, at]
                share = _lighter(old, nearby[0, x], inside[:, x], inner, believed)
                weight = inside[3, x] + KNOWN
                own_light = old + share * (inside[0, x] / weight - old)
                own_a = own * (a + share * (inside[1, x] / weight - a) - source[1])
                own_b = own * (b + share * (inside[2, x] / weight - b) - source[2])
                around = (lit[0, x] + KNOWN * own_light) / (lit[1, x] + KNOWN)
                for k in range(len(layers)):
                    last = np.float32(curves.shape[2] - 1)
                    way = _look_up(curves[k, 0], around * (last / np.float32(100)))
                    way += layers[k, 1] * (own_light - around) - layers[k, 0]
                    way = (way + reach) * (last / (reach + reach))
                    amount = shares[k, y, at] if whole else shares[k, 0, 0]
                    old += amount * (_look_up(curves[k, 1], way) - old)
                    a += amount * (_look_up(curves[k, 2], way) + own_a - a)
                    b += amount * (_look_up(curves[k, 3], way) + own_b - b)
                lab[0, y, at], lab[1, y, at], lab[2, y, at] = old, a, b
                dyed = _rgb(old, a, b, tables)
                for c in range(3):
                    moved = picture[c, y, at] + alpha[y, at] * (dyed[c] - result[c, y, at])
                    result[c, y, at] = min(max(moved, ZERO), ONE)


@fast_parallel
def keep_from_glowing(picture, alpha, near, tiles, sides, limits, tables, lab, result):
    """result: nowhere lighter than both hair nearby and what is behind it, by more than a margin,
    where the matte is below `thin`. lab: of dyed hair; around: pixels over which it is averaged."""
    _, height, width = picture.shape
    thin, around, margin = limits
    share = ONE / np.float32((2 * around + 1) ** 2)
    for task in prange(len(tiles)):
        top, left = tiles[task]
        n, bottom = min(COLUMNS, width - left), min(top + ROWS, height)
        values = np.empty((4, n), np.float32)
        columns = _columns(left, n, sides, width)
        for y in range(top, bottom):
            known = False
            for x in range(n):
                at = left + x
                if not (alpha[y, at] > ZERO and alpha[y, at] < thin):
                    continue
                light = _lightness(result[0, y, at], result[1, y, at], result[2, y, at], tables)
                most = _lightness(picture[0, y, at], picture[1, y, at], picture[2, y, at], tables)
                if light <= most + margin:
                    continue
                mean = ZERO
                for i in range(y - around, y + around + 1):
                    row = lab[0, min(max(i, 0), height - 1)]
                    for j in range(at - around, at + around + 1):
                        mean += row[min(max(j, 0), width - 1)]
                most = max(most, mean * share)
                if light <= most + margin:
                    continue
                if not known:
                    _enlarge(sides[4:], y, height, columns, values)
                    known = True
                weight = values[3, x] + LEAST
                most = margin + max(most, _lightness(
                    values[0, x] / weight, values[1, x] / weight, values[2, x] / weight, tables
                ))  # fmt: skip
                if light > most:
                    _, a, b = _lab(result[0, y, at], result[1, y, at], result[2, y, at], tables)
                    color = _rgb(most, a, b, tables)
                    for c in range(3):
                        result[c, y, at] = color[c]
