"""The compiled loops of the CPU kernel; see `cpu` for the notation.

Pictures are flat arrays of the memory [N, H, W, C'] that `vidhair.kernels.layout_cpu` describes.
Tasks are tiles of LANES channels; their scratch is [places, LANES], a place is a pixel or sample.

Samples of u come in groups of U that see the same six samples of x: group g, that is
u[p + U·(g − 1) + 1 + s] for s < U, sees x[g … g + 5]. Taps are handed over by phase s. The filters
are the same from either end, so the transpose of upsampling is downsampling by the same taps, and
the other way round.
"""

import numpy as np
from numba import prange

from vidhair.kernels._tiles import copy
from vidhair.kernels.simd import LANES, compiled, empty_places, microkernel, zero_places

REACH = 6  # samples that a group sees
TAPS = 12  # of the downsampling filter
STEP = 4  # places that a microkernel makes at a time

# Results per side of a tile, and rows of them that the vertical filter makes at a time (a multiple
# of STEP). The rows in the making stay in the first-level cache, those that wait in the second;
# what tiles have in common is computed for each of them.
TILE_WIDTH, TILE_HEIGHT, BAND, CHUNK = 48, 160, 16, 8


@microkernel
def _read(v, x, at, bias, block, row, to):
    """row[to] = x[at] + bias[block]"""
    v.store(v.add(v.load(x, at), v.load(bias, block)), row, to)


@microkernel
def _expect_read(v, x, at):
    v.prefetch(x, at, to_write=False)


@microkernel
def _expect_write(v, y, at):
    v.prefetch(y, at, to_write=True)


@microkernel
def _up_columns(v, s, rows, at, c, out, pitch):
    """out[p·pitch + at] = Σ_k c[p][k]·s[rows[k] + at]"""
    x = [v.load(s, v.sum(row, at)) for row in rows]
    for p, taps in enumerate(c):
        v.store(v.dot(taps, x), out, v.sum(at, v.times(p, pitch)))


def _up_row(v, s, at, c):
    """(place, sample) of the samples of STEP groups: U·i + p → Σ_k c[p][k]·s[at + i + k]"""
    x = [v.load(s, at, k) for k in range(STEP + REACH - 1)]
    for p, taps in enumerate(c):
        for i in range(STEP):
            yield len(c) * i + p, v.dot(taps, x[i : i + REACH])


@microkernel
def _up_row_plain(v, s, at, c, u, to):
    for place, sample in _up_row(v, s, at, c):
        v.store(sample, u, to, place)


@microkernel
def _up_row_added(v, s, at, c, u, to):
    for place, sample in _up_row(v, s, at, c):
        v.store(v.add(sample, v.load(u, to, place)), u, to, place)


@microkernel
def _up_row_activated(v, s, at, c, slope, limit, u, to):
    """Followed by a leaky ReLU of a slope in 0 … 1, and clamped."""
    for place, sample in _up_row(v, s, at, c):
        sample = v.maximum(sample, v.multiply(sample, slope))
        v.store(v.maximum(v.minimum(sample, limit), v.negative(limit)), u, to, place)


@microkernel
def _mask(v, u, at, slope, limit, g, to):
    """g times the derivative of the activation at u."""
    sample, gradient = v.load(u, at), v.load(g, to)
    factor = v.select(">", sample, v.number(0), v.number(1), slope)
    activated = v.multiply(sample, factor)
    size = v.maximum(activated, v.negative(activated))
    passed = v.multiply(gradient, factor)
    v.store(v.select("<=", size, limit, passed, v.number(0)), g, to)


def _down(v, x, factor, c, i, onto=None):
    """Σ_k c[k]·(x[factor·i + k] + x[factor·i + 2n − 1 − k]), n = len(c)"""
    x = x[factor * i : factor * i + 2 * len(c)]
    return v.dot(c, [v.add(a, b) for a, b in zip(x, x[::-1], strict=True)][: len(c)], onto)


@microkernel
def _down_row_by_2(v, u, at, c, out, to):
    x = [v.load(u, at, k) for k in range(2 * STEP + 2 * len(c) - 2)]
    for i in range(STEP):
        v.store(_down(v, x, 2, c, i), out, to, i)


@microkernel
def _down_row_by_4(v, u, at, c, out, to):
    x = [v.load(u, at, k) for k in range(4 * STEP + 2 * len(c) - 4)]
    for i in range(STEP):
        v.store(_down(v, x, 4, c, i), out, to, i)


@microkernel
def _down_columns_by_2(v, s, at, pitch, c, out, to, out_pitch):
    """Of rows that are `pitch` places apart, to rows that are `out_pitch` apart."""
    x = [v.load(s, v.sum(at, v.times(k, pitch))) for k in range(2 * STEP + 2 * len(c) - 2)]
    for i in range(STEP):
        v.store(_down(v, x, 2, c, i), out, v.sum(to, v.times(i, out_pitch)))


@microkernel
def _down_columns_by_2_onto(v, s, at, pitch, c, out, to, out_pitch):
    x = [v.load(s, v.sum(at, v.times(k, pitch))) for k in range(2 * STEP + 2 * len(c) - 2)]
    for i in range(STEP):
        place = v.sum(to, v.times(i, out_pitch))
        v.store(_down(v, x, 2, c, i, v.load(out, place)), out, place)


@microkernel
def _down_columns_by_4(v, s, at, pitch, c, out, to, out_pitch):
    x = [v.load(s, v.sum(at, v.times(k, pitch))) for k in range(4 * STEP + 2 * len(c) - 4)]
    for i in range(STEP):
        v.store(_down(v, x, 4, c, i), out, v.sum(to, v.times(i, out_pitch)))


@compiled
def _six(t):
    return t[0], t[1], t[2], t[3], t[4], t[5]


@compiled
def _twelve(t):
    return t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11]


@compiled
def _two_phases(t):
    return _six(t[0]), _six(t[1])


@compiled
def _four_phases(t):
    return _six(t[0]), _six(t[1]), _six(t[2]), _six(t[3])


@compiled
def _rounded_up(n):
    """To a multiple of STEP."""
    return -(-n // STEP) * STEP


@compiled
def _group(m, pad, up):
    """The group that u[m] belongs to."""
    return (m - pad - 1) // up + 1


@compiled
def _ring(first, pitch):
    """Where six rows from the one at `first` on lie in a ring of six rows."""
    return (
        first % REACH * pitch, (first + 1) % REACH * pitch, (first + 2) % REACH * pitch,
        (first + 3) % REACH * pitch, (first + 4) % REACH * pitch, (first + 5) % REACH * pitch,
    )  # fmt: skip


@compiled
def _read_row(x, start, shape, row, first, count, bias, block, s, to):
    """Samples first … first + count − 1 of a row of x [H, W, C'], plus bias; zero beyond x."""
    height, width, channels = shape
    low = min(max(-first, 0), count)
    high = max(min(width - first, count), low)
    if not 0 <= row < height:
        low = high = count
    s[to : to + low] = 0
    s[to + high : to + count] = 0
    at = start + (row * width + first) * channels + block * LANES
    for i in range(low, high):
        _read(x, at + i * channels, bias, block, s, to + i)


@compiled
def _expect_row(x, start, shape, row, first, count, block):
    """Fetch into the cache what `_read_row` will ask for."""
    height, width, channels = shape
    if 0 <= row < height:
        at = start + (row * width + first) * channels + block * LANES
        for i in range(max(-first, 0), min(width - first, count)):
            _expect_read(x, at + i * channels)


@compiled
def _up_columns_by(up, s, group, pitch, count, taps, v):
    """The rows of a group: v [up, pitch] from a ring s of rows."""
    rows = _ring(group, pitch)
    if up == 2:
        c = _two_phases(taps)
        for i in range(count):
            _up_columns(s, rows, i, c, v, pitch)
    else:
        d = _four_phases(taps)
        for i in range(count):
            _up_columns(s, rows, i, d, v, pitch)


@compiled
def _forward_tile(x, start, shape, bias, block, up, pad_y, pad_x, taps_y, taps_x, taps_down, slope,
                  limit, y, out, out_pitch, rows, columns):  # fmt: skip
    """A tile of results, whose first one lies at element `out` of y."""
    rank, channels = len(taps_down), shape[2]
    n_v, n_u = 2 * rows + TAPS - 2, 2 * columns + TAPS - 2
    first_x, first_y = _group(0, pad_x, up), _group(0, pad_y, up)
    groups = _rounded_up(_group(n_u - 1, pad_x, up) - first_x + 1)
    before = up - 1 - pad_x % up  # samples of the first group that no result sees
    length = groups + REACH - 1
    pitch = _rounded_up(columns) | 1  # odd, so that the rows spread over the cache's sets
    waiting = 2 * BAND + TAPS - 2

    s = empty_places(REACH * length)  # the last rows of x, in turn
    v = empty_places(up * length)
    u = zero_places(before + 2 * pitch + TAPS + up * groups)
    d = empty_places(rank * waiting * pitch)  # filtered rows of u
    acc = empty_places(BAND * CHUNK)

    done = 0  # rows of results
    for row in range(first_y, first_y + REACH - 1):
        _read_row(x, start, shape, row, first_x, length, bias, block, s, row % REACH * length)
    for group in range(first_y, _group(n_v - 1, pad_y, up) + 1):
        row = group + REACH - 1
        _read_row(x, start, shape, row, first_x, length, bias, block, s, row % REACH * length)
        _expect_row(x, start, shape, row + 1, first_x, length, block)
        _up_columns_by(up, s, group, length, length, taps_y, v)
        for phase in range(up):
            m = pad_y + up * (group - 1) + 1 + phase
            if m < 0 or m >= n_v:
                continue
            if m % 2 and m // 2 < rows:
                for i in range(columns):
                    _expect_write(y, out + m // 2 * out_pitch + i * channels)
            if up == 2:
                c_2 = _two_phases(taps_x)
                for i in range(0, groups, STEP):
                    _up_row_activated(v, phase * length + i, c_2, slope, limit, u, 2 * i)
            else:
                c_4 = _four_phases(taps_x)
                for i in range(0, groups, STEP):
                    _up_row_activated(v, phase * length + i, c_4, slope, limit, u, 4 * i)
            for r in range(rank):
                c = _six(taps_down[r, 1])
                to = (r * waiting + m - 2 * done) * pitch
                for i in range(0, columns, STEP):
                    _down_row_by_2(u, before + 2 * i, c, d, to + i)
            if m == n_v - 1 or m - 2 * done == waiting - 1:
                count = min(BAND, rows - done)
                _down_band(d, waiting, pitch, taps_down, acc, y, out + done * out_pitch, channels,
                           out_pitch, count, columns)  # fmt: skip
                done += count
                for r in range(rank):
                    to = r * waiting * pitch
                    for k in range(to, to + (TAPS - 2) * pitch):
                        copy(d, k + 2 * BAND * pitch, d, k)


@compiled
def _down_band(d, waiting, pitch, taps_down, acc, y, out, step, out_pitch, rows, columns):
    """Rows of results from the rows of d, of every filter in the sum [rank, waiting, pitch]."""
    rank = len(taps_down)
    # A few columns at a time, whose rows the first-level cache holds until the next ones.
    for left in range(0, columns, CHUNK):
        some = min(CHUNK, columns - left)
        for r in range(rank):
            c = _six(taps_down[r, 0])
            for j in range(0, rows, STEP):
                at = (r * waiting + 2 * j) * pitch + left
                to = j * CHUNK
                if r == 0:
                    for i in range(some):
                        _down_columns_by_2(d, at + i, pitch, c, acc, to + i, CHUNK)
                else:
                    for i in range(some):
                        _down_columns_by_2_onto(d, at + i, pitch, c, acc, to + i, CHUNK)
        _write(acc, CHUNK, y, out + left * step, step, out_pitch, rows, some)


@compiled
def _write(acc, pitch, y, out, step, out_pitch, rows, columns):
    for k in range(rows):
        for i in range(columns):
            copy(acc, k * pitch + i, y, out + k * out_pitch + i * step)


@compiled
def _tiles(height, width):
    """How many of them lie below and beside each other, and their sides."""
    down = max(1, (height + TILE_HEIGHT // 2) // TILE_HEIGHT)
    across = max(1, (width + TILE_WIDTH // 2) // TILE_WIDTH)
    return down, across, -(-height // down), -(-width // across)


@compiled(parallel=True)
def forward(x, shape, bias, up, pad_y, pad_x, taps_y, taps_x, taps_down, slope, limit, y, y_shape):
    """x [N, H, W, C'] → y [N, H', W', C']. bias: [C' / LANES, LANES].

    taps_y, taps_x: [U, 6], by phase. taps_down: [rank, 2, 6], the first halves of the vertical and
    of the horizontal filters of a sum of separable ones.
    """
    n, channels = shape[0], shape[3]
    blocks = channels // LANES
    down, across, tile_height, tile_width = _tiles(y_shape[1], y_shape[2])
    for task in prange(n * down * across * blocks):
        # Blocks of the same pixels come one after the other, while the cache holds those.
        block = task % blocks
        left = task // blocks % across * tile_width
        top = task // (blocks * across) % down * tile_height
        sample = task // (blocks * across * down)
        place = (sample * y_shape[1] + top) * y_shape[2] + left
        _forward_tile(
            x, sample * shape[1] * shape[2] * channels, shape[1:], bias, block, up,
            pad_y - 2 * top, pad_x - 2 * left, taps_y, taps_x, taps_down, np.float32(slope),
            np.float32(limit), y, place * channels + block * LANES, y_shape[2] * channels,
            min(tile_height, y_shape[1] - top), min(tile_width, y_shape[2] - left),
        )  # fmt: skip


@compiled
def _backward_tile(x, x_start, x_shape, bias, no_bias, block, up, pad_y, pad_x, taps_y, taps_x,
                   half_y, half_x, phases_down, slope, limit, dy, dy_start, dy_shape,
                   dx, top, left, rows, columns):  # fmt: skip
    """A tile of dx, from all samples of u that see it."""
    rank, channels = len(phases_down), x_shape[2]
    first_x, first_y = left - REACH + 1, top - REACH + 1
    groups = _rounded_up(columns + REACH - 1)
    length = groups + REACH - 1
    # Samples of u count from the pair of them that the first sample belongs to.
    low_x = pad_x + up * (first_x - 1) + 1
    first_b = low_x // 2
    before = low_x - 2 * first_b
    pairs = _rounded_up((before + up * groups + 1) // 2)
    g_length = pairs + REACH - 1
    pitch = _rounded_up(columns) | 1
    waiting = up * (BAND + REACH - 1)

    s = empty_places(REACH * length)
    v = empty_places(up * length)
    u = empty_places(up * groups)
    sg = empty_places(REACH * g_length)  # the last rows of dy, in turn
    vg = empty_places(2 * g_length)
    g = zero_places(2 * pairs + 4 * STEP * up)
    d = zero_places(waiting * pitch)
    acc = empty_places(STEP * pitch)

    out_pitch = x_shape[1] * channels
    out = x_start + (top * x_shape[1] + left) * channels + block * LANES
    done, b = 0, pad_y + up * (first_y - 1)
    b = (b + 1) // 2 - 1  # the pair of rows of u that is at hand: none yet
    for row in range(b - REACH + 2, b + 1):
        _read_row(dy, dy_start, dy_shape, row, first_b - REACH + 1, g_length, no_bias, block, sg,
                  row % REACH * g_length)  # fmt: skip
    for row in range(first_y, first_y + REACH - 1):
        _read_row(x, x_start, x_shape, row, first_x, length, bias, block, s, row % REACH * length)
    for group in range(first_y, top + rows):
        row = group + REACH - 1
        _read_row(x, x_start, x_shape, row, first_x, length, bias, block, s, row % REACH * length)
        _up_columns_by(up, s, group, length, length, taps_y, v)
        for phase in range(up):
            m = pad_y + up * (group - 1) + 1 + phase
            if m // 2 > b:
                b = m // 2
                _read_row(dy, dy_start, dy_shape, b, first_b - REACH + 1, g_length, no_bias, block,
                          sg, b % REACH * g_length)  # fmt: skip
            if up == 2:
                c_2 = _two_phases(taps_x)
                for i in range(0, groups, STEP):
                    _up_row_plain(v, phase * length + i, c_2, u, 2 * i)
            else:
                c_4 = _four_phases(taps_x)
                for i in range(0, groups, STEP):
                    _up_row_plain(v, phase * length + i, c_4, u, 4 * i)
            for r in range(rank):
                places = _ring(b - REACH + 1, g_length)
                c_1 = (_six(phases_down[r, 0, m % 2]),)
                for i in range(g_length):
                    _up_columns(sg, places, i, c_1, vg, g_length)
                c_2 = _two_phases(phases_down[r, 1])
                if r == 0:
                    for i in range(0, pairs, STEP):
                        _up_row_plain(vg, i, c_2, g, 2 * i)
                else:
                    for i in range(0, pairs, STEP):
                        _up_row_added(vg, i, c_2, g, 2 * i)
            for i in range(up * groups):
                _mask(u, i, slope, limit, g, before + i)
            to = ((group - first_y - done) * up + phase) * pitch
            if up == 2:
                h_2 = _six(half_x)
                for i in range(0, columns, STEP):
                    _down_row_by_2(g, before + 2 * i, h_2, d, to + i)
            else:
                h_4 = _twelve(half_x)
                for i in range(0, columns, STEP):
                    _down_row_by_4(g, before + 4 * i, h_4, d, to + i)
        ready = group - first_y - REACH + 2 - done
        if ready == BAND or group == top + rows - 1:
            for j in range(0, ready, STEP):
                at = up * j * pitch
                if up == 2:
                    h_2 = _six(half_y)
                    for i in range(columns):
                        _down_columns_by_2(d, at + i, pitch, h_2, acc, i, pitch)
                else:
                    h_4 = _twelve(half_y)
                    for i in range(columns):
                        _down_columns_by_4(d, at + i, pitch, h_4, acc, i, pitch)
                _write(acc, pitch, dx, out + (done + j) * out_pitch, channels, out_pitch,
                       min(STEP, ready - j), columns)  # fmt: skip
            done += ready
            for k in range(up * (REACH - 1) * pitch):
                copy(d, k + up * BAND * pitch, d, k)


@compiled(parallel=True)
def backward(x, shape, bias, up, pad_y, pad_x, taps_y, taps_x, half_y, half_x,
             phases_down, slope, limit, dy, dy_shape, dx):  # fmt: skip
    """dx [N, H, W, C'] from dy [N, H', W', C']; u is computed again rather than kept.

    half_y, half_x: [3·U], first halves of the upsampling filters. phases_down: [rank, 2, 2, 6], the
    vertical and the horizontal filters by phase.
    """
    n, channels = shape[0], shape[3]
    blocks = channels // LANES
    no_bias = np.zeros_like(bias)
    down, across, tile_height, tile_width = _tiles(shape[1], shape[2])
    for task in prange(n * down * across * blocks):
        block = task % blocks
        left = task // blocks % across * tile_width
        top = task // (blocks * across) % down * tile_height
        sample = task // (blocks * across * down)
        _backward_tile(
            x, sample * shape[1] * shape[2] * channels, shape[1:], bias, no_bias, block, up, pad_y,
            pad_x, taps_y, taps_x, half_y, half_x, phases_down, np.float32(slope),
            np.float32(limit), dy, sample * dy_shape[1] * dy_shape[2] * channels, dy_shape[1:], dx,
            top, left, min(tile_height, shape[1] - top), min(tile_width, shape[2] - left),
        )  # fmt: skip
