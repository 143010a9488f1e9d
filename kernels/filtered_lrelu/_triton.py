"""The compiled loops of the GPU kernel; see `gpu` for the notation."""

import triton
import triton.language as tl

# Sizes in units of VEC channels where they count elements, so that their multiples are known.
_SIZES = [
    "biases", "empty", "total", "channels", "strips", "height", "width", "out_height", "out_width",
    "x_image", "x_row", "x_column", "y_image", "y_row", "y_column",
    "dx_image", "dx_row", "dx_column",
    "first_row", "first_column", "step_column", "rows", "steps", "skew",
]  # fmt: skip


@triton.jit
def _row(pointers, row, stride, height, inside, scale, bias, DTYPE: tl.constexpr):
    """A row of scale · x + bias in DTYPE; zero outside the picture."""
    keep = inside & (row >= 0) & (row < height)
    values = tl.load(pointers + row.to(tl.int64) * stride, mask=keep, other=0.0)
    return tl.where(keep, values.to(tl.float32) * scale + bias, 0.0).to(DTYPE)


@triton.jit
def _raw(pointers, row, stride, height, inside):
    """A row as it lies in memory; zero outside the picture."""
    keep = inside & (row >= 0) & (row < height)
    return tl.load(pointers + row.to(tl.int64) * stride, mask=keep, other=0.0)


@triton.jit
def _share(row, height, taps, FIRST: tl.constexpr, STEP: tl.constexpr):
    """Σ_k taps[FIRST + STEP·k] over the rows row + k that are inside the picture."""
    total = 0.0
    for k in tl.static_range(6):
        total += tl.where((row + k >= 0) & (row + k < height), taps[FIRST + STEP * k], 0.0)
    return total


@triton.jit
def _product(v, high, low, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """v · (high + low) to more digits than one product of 16-bit numbers has."""
    if tl.float32 == DOT:
        return tl.dot(v, high, input_precision=PRECISION)
    leading = v.to(DOT)
    rest = (v - leading.to(tl.float32)).to(DOT)
    return tl.dot(leading, high, tl.dot(rest, high, tl.dot(leading, low)))


@triton.jit
def _store(pointers, values, keep, width, behind):
    tl.store(pointers, values, mask=keep)
    tl.store(pointers + width, tl.zeros_like(values), mask=keep & behind)


@triton.jit
def _bias(b, channel, there):
    return tl.load(b + channel, mask=there, other=0.0).to(tl.float32)[:, None]


@triton.jit
def _matrix(pointer, index: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    i, o = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    return tl.load(pointer + (index * ROWS + i) * COLUMNS + o)


@triton.jit
def _matrices(pointer, RANK: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """One for every separable part of the downsampling filter, at most four."""
    return (
        _matrix(pointer, 0, ROWS, COLUMNS),
        _matrix(pointer, min(1, RANK - 1), ROWS, COLUMNS),
        _matrix(pointer, min(2, RANK - 1), ROWS, COLUMNS),
        _matrix(pointer, min(3, RANK - 1), ROWS, COLUMNS),
    )


@triton.jit
def _sum_of_six(rows, taps, FIRST: tl.constexpr, STEP: tl.constexpr):
    """Σ_k taps[FIRST + STEP·k] · rows[k]"""
    total = rows[0].to(tl.float32) * taps[FIRST]
    for k in tl.static_range(1, 6):
        total += rows[k].to(tl.float32) * taps[FIRST + STEP * k]
    return total


@triton.jit
def _lines(total, channels, strips, VEC: tl.constexpr, M: tl.constexpr):
    """(image, strip, channel, whether there is one) of every line: a channel of a strip."""
    line = tl.program_id(0) * M + tl.arange(0, M)
    channel = tl.max_contiguous(tl.multiple_of(line % (channels * VEC), VEC), VEC)
    place = line // (channels * VEC)
    strip = tl.max_constancy(place % strips, VEC)
    image = tl.max_constancy(place // strips, VEC).to(tl.int64)
    return image, strip, channel, line < total * VEC


@triton.jit(do_not_specialize=_SIZES)
def forward(
    x, b, y, across_up, across_down, taps_up, taps_down, scale, slope,
    biases, empty, total, channels, strips, height, width, out_height, out_width,
    x_image, x_row, x_column, y_image, y_row, y_column,
    first_row, first_column, step_column, rows, steps, skew,
    LIMIT: tl.constexpr, BIASED: tl.constexpr, VEC: tl.constexpr, UP: tl.constexpr,
    ODD: tl.constexpr, RANK: tl.constexpr, STRIP: tl.constexpr, M: tl.constexpr, IN: tl.constexpr,
    UPSAMPLED: tl.constexpr, OUT: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    image, strip, channel, real = _lines(total, channels, strips, VEC, M)
    column = (strip * step_column + first_column)[:, None] + tl.arange(0, IN)[None, :]
    inside = real[:, None] & (column >= 0) & (column < width)
    source = x + (image * (x_image * VEC) + channel)[:, None] + column * (x_column * VEC)
    out_column = (strip * STRIP)[:, None] + tl.arange(0, OUT)[None, :]
    written = real[:, None] & (tl.arange(0, OUT) < STRIP)[None, :] & (out_column < out_width)
    target = y + (image * (y_image * VEC) + channel)[:, None] + out_column * (y_column * VEC)
    if BIASED:
        bias = (
            tl.load(b + channel, mask=real & (channel < biases), other=0.0).to(tl.float32)[:, None]
            * scale
        )
    else:
        bias = 0.0
    upsample = _matrix(across_up, 0, IN, UPSAMPLED)
    downsample = _matrices(across_down, RANK, UPSAMPLED, OUT)

    behind = (channel < empty * VEC)[:, None]  # lines that write zeros behind the channels, too
    begin = tl.program_id(1) * rows
    end = tl.minimum(begin + rows, out_height)
    row = tl.program_id(1) * (rows * 2 // UP) + first_row
    x_stride, y_stride = (x_row * VEC).to(tl.int64), (y_row * VEC).to(tl.int64)
    x0 = _row(source, row, x_stride, height, inside, scale, bias, tl.float32)
    x1 = _row(source, row + 1, x_stride, height, inside, scale, bias, tl.float32)
    x2 = _row(source, row + 2, x_stride, height, inside, scale, bias, tl.float32)
    x3 = _row(source, row + 3, x_stride, height, inside, scale, bias, tl.float32)
    x4 = _row(source, row + 4, x_stride, height, inside, scale, bias, tl.float32)
    x5 = _row(source, row + 5, x_stride, height, inside, scale, bias, tl.float32)
    # The results that upsampled rows still add to, from the newest to the next to be complete.
    a0 = tl.zeros([M, OUT], tl.float32)
    a1, a2, a3, a4, a5 = a0, a0, a0, a0, a0

    for step in range(steps):
        x6 = _row(source, row + step + 6, x_stride, height, inside, scale, bias, tl.float32)
        for phase in tl.static_range(UP):
            v = _sum_of_six((x0, x1, x2, x3, x4, x5), taps_up, UP - 1 - phase, UP)
            u = tl.dot(v.to(DOT), upsample, input_precision=PRECISION)
            u = tl.maximum(u, u * slope)
            u = tl.clamp(u, -LIMIT, LIMIT).to(DOT)
            if (phase + ODD) % 2 == 0:
                a5, a4, a3, a2, a1 = a4, a3, a2, a1, a0
                a0 = tl.zeros([M, OUT], tl.float32)
            for r in tl.static_range(RANK):
                h = tl.dot(u, downsample[r], input_precision=PRECISION)
                a0 += h * taps_down[12 * r + (phase + ODD) % 2]
                a1 += h * taps_down[12 * r + (phase + ODD) % 2 + 2]
                a2 += h * taps_down[12 * r + (phase + ODD) % 2 + 4]
                a3 += h * taps_down[12 * r + (phase + ODD) % 2 + 6]
                a4 += h * taps_down[12 * r + (phase + ODD) % 2 + 8]
                a5 += h * taps_down[12 * r + (phase + ODD) % 2 + 10]
            if (phase + ODD) % 2 == 1:
                done = begin + step * (UP // 2) + (phase - skew - 11) // 2
                keep = written & (done >= begin) & (done < end)
                _store(target + done.to(tl.int64) * y_stride, a5, keep, channels * VEC, behind)
        x0, x1, x2, x3, x4, x5 = x1, x2, x3, x4, x5, x6


@triton.jit(do_not_specialize=_SIZES)
def backward(
    x, b, dy, dx, across_up, across_down, across_back, taps_up, taps_down, scale, slope,
    biases, empty, total, channels, strips, height, width, out_height, out_width,
    x_image, x_row, x_column, y_image, y_row, y_column, dx_image, dx_row, dx_column,
    first_row, first_column, step_column, rows, steps,
    LIMIT: tl.constexpr, BIASED: tl.constexpr, VEC: tl.constexpr, UP: tl.constexpr,
    ODD: tl.constexpr, RANK: tl.constexpr, STRIP: tl.constexpr, M: tl.constexpr, IN: tl.constexpr,
    IN_Y: tl.constexpr,
    UPSAMPLED: tl.constexpr, OUT: tl.constexpr, DOT: tl.constexpr, GRADIENT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    image, strip, channel, real = _lines(total, channels, strips, VEC, M)
    column = (strip * STRIP - 5)[:, None] + tl.arange(0, IN)[None, :]
    inside = real[:, None] & (column >= 0) & (column < width)
    source = x + (image * (x_image * VEC) + channel)[:, None] + column * (x_column * VEC)
    y_col = (strip * step_column + first_column)[:, None] + tl.arange(0, IN_Y)[None, :]
    given = real[:, None] & (y_col >= 0) & (y_col < out_width)
    upstream = dy + (image * (y_image * VEC) + channel)[:, None] + y_col * (y_column * VEC)
    out_column = (strip * STRIP)[:, None] + tl.arange(0, OUT)[None, :]
    written = real[:, None] & (tl.arange(0, OUT) < STRIP)[None, :] & (out_column < width)
    target = dx + (image * (dx_image * VEC) + channel)[:, None] + out_column * (dx_column * VEC)
    if BIASED:
        bias = tl.load(b + channel, mask=real & (channel < biases), other=0.0).to(tl.float32)[
            :, None
        ]
    upsample = _matrix(across_up, 0, IN, UPSAMPLED)
    upsample_rest = _matrix(across_up, 1, IN, UPSAMPLED)
    transposed = _matrices(across_down, RANK, IN_Y, UPSAMPLED)
    back = _matrix(across_back, 0, UPSAMPLED, OUT)

    behind = (channel < empty * VEC)[:, None]  # lines that write zeros behind the channels, too
    begin = tl.program_id(1) * rows
    end = tl.minimum(begin + rows, height)
    row = begin - 5
    y_at = tl.program_id(1) * (rows * UP // 2) + first_row
    x_stride, y_stride = (x_row * VEC).to(tl.int64), (y_row * VEC).to(tl.int64)
    dx_stride = (dx_row * VEC).to(tl.int64)
    x0 = _raw(source, row, x_stride, height, inside)
    x1 = _raw(source, row + 1, x_stride, height, inside)
    x2 = _raw(source, row + 2, x_stride, height, inside)
    x3 = _raw(source, row + 3, x_stride, height, inside)
    x4 = _raw(source, row + 4, x_stride, height, inside)
    # Rows of dy from the newest to the oldest that the upsampled row takes from.
    g0 = _raw(upstream, y_at, y_stride, out_height, given).to(GRADIENT)
    g1 = _raw(upstream, y_at - 1, y_stride, out_height, given).to(GRADIENT)
    g2 = _raw(upstream, y_at - 2, y_stride, out_height, given).to(GRADIENT)
    g3 = _raw(upstream, y_at - 3, y_stride, out_height, given).to(GRADIENT)
    g4 = _raw(upstream, y_at - 4, y_stride, out_height, given).to(GRADIENT)
    g5 = _raw(upstream, y_at - 5, y_stride, out_height, given).to(GRADIENT)
    # Rows of dx from the next to be complete on.
    a0 = tl.zeros([M, OUT], tl.float32)
    a1, a2, a3, a4, a5 = a0, a0, a0, a0, a0

    for step in range(steps):
        x5 = _raw(source, row + step + 5, x_stride, height, inside)
        for phase in tl.static_range(UP):
            if (phase + ODD) % 2 == 0:
                g5, g4, g3, g2, g1 = g4, g3, g2, g1, g0
                newest = y_at + 1 + step * (UP // 2) + phase // 2
                g0 = _raw(upstream, newest, y_stride, out_height, given).to(GRADIENT)
            v = _sum_of_six((x0, x1, x2, x3, x4, x5), taps_up, UP - 1 - phase, UP)
            if BIASED:
                share = _share(row + step, height, taps_up, UP - 1 - phase, UP)
                v += tl.where(inside, bias * share, 0.0)
            u = _product(v * scale, upsample, upsample_rest, DOT, PRECISION)
            g = tl.zeros([M, UPSAMPLED], tl.float32)
            for r in tl.static_range(RANK):
                gv = _sum_of_six((g0, g1, g2, g3, g4, g5), taps_down, 12 * r + (phase + ODD) % 2, 2)
                g = tl.dot(gv.to(GRADIENT), transposed[r], g, input_precision=PRECISION)
            steepness = tl.where(u > 0, 1.0, slope)
            g = tl.where(tl.abs(u * steepness) <= LIMIT, g * steepness, 0.0)
            h = tl.dot(g.to(GRADIENT), back, input_precision=PRECISION)
            if phase == 0:
                a0, a1, a2, a3, a4 = a1, a2, a3, a4, a5
                a5 = tl.zeros([M, OUT], tl.float32)
            a0 += h * taps_up[UP - 1 - phase]
            a1 += h * taps_up[UP - 1 - phase + UP]
            a2 += h * taps_up[UP - 1 - phase + UP * 2]
            a3 += h * taps_up[UP - 1 - phase + UP * 3]
            a4 += h * taps_up[UP - 1 - phase + UP * 4]
            a5 += h * taps_up[UP - 1 - phase + UP * 5]
        done = row + step
        keep = written & (done >= begin) & (done < end)
        _store(target + done.to(tl.int64) * dx_stride, a0, keep, channels * VEC, behind)
        x0, x1, x2, x3, x4 = x1, x2, x3, x4, x5
