"""The compiled loops of the CPU kernel; see `cpu` for the notation."""

import numpy as np
from numba import njit, prange
from numba.extending import overload

TAPS = 12  # of the downsampling filter

_fast = njit(fastmath={"nsz", "arcp", "contract", "afn", "reassoc"}, inline="never", cache=True)


def _read(row, out, bias):
    raise NotImplementedError


@overload(_read, jit_options={"fastmath": True})
def _read_by_dtype(row, out, bias):
    """Copy a row into float32 scratch and add the bias."""
    if row.dtype.bitwidth == 16:

        def bf16(row, out, bias):
            bits = out.view(np.uint32)
            for i in range(row.shape[0]):
                bits[i] = np.uint32(row[i]) << np.uint32(16)
            for i in range(row.shape[0]):
                out[i] += bias

        return bf16

    def f32(row, out, bias):
        for i in range(row.shape[0]):
            out[i] = row[i] + bias

    return f32


def _write(values, row):
    raise NotImplementedError


@overload(_write, jit_options={"fastmath": True})
def _write_by_dtype(values, row):
    """Copy float32 scratch into a row; bfloat16 rounds to nearest even."""
    if row.dtype.bitwidth == 16:

        def bf16(values, row):
            bits = values.view(np.uint32)
            for i in range(row.shape[0]):
                b = bits[i]
                b += np.uint32(0x7FFF) + ((b >> np.uint32(16)) & np.uint32(1))
                row[i] = np.uint16(b >> np.uint32(16))

        return bf16

    def f32(values, row):
        for i in range(row.shape[0]):
            row[i] = values[i]

    return f32


# The primitives take views that start at their first sample: an index that is the loop variable
# plus a constant is known not to be negative, and only then does the loop become vector code.


@_fast
def _six_rows(s, stride, n, c, out):
    """out[i] = Σ_k c[k] · s[k·stride + i]"""
    c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
    s1 = s[stride:]
    s2 = s1[stride:]
    s3 = s2[stride:]
    s4 = s3[stride:]
    s5 = s4[stride:]
    for i in range(n):
        out[i] = (
            c0 * s[i] + c1 * s1[i] + c2 * s2[i] + c3 * s3[i] + c4 * s4[i] + c5 * s5[i]
        )  # fmt: skip


@_fast
def _add_six_rows(s, stride, n, c, out):
    """out[i] += Σ_k c[k] · s[k·stride + i]"""
    c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
    s1 = s[stride:]
    s2 = s1[stride:]
    s3 = s2[stride:]
    s4 = s3[stride:]
    s5 = s4[stride:]
    for i in range(n):
        out[i] += (
            c0 * s[i] + c1 * s1[i] + c2 * s2[i] + c3 * s3[i] + c4 * s4[i] + c5 * s5[i]
        )  # fmt: skip


@_fast
def _twelve_turned_rows(ring, oldest, n, c, out):
    """out[i] = Σ_t c[t] · row t, for the rows of a ring from the oldest on."""
    _six_turned_rows(ring, oldest, n, c, out)
    _add_six_turned_rows(ring, oldest + 6, n, c[6:], out)


@_fast
def _six_turned_rows(ring, oldest, n, c, out):
    c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
    s0 = ring[oldest % TAPS]
    s1 = ring[(oldest + 1) % TAPS]
    s2 = ring[(oldest + 2) % TAPS]
    s3 = ring[(oldest + 3) % TAPS]
    s4 = ring[(oldest + 4) % TAPS]
    s5 = ring[(oldest + 5) % TAPS]
    for i in range(n):
        out[i] = (
            c0 * s0[i] + c1 * s1[i] + c2 * s2[i] + c3 * s3[i] + c4 * s4[i] + c5 * s5[i]
        )  # fmt: skip


@_fast
def _add_six_turned_rows(ring, oldest, n, c, out):
    c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
    s0 = ring[oldest % TAPS]
    s1 = ring[(oldest + 1) % TAPS]
    s2 = ring[(oldest + 2) % TAPS]
    s3 = ring[(oldest + 3) % TAPS]
    s4 = ring[(oldest + 4) % TAPS]
    s5 = ring[(oldest + 5) % TAPS]
    for i in range(n):
        out[i] += (
            c0 * s0[i] + c1 * s1[i] + c2 * s2[i] + c3 * s3[i] + c4 * s4[i] + c5 * s5[i]
        )  # fmt: skip


@_fast
def _pair(a, b, n, out):
    for i in range(n):
        out[i] = a[i] + b[i]


@_fast
def _mirrored_taps(e, o, n, c, out):
    """out[i] = Σ_k c[k] · (e[i + k] + o[i + 5 − k]): twelve taps, the same from either end."""
    c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
    for i in range(n):
        out[i] = (
            c0 * (e[i] + o[i + 5]) + c1 * (e[i + 1] + o[i + 4]) + c2 * (e[i + 2] + o[i + 3])
            + c3 * (e[i + 3] + o[i + 2]) + c4 * (e[i + 4] + o[i + 1]) + c5 * (e[i + 5] + o[i])
        )  # fmt: skip


@_fast
def _add_mirrored_taps(e, o, n, c, out):
    c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
    for i in range(n):
        out[i] += (
            c0 * (e[i] + o[i + 5]) + c1 * (e[i + 1] + o[i + 4]) + c2 * (e[i + 2] + o[i + 3])
            + c3 * (e[i + 3] + o[i + 2]) + c4 * (e[i + 4] + o[i + 1]) + c5 * (e[i + 5] + o[i])
        )  # fmt: skip


@_fast
def _six_taps(v, n, c, out):
    """out[i] = Σ_k c[k] · v[i + k]"""
    c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
    for i in range(n):
        out[i] = (
            c0 * v[i] + c1 * v[i + 1] + c2 * v[i + 2]
            + c3 * v[i + 3] + c4 * v[i + 4] + c5 * v[i + 5]
        )  # fmt: skip


@_fast
def _add_six_taps(v, n, c, out):
    """out[i] += Σ_k c[k] · v[i + k]"""
    c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
    for i in range(n):
        out[i] += (
            c0 * v[i] + c1 * v[i + 1] + c2 * v[i + 2]
            + c3 * v[i + 3] + c4 * v[i + 4] + c5 * v[i + 5]
        )  # fmt: skip


@_fast
def _six_taps_twice(v, w, n, c, d, out):
    """Two phases woven: out[2i] = Σ_k c[k] · v[i + k], out[2i + 1] = Σ_k d[k] · w[i + k]"""
    c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
    d0, d1, d2, d3, d4, d5 = d[0], d[1], d[2], d[3], d[4], d[5]
    for i in range(n):
        out[2 * i] = (
            c0 * v[i] + c1 * v[i + 1] + c2 * v[i + 2]
            + c3 * v[i + 3] + c4 * v[i + 4] + c5 * v[i + 5]
        )  # fmt: skip
        out[2 * i + 1] = (
            d0 * w[i] + d1 * w[i + 1] + d2 * w[i + 2]
            + d3 * w[i + 3] + d4 * w[i + 4] + d5 * w[i + 5]
        )  # fmt: skip


@_fast
def _twelve_taps(e, o, n, c, d, out):
    """out[i] = Σ_k c[k] · e[i + k] + d[k] · o[i + k]"""
    c0, c1, c2, c3, c4, c5 = c[0], c[1], c[2], c[3], c[4], c[5]
    d0, d1, d2, d3, d4, d5 = d[0], d[1], d[2], d[3], d[4], d[5]
    for i in range(n):
        out[i] = (
            c0 * e[i] + c1 * e[i + 1] + c2 * e[i + 2]
            + c3 * e[i + 3] + c4 * e[i + 4] + c5 * e[i + 5]
            + d0 * o[i] + d1 * o[i + 1] + d2 * o[i + 2]
            + d3 * o[i + 3] + d4 * o[i + 4] + d5 * o[i + 5]
        )  # fmt: skip


@_fast
def _activate(v, n, positive, negative, limit):
    for i in range(n):
        a = v[i]
        v[i] = min(max(max(a, np.float32(0)) * positive + min(a, np.float32(0)) * negative, -limit),
                   limit)  # fmt: skip


@_fast
def _mask(v, g, n, positive, negative, limit):
    """g *= derivative of the activation at v."""
    for i in range(n):
        a = v[i]
        slope = positive if a > 0 else negative
        g[i] = g[i] * slope if abs(a * slope) <= limit else np.float32(0)


@_fast
def _phase_table(taps, up, pad):
    """first[p]: input index of the first tap of phase p; c[p, k]: its six taps."""
    first = np.empty(up, np.int64)
    c = np.empty((up, 6), np.float32)
    for p in range(up):
        k0 = (pad - p) % up
        first[p] = (p + k0 - pad) // up
        for k in range(6):
            c[p, k] = taps[k0 + up * k]
    return first, c


@_fast
def _upsample_row(v, margin, up, first, c, n_u, e, o):
    """Fill e and o with the n_u upsampled samples of the row v (index 0 at margin)."""
    if up == 2:
        n_e = (n_u + 1) // 2
        _six_taps(v[margin + first[0] :], n_e, c[0], e)
        _six_taps(v[margin + first[1] :], n_u // 2, c[1], o)
    else:
        n_e = (n_u + 3) // 4
        _six_taps_twice(v[margin + first[0] :], v[margin + first[2] :], n_e, c[0], c[2], e)
        _six_taps_twice(v[margin + first[1] :], v[margin + first[3] :], n_e, c[1], c[3], o)


@_fast
def _padded_plane(plane, margin_y, margin_x, bias, s, stride):
    """Zero-bordered float32 copy of a plane in the flat scratch s."""
    s[:] = 0
    for j in range(plane.shape[0]):
        _read(plane[j], s[(j + margin_y) * stride + margin_x :], bias)


@njit(parallel=True, cache=True)
def forward(x, bias, taps_up, taps_down, y, up, x0, y0, gain, slope, limit):
    """x [P, H, W] → y [P, H', W']; planes of channel c have index n·C + c.

    taps_down: [1, 12] for a separable filter, [12, 12] for one that is the same from either end of
    both axes, as radial ones are: f[t, k] = f[11 − t, k] = f[t, 11 − k].
    """
    planes, h, w = x.shape
    out_h, out_w = y.shape[1:]
    n_rows, n_cols = 2 * out_h + 10, 2 * out_w + 10
    positive = np.float32(gain)
    negative = np.float32(gain * slope)
    clamp = np.float32(limit)
    first_y, c_y = _phase_table(taps_up, up, y0)
    first_x, c_x = _phase_table(taps_up, up, x0)
    radial = taps_down.shape[0] > 1
    even = taps_down[:, 0::2].copy()
    odd = taps_down[:, 1::2].copy()
    # Rows and columns that the first and last taps reach beyond the plane, on either side.
    margin_y = max(0, -first_y.min())
    margin_x = max(0, -first_x.min())
    height = max(h + margin_y, (n_rows + up) // up + first_y.max() + 6 + margin_y)
    stride = max(w + margin_x, (n_cols + up) // up + first_x.max() + 6 + margin_x) + 8
    half = n_cols // 2 + 8

    for p in prange(planes):
        s = np.empty(height * stride, np.float32)
        v = np.empty(stride, np.float32)
        # The last twelve rows, in turn: activated samples, or, if separable, their filtered rows.
        ring_e = np.zeros((TAPS if radial else 1, half), np.float32)
        ring_o = np.zeros((TAPS if radial else 1, half), np.float32)
        rows = np.empty((1 if radial else TAPS, out_w), np.float32)
        pair_e = np.empty(half, np.float32)
        pair_o = np.empty(half, np.float32)
        acc = np.empty(out_w, np.float32)
        _padded_plane(x[p], margin_y, margin_x, bias[p % bias.shape[0]], s, stride)
        for m in range(n_rows):
            phase = m % up
            top = (m // up + first_y[phase] + margin_y) * stride
            _six_rows(s[top:], stride, stride, c_y[phase], v)
            turn = m % TAPS
            e = ring_e[turn if radial else 0]
            o = ring_o[turn if radial else 0]
            _upsample_row(v, margin_x, up, first_x, c_x, n_cols, e, o)
            _activate(e, half, positive, negative, clamp)
            _activate(o, half, positive, negative, clamp)
            if not radial:
                _twelve_taps(e, o, out_w, even[0], odd[0], rows[turn])
            if m < TAPS - 1 or m % 2 == 0:
                continue
            j = (m - TAPS + 1) // 2
            if radial:
                for t in range(TAPS // 2):
                    above, below = (2 * j + t) % TAPS, (2 * j + TAPS - 1 - t) % TAPS
                    _pair(ring_e[above], ring_e[below], half, pair_e)
                    _pair(ring_o[above], ring_o[below], half, pair_o)
                    if t == 0:
                        _mirrored_taps(pair_e, pair_o, out_w, even[t], acc)
                    else:
                        _add_mirrored_taps(pair_e, pair_o, out_w, even[t], acc)
            else:
                _twelve_turned_rows(rows, 2 * j, out_w, taps_down[0], acc)
            _write(acc, y[p, j])


@_fast
def _transposed_offsets(taps, up, pad):
    """dx[i] = Σ_k taps[k] · u[up·i + pad − k], as consecutive reads of even and odd samples.

    For e: Σ_q c[q] · e[(up/2)·i + start + q], likewise for o.
    """
    n = 3 * up
    c = np.zeros(n, np.float32)
    d = np.zeros(n, np.float32)
    # k even part: (pad − k) even reads e[(up·i + pad − k)/2]; the largest k reads the lowest index.
    k_e = len(taps) - 1 if (pad - len(taps) + 1) % 2 == 0 else len(taps) - 2
    k_o = len(taps) - 1 if k_e == len(taps) - 2 else len(taps) - 2
    for q in range(n):
        c[q] = taps[k_e - 2 * q]
        d[q] = taps[k_o - 2 * q]
    return (pad - k_e) // 2, (pad - k_o - 1) // 2, c, d


@_fast
def _downsample_row_by_4(e, o, n, c, d, out):
    """out[i] = Σ_k c[k] · e[2i + k] + d[k] · o[2i + k], twelve taps each"""
    for i in range(n):
        a = np.float32(0)
        for k in range(12):
            a += c[k] * e[2 * i + k] + d[k] * o[2 * i + k]
        out[i] = a


@njit(parallel=True, cache=True)
def backward(x, bias, taps_up, taps_down, dy, dx, up, x0, y0, gain, slope, limit):
    """dx [P, H, W] from dy [P, H', W']; u is computed again rather than kept."""
    planes, h, w = x.shape
    out_h, out_w = dy.shape[1:]
    n_rows, n_cols = 2 * out_h + 10, 2 * out_w + 10
    positive = np.float32(gain)
    negative = np.float32(gain * slope)
    clamp = np.float32(limit)
    first_y, c_y = _phase_table(taps_up, up, y0)
    first_x, c_x = _phase_table(taps_up, up, x0)
    # du[2a + b] = Σ_s d[2s + b] · dy[a − s]: six taps over dy, in reverse, along both axes.
    radial = taps_down.shape[0] > 1
    even = taps_down[::-1, 0::2][:, ::-1].copy()
    odd = taps_down[::-1, 1::2][:, ::-1].copy()
    margin_y = max(0, -first_y.min())
    margin_x = max(0, -first_x.min())
    height = max(h + margin_y, (n_rows + up) // up + first_y.max() + 6 + margin_y)
    stride = max(w + margin_x, (n_cols + up) // up + first_x.max() + 6 + margin_x) + 8
    g_stride = out_w + 10 + 8
    g_height = out_h + 10

    start_e, start_o, t_e, t_o = _transposed_offsets(taps_up, up, x0)
    row_e, row_o, s_e, s_o = _transposed_offsets(taps_up, up, y0)
    # Zero margins around the even and odd samples for the taps of the transposed upsampling.
    step = up // 2
    low = max(0, -start_e, -start_o)
    half = low + max(n_cols // 2, step * w + max(start_e, start_o) + 3 * up) + 8
    low_y = max(0, -row_e, -row_o)
    half_rows = low_y + max(n_rows // 2, step * h + max(row_e, row_o) + 3 * up)

    for p in prange(planes):
        s = np.empty(height * stride, np.float32)
        g = np.empty(g_height * g_stride, np.float32)
        v = np.empty(stride, np.float32)
        gv = np.empty(g_stride, np.float32)
        e = np.zeros(half, np.float32)
        o = np.zeros(half, np.float32)
        ge = np.zeros(half, np.float32)
        go = np.zeros(half, np.float32)
        rows_e = np.zeros(half_rows * w, np.float32)
        rows_o = np.zeros(half_rows * w, np.float32)
        acc = np.empty(w, np.float32)
        _padded_plane(x[p], margin_y, margin_x, bias[p % bias.shape[0]], s, stride)
        _padded_plane(dy[p], 5, 5, np.float32(0), g, g_stride)
        n_half = n_cols // 2
        for m in range(n_rows):
            phase = m % up
            top = (m // up + first_y[phase] + margin_y) * stride
            _six_rows(s[top:], stride, stride, c_y[phase], v)
            _upsample_row(v, margin_x, up, first_x, c_x, n_cols, e[low:], o[low:])
            if radial:
                ge[low : low + n_half] = 0
                go[low : low + n_half] = 0
                for k in range(TAPS // 2):
                    row = g[(m // 2 + k) * g_stride :]
                    _add_six_taps(row, n_half, even[2 * k + 1 - m % 2], ge[low:])
                    _add_six_taps(row, n_half, odd[2 * k + 1 - m % 2], go[low:])
            else:
                taps = even[0] if m % 2 == 0 else odd[0]
                _six_rows(g[(m // 2) * g_stride :], g_stride, g_stride, taps, gv)
                _six_taps(gv, n_half, even[0], ge[low:])
                _six_taps(gv, n_half, odd[0], go[low:])
            _mask(e[low:], ge[low:], n_half, positive, negative, clamp)
            _mask(o[low:], go[low:], n_half, positive, negative, clamp)
            rows = rows_e if m % 2 == 0 else rows_o
            target = rows[(low_y + m // 2) * w :]
            if up == 2:
                _twelve_taps(ge[low + start_e :], go[low + start_o :], w, t_e, t_o, target)
            else:
                _downsample_row_by_4(ge[low + start_e :], go[low + start_o :], w, t_e, t_o, target)
        for j in range(h):
            at_e = (low_y + step * j + row_e) * w
            at_o = (low_y + step * j + row_o) * w
            _six_rows(rows_e[at_e:], w, w, s_e[:6], acc)
            _add_six_rows(rows_o[at_o:], w, w, s_o[:6], acc)
            if up == 4:
                _add_six_rows(rows_e[at_e + 6 * w :], w, w, s_e[6:], acc)
                _add_six_rows(rows_o[at_o + 6 * w :], w, w, s_o[6:], acc)
            _write(acc, dx[p, j])
