"""Filtered leaky ReLU: the nonlinearity of StyleGAN3 (Karras et al. 2021, figure 4 and eq. 5).

The leaky ReLU makes frequencies above the Nyquist limit; running it at a higher rate between an
upsampling and a downsampling low-pass keeps the layer free of aliasing.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vidhair.kernels.filtered_lrelu import cpu, gpu
from vidhair.ops.bias_act import fused as fused_bias_act
from vidhair.ops.bias_act import op as bias_act_op
from vidhair.ops.bias_act import reference as plain_bias_act
from vidhair.ops.dispatch import Implementation, Op
from vidhair.ops.library import Kernels, define, differentiate, end_of_gradients
from vidhair.ops.upfirdn2d import _four
from vidhair.ops.upfirdn2d import compiled as compiled_upfirdn2d
from vidhair.ops.upfirdn2d import op as upfirdn2d_op
from vidhair.ops.upfirdn2d import reference as plain_upfirdn2d


def _composed(
    bias_act: Callable[..., Tensor],
    upfirdn2d: Callable[..., Tensor],
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
    x = x if b is None else bias_act(x, b)
    x = upfirdn2d(x, fu, up=up, padding=padding, gain=up**2, flip_filter=flip_filter)
    x = bias_act(x, act="lrelu", alpha=slope, gain=gain, clamp=clamp)
    return upfirdn2d(x, fd, down=down, flip_filter=flip_filter)


# The definition, and the same by the kernels of the parts, for calls that no fused kernel is for.
reference = partial(_composed, plain_bias_act, plain_upfirdn2d)
by_parts = partial(_composed, fused_bias_act, compiled_upfirdn2d)


def _refusal_by_parts(
    x: Tensor, *, fu: Tensor | None = None, fd: Tensor | None = None, **_: Any
) -> str | None:
    """Why one of the parts declines, or None if all accept."""
    (parts,) = bias_act_op().fast
    (pieces,) = upfirdn2d_op().fast
    return parts.refusal(x) or pieces.refusal(x, fu) or pieces.refusal(x, fd)


KERNELS: Kernels = {"cpu": cpu, "cuda": gpu}

_ARGUMENTS = (
    "Tensor x, Tensor? fu, Tensor? fd, Tensor? b, int up, int down, int[] padding, float gain, "
    "float slope, float? clamp, bool flip_filter"
)
_forward = define(
    f"filtered_lrelu({_ARGUMENTS}) -> Tensor",
    KERNELS,
    lambda kernels, *args: kernels.forward(*args),
    lambda kernels, *args: kernels.empty_result(*args),
)
_backward = define(
    f"filtered_lrelu_backward(Tensor dy, {_ARGUMENTS}) -> Tensor",
    KERNELS,
    lambda kernels, *args: kernels.backward(*args),
    lambda kernels, dy, x, *_: kernels.empty_gradient(x),
)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.options = inputs[4:]


def _gradients(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, fu, fd, b = ctx.saved_tensors
    dx = _backward(dy, x, fu, fd, b, *ctx.options)
    db = dx.sum((0, 2, 3), dtype=torch.float32).to(b.dtype) if ctx.needs_input_grad[3] else None
    return dx, None, None, db, *(None,) * len(ctx.options)


differentiate(_forward, _gradients, _remember)
end_of_gradients(_backward)


def fused(
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
    """By the kernel for the device of x; see `filtered_lrelu`. No gradient for the filters."""
    four = list(_four(padding))
    result: Tensor = _forward(x, fu, fd, b, up, down, four, gain, slope, clamp, flip_filter)
    return result


_OP = Op(
    "filtered_lrelu",
    reference,
    [
        Implementation("numba", fused, cpu.refusal),
        Implementation("triton", fused, gpu.refusal),
        Implementation("triton-parts", by_parts, _refusal_by_parts),
    ],
)


def op() -> Op:
    """The op with every implementation that this installation has."""
    return _OP


def filtered_lrelu(x: Tensor, *, impl: str = "auto", **arguments: Any) -> Tensor:
    """Bias, upsample, leaky ReLU, gain, clamp, downsample.

    x: [N, C, H, W]. fu, fd: up- and downsampling filters, [taps] (separable), [fh, fw] or None.
    b: [C] or None. up, down: whole factors. padding: of the upsampled signal, as in `upfirdn2d`,
    negative crops. gain: default √2. slope: of the negative side, default 0.2. clamp: absolute
    bound after the gain or None. flip_filter: False convolves.
    impl: "auto", "reference" or the name of a kernel.
    Returns [N, C, H', W'].
    """
    result: Tensor = op().choose(x, impl=impl, **arguments)(x, **arguments)
    return result
