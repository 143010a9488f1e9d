"""The compiled loop of the GPU kernel."""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["inputs", "outputs", "width"])
def modulate(
    weight, style, demodulation, out, factor, inputs, outputs, width,
    TAPS: tl.constexpr, STYLED: tl.constexpr, DEMODULATED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """factor · weight [O, I, taps] · style [N, I] · demodulation [N, O] → out [N, O', taps, width],
    with zeros where there is no weight."""
    o, n = tl.program_id(0), tl.program_id(1)
    present = o < outputs
    if DEMODULATED:
        factor *= tl.load(demodulation + n * outputs + o, mask=present, other=0.0).to(tl.float32)
    source = weight + o.to(tl.int64) * inputs * TAPS
    target = out + (n.to(tl.int64) * tl.num_programs(0) + o) * width * TAPS
    for first in range(0, width, BLOCK):
        i = first + tl.arange(0, BLOCK)
        real = present & (i < inputs)
        scale = tl.zeros([BLOCK], tl.float32) + factor
        if STYLED:
            scale *= tl.load(style + n * inputs + i, mask=real, other=0.0).to(tl.float32)
        for tap in tl.static_range(TAPS):
            w = tl.load(source + i * TAPS + tap, mask=real, other=0.0).to(tl.float32)
            tl.store(target + tap * width + i, w * scale, mask=i < width)
