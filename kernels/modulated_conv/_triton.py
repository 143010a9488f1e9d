"""The compiled loop of the GPU kernel."""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["inputs", "outputs"])
def modulate(
    weight, style, demodulation, out, inputs, outputs,
    TAPS: tl.constexpr, DEMODULATED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """weight [O, I, taps] · style [N, I] · demodulation [N, O] → out [N, O, taps, I]."""
    o, n = tl.program_id(0), tl.program_id(1)
    scale = 1.0
    if DEMODULATED:
        scale = tl.load(demodulation + n * outputs + o).to(tl.float32)
    source = weight + o.to(tl.int64) * inputs * TAPS
    target = out + (n.to(tl.int64) * outputs + o) * inputs * TAPS
    for first in range(0, inputs, BLOCK):
        i = first + tl.arange(0, BLOCK)
        real = i < inputs
        factor = tl.load(style + n * inputs + i, mask=real, other=0.0).to(tl.float32) * scale
        for tap in tl.static_range(TAPS):
            w = tl.load(source + i * TAPS + tap, mask=real, other=0.0).to(tl.float32)
            tl.store(target + tap * inputs + i, w * factor, mask=real)
