"""Convolutions of stride two that look at the same picture, with bias and leaky ReLU."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from vidhair.kernels.strided_conv import cpu
from vidhair.ops.dispatch import Implementation, Op
from vidhair.ops.library import define, end_of_gradients

# Columns from which on oneDNN's convolutions of stride two are right in bfloat16 on AMX; of fewer
# they read what is not there.
NARROWEST = 3


def reference(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *, slope: float
) -> list[Tensor]:
    """The definition; see `downsampling_conv`."""
    columns = -(-x.shape[-1] // 2)
    x = F.pad(x, (0, max(0, NARROWEST - x.shape[-1])))  # more of the padding changes nothing
    convolved = [
        F.conv2d(x, weight.to(x.dtype), bias.to(x.dtype), stride=2, padding=1)[..., :columns]
        for weight, bias in zip(weights, biases, strict=True)
    ]
    return [F.leaky_relu(y, slope) for y in convolved]


_call = define(
    "downsampling_conv(Tensor x, Tensor[] weights, Tensor[] biases, float slope) -> Tensor[]",
    {"cpu": cpu},
    lambda kernels, *args: kernels.halving(*args),
    lambda kernels, *args: kernels.downsampling_results(*args),
)
end_of_gradients(_call)


def fast(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *, slope: float
) -> list[Tensor]:
    """By the kernel for the device of x; see `downsampling_conv`."""
    result: list[Tensor] = _call(x, weights, biases, slope)
    return result


_OP = Op("downsampling_conv", reference, [Implementation("numba", fast, cpu.downsampling_refusal)])


def op() -> Op:
    """The op with every implementation that this installation has."""
    return _OP


def downsampling_conv(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    *,
    slope: float = 1.0,
    impl: str = "auto",
) -> list[Tensor]:
    """`leaky_relu(conv2d(x, weight, bias, stride=2, padding=1), slope)` for every weight.

    x: [N, C_in, H, W]. weights: [C_out, C_in, 3, 3]. biases: [C_out]. slope: of negative results; 1
    leaves them as they are. impl: "auto", "reference" or the name of a kernel.
    Returns [N, C_out, ⌈H/2⌉, ⌈W/2⌉] for each in the dtype of x.
    """
    arguments = x, weights, biases
    result: list[Tensor] = op().choose(*arguments, impl=impl, slope=slope)(*arguments, slope=slope)
    return result
