"""The compiled loop of the GPU kernel; see `gpu` for the notation."""

import triton
import triton.language as tl

_SIZES = [
    "pixels", "channels", "height", "width", "out_height", "out_width",
    "x_image", "x_channel", "x_row", "x_column", "y_image", "y_row", "y_column",
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
    x, f, y, pixels, channels, height, width, out_height, out_width,
    x_image, x_channel, x_row, x_column, y_image, y_row, y_column,
    up_y, up_x, down_y, down_x, before_y, before_x, shift_y, shift_x,
    taps_y, taps_x, reach_y, reach_x,
    VEC: tl.constexpr, PIXELS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """LANES channels of PIXELS pixels of y, whose channels lie side by side. Channels and strides
    are in units of VEC."""
    place = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    column, row = place % out_width, place // out_width % out_height
    image = (place // out_width // out_height).to(tl.int64)
    c = tl.program_id(1) * LANES + tl.arange(0, LANES)
    there = (c < channels * VEC)[None, :]

    i, tap_y = _first(row, up_y, down_y, before_y, shift_y)
    j, tap_x = _first(column, up_x, down_x, before_x, shift_x)
    lane = c if VEC > 1 else c * x_channel
    source = x + (image * (x_image * VEC))[:, None] + lane[None, :]
    result = tl.zeros([PIXELS, LANES], tl.float32)
    for a in range(reach_y):
        line = (place < pixels) & (i + a >= 0) & (i + a < height) & (tap_y + a * up_y < taps_y)
        beginning = (i + a).to(tl.int64) * (x_row * VEC)
        for e in range(reach_x):
            keep = line & (j + e >= 0) & (j + e < width) & (tap_x + e * up_x < taps_x)
            offset = beginning + (j + e) * (x_column * VEC)
            value = tl.load(source + offset[:, None], mask=keep[:, None] & there, other=0.0)
            tap = tl.load(f + (tap_y + a * up_y) * taps_x + tap_x + e * up_x, mask=keep, other=0.0)
            result += value.to(tl.float32) * tap[:, None]
    target = image * (y_image * VEC) + row.to(tl.int64) * (y_row * VEC) + column * (y_column * VEC)
    written = (place < pixels)[:, None] & there
    tl.store(y + target[:, None] + c[None, :], result, mask=written)
