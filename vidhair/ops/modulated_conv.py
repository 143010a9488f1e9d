"""Convolution with a style: the layer of StyleGAN2 and 3 (Karras et al. 2020, eqs. 1 and 3)."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import Tensor

from vidhair.kernels.modulated_conv import cpu, gpu
from vidhair.ops.conv2d import conv2d
from vidhair.ops.dispatch import Implementation, Op
from vidhair.ops.library import Kernels, define, differentiate, end_of_gradients


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


KERNELS: Kernels = {"cpu": cpu, "cuda": gpu}

_TENSORS = "Tensor x, Tensor weight, Tensor style, Tensor? demodulation"
_forward = define(
    f"modulated_conv({_TENSORS}, int padding) -> Tensor",
    KERNELS,
    lambda kernels, *args: kernels.forward(*args),
    lambda kernels, *args: kernels.empty_result(*args),
)


def _wanted_gradients(kernels: ModuleType, dy: Tensor, *args: Any) -> list[Tensor]:
    return [g for g in kernels.backward(dy, *args) if g is not None]


def _empty_gradients(
    kernels: ModuleType,
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    style: Tensor,
    demodulation: Tensor,
    y: Tensor,
    padding: int,
    wanted: Sequence[bool],
) -> list[Tensor]:
    others = (weight, style, demodulation)
    like_x = [kernels.empty_gradient(x)] if wanted[0] else []
    return like_x + [t.new_empty(t.shape) for t, w in zip(others, wanted[1:], strict=True) if w]


# Returns the wanted gradients alone, in the order of the arguments; but for that of x, contiguous.
_backward = define(
    f"modulated_conv_backward(Tensor dy, {_TENSORS}, Tensor y, int padding, bool[] wanted) "
    "-> Tensor[]",
    KERNELS,
    _wanted_gradients,
    _empty_gradients,
)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.padding = inputs
    ctx.save_for_backward(*tensors, output)


def _gradients(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    wanted = list(ctx.needs_input_grad[:4])
    found = iter(_backward(dy, *ctx.saved_tensors, ctx.padding, wanted))
    return *(next(found) if w else None for w in wanted), None


differentiate(_forward, _gradients, _remember)
end_of_gradients(_backward)


def fast(
    x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor | None, *, padding: int = 0
) -> Tensor:
    """By the kernel for the device of x; see `modulated_conv`."""
    result: Tensor = _forward(x, weight, style, demodulation, padding)
    return result


_OP = Op(
    "modulated_conv",
    reference,
    [Implementation("numba", fast, cpu.refusal), Implementation("triton", fast, gpu.refusal)],
)


def op() -> Op:
    """The op with every implementation that this installation has."""
    return _OP


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
    result: Tensor = op().choose(*arguments, impl=impl, padding=padding)(
        *arguments, padding=padding
    )
    return result
