"""Filtered leaky ReLU: the nonlinearity of StyleGAN3 (Karras et al. 2021, figure 4 and eq. 5).

The leaky ReLU makes frequencies above the Nyquist limit; running it at a higher rate between an
upsampling and a downsampling low-pass keeps the layer free of aliasing.
"""

import math
from collections.abc import Sequence
from functools import cache

from torch import Tensor

from vidhair.ops.bias_act import bias_act
from vidhair.ops.dispatch import Implementation, Op
from vidhair.ops.upfirdn2d import upfirdn2d


def reference(
    x: Tensor,
    *,
    fu: Tensor | None = None,
    fd: Tensor | None = None,
    b: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    gain: float = math.sqrt(2),
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> Tensor:
    """The definition, by the other ops; see `filtered_lrelu`."""
    x = bias_act(x, b)
    x = upfirdn2d(x, fu, up=up, padding=padding, gain=up**2, flip_filter=flip_filter)
    x = bias_act(x, act="lrelu", alpha=slope, gain=gain, clamp=clamp)
    return upfirdn2d(x, fd, down=down, flip_filter=flip_filter)


@cache
def op() -> Op:
    """The op with every implementation that this installation has."""
    from vidhair.kernels.filtered_lrelu import cpu

    fused = Implementation("numba", cpu.filtered_lrelu, cpu.refusal)
    return Op("filtered_lrelu", reference, [fused])


def filtered_lrelu(x: Tensor, *, impl: str = "auto", **arguments) -> Tensor:
    """Bias, upsample, leaky ReLU, gain, clamp, downsample.

    x: [N, C, H, W]. fu, fd: up- and downsampling filters, [taps] (separable), [fh, fw] or None.
    b: [C] or None. up, down: whole factors. padding: of the upsampled signal, as in `upfirdn2d`,
    negative crops. gain: default √2. slope: of the negative side, default 0.2. clamp: absolute
    bound after the gain or None. flip_filter: False convolves.
    impl: "auto", "reference" or the name of a kernel.
    Returns [N, C, H', W'].
    """
    return op().choose(x, impl=impl, **arguments)(x, **arguments)
