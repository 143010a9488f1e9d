"""The compiled loop of the GPU kernel; see `gpu` for the notation."""

import triton
import triton.language as tl

_SIZES = [
    "total", "channels", "height", "width", "out_height", "out_width",
    "x_image", "x_channel", "x_row", "x_column", "y_image", "y_channel", "y_row", "y_column",
    "up_y", "up_x", "down_y", "down_x", "before_y", "before_x", "shift_y", "shift_x",
    "taps_y", "taps_x", "reach_y", "reach_x",
]  # fmt: skip


@triton.jit
def _first(position, up, down, before, shift):
    """(first input index that an output takes from, its tap). shift: so many inputs further on,
    no position is negative, for division rounds towards zero."""
    wanted = position * down - before
    index = (wanted + shift * up + up - 1) // up - shift
    return index, index * up - wanted


@triton.jit(do_not_specialize=_SIZES)
def upfirdn2d(
    x, f, y, total, channels, height, width, out_height, out_width,
    x_image, x_channel, x_row, x_column, y_image, y_channel, y_row, y_column,
    up_y, up_x, down_y, down_x, before_y, before_x, shift_y, shift_x,
    taps_y, taps_x, reach_y, reach_x,
    BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = at < total
    c = at % channels
    place = at // channels
    column = (place % out_width).to(tl.int32)
    row = (place // out_width % out_height).to(tl.int32)
    image = place // out_width // out_height

    i, tap_y = _first(row, up_y, down_y, before_y, shift_y)
    j, tap_x = _first(column, up_x, down_x, before_x, shift_x)
    source = x + image * x_image + c * x_channel
    result = tl.zeros([BLOCK], tl.float32)
    for a in range(reach_y):
        line = real & (i + a >= 0) & (i + a < height) & (tap_y + a * up_y < taps_y)
        for e in range(reach_x):
            keep = line & (j + e >= 0) & (j + e < width) & (tap_x + e * up_x < taps_x)
            offset = (i + a).to(tl.int64) * x_row + (j + e).to(tl.int64) * x_column
            value = tl.load(source + offset, mask=keep, other=0.0).to(tl.float32)
            tap = (tap_y + a * up_y) * taps_x + tap_x + e * up_x
            result += value * tl.load(f + tap, mask=keep, other=0.0)
    target = y + image * y_image + c * y_channel
    target += row.to(tl.int64) * y_row + column.to(tl.int64) * y_column
    tl.store(target, result, mask=real)
