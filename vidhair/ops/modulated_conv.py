"""Convolution with a style: the layer of StyleGAN2 and 3 (Karras et al. 2020, eqs. 1 and 3)."""

from functools import cache

from torch import Tensor

from vidhair.ops.conv2d import conv2d
from vidhair.ops.dispatch import Implementation, Op


def reference(
    x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor | None, *, padding: int = 0
) -> Tensor:
    """The definition; see `modulated_conv`."""
    if len(x) == 1:  # then the weight is scaled, which is smaller
        weight = weight * style[0, :, None, None]
        if demodulation is not None:
            weight = weight * demodulation[0, :, None, None, None]
        return conv2d(x, weight.to(x.dtype), padding=padding)
    x = conv2d(x * style[:, :, None, None].to(x.dtype), weight.to(x.dtype), padding=padding)
    return x if demodulation is None else x * demodulation[:, :, None, None].to(x.dtype)


@cache
def op() -> Op:
    """The op with every implementation that this installation has."""
    from vidhair.kernels.modulated_conv import cpu

    winograd = Implementation("winograd", cpu.modulated_conv, cpu.refusal)
    return Op("modulated_conv", reference, [winograd])


def modulated_conv(
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    demodulation: Tensor | None,
    *,
    padding: int = 0,
    impl: str = "auto",
) -> Tensor:
    """Convolution of stride one whose input channels are scaled per sample, and its output too.

    x: [N, C_in, H, W]. weight: [C_out, C_in, kh, kw]. style: [N, C_in]. demodulation: [N, C_out] or
    None. impl: "auto", "reference" or the name of a kernel.
    Returns [N, C_out, H', W'] in the dtype of x.
    """
    arguments = x, weight, style, demodulation
    return op().choose(*arguments, impl=impl, padding=padding)(*arguments, padding=padding)
