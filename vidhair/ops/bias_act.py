"""Bias, activation, gain and clamp in one op (StyleGAN2/3)."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.kernels.bias_act import gpu
from vidhair.ops.dispatch import Implementation, Op
from vidhair.ops.library import Kernels, define, differentiate, end_of_gradients

_SQRT2 = math.sqrt(2)

# name: (function of (x, alpha), default alpha, default gain that keeps the variance of a normal x)
ACTIVATIONS: dict[str, tuple[Callable[[Tensor, float], Tensor], float, float]] = {
    "linear": (lambda x, _: x, 0.0, 1.0),
    "relu": (lambda x, _: F.relu(x), 0.0, _SQRT2),
    "lrelu": (lambda x, alpha: F.leaky_relu(x, alpha), 0.2, _SQRT2),
    "tanh": (lambda x, _: torch.tanh(x), 0.0, 1.0),
    "sigmoid": (lambda x, _: torch.sigmoid(x), 0.0, 1.0),
    "elu": (lambda x, _: F.elu(x), 0.0, 1.0),
    "selu": (lambda x, _: F.selu(x), 0.0, 1.0),
    "softplus": (lambda x, _: F.softplus(x), 0.0, 1.0),
    "swish": (lambda x, _: x * torch.sigmoid(x), 0.0, _SQRT2),
}


def reference(
    x: Tensor,
    b: Tensor | None = None,
    *,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """The definition; see `bias_act`."""
    function, default_alpha, default_gain = ACTIVATIONS[act]
    alpha = default_alpha if alpha is None else alpha
    gain = default_gain if gain is None else gain
    if b is not None:
        assert b.shape == (x.shape[dim],), f"bias {tuple(b.shape)} for x {tuple(x.shape)}, {dim=}"
        x = (x.movedim(dim, -1) + b.to(x.dtype)).movedim(-1, dim)
    x = function(x, alpha)
    if gain != 1:
        x = x * gain
    if clamp is not None:
        x = x.clamp(-clamp, clamp)
    return x


KERNELS: Kernels = {"cuda": gpu}

_ARGUMENTS = "Tensor x, Tensor? b, int dim, str act, float alpha, float gain, float? clamp"
_forward = define(
    f"bias_act({_ARGUMENTS}) -> Tensor",
    KERNELS,
    lambda kernels, *args: kernels.forward(*args),
    lambda kernels, x, *_: kernels.empty_result(x),
)
_backward = define(
    f"bias_act_backward(Tensor dy, {_ARGUMENTS}) -> Tensor",
    KERNELS,
    lambda kernels, *args: kernels.backward(*args),
    lambda kernels, dy, x, *_: kernels.empty_result(x),
)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.options = inputs[2:]


def _gradients(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, b = ctx.saved_tensors
    dx = _backward(dy, x, b, *ctx.options)
    db = None
    if ctx.needs_input_grad[1]:
        others = [axis for axis in range(x.ndim) if axis != ctx.options[0] % x.ndim]
        db = dx.sum(others, dtype=torch.float32).to(b.dtype) if others else dx.to(b.dtype)
    return dx, db, *(None,) * len(ctx.options)


differentiate(_forward, _gradients, _remember)
end_of_gradients(_backward)


def fused(
    x: Tensor,
    b: Tensor | None = None,
    *,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """By the kernel for the device of x; see `bias_act`."""
    assert b is None or b.shape == (x.shape[dim],), f"bias {tuple(b.shape)} for {x.shape}, {dim=}"
    _, default_alpha, default_gain = ACTIVATIONS[act]
    alpha = default_alpha if alpha is None else alpha
    gain = default_gain if gain is None else gain
    result: Tensor = _forward(x, b, dim, act, alpha, gain, clamp)
    return result


_OP = Op("bias_act", reference, [Implementation("triton", fused, gpu.refusal)])


def op() -> Op:
    """The op with every implementation that this installation has."""
    return _OP


def bias_act(x: Tensor, b: Tensor | None = None, *, impl: str = "auto", **arguments: Any) -> Tensor:
    """`clamp(gain * act(x + b))`.

    x: any shape. b: [x.shape[dim]] or None. dim: default 1. act: a name of `ACTIVATIONS`, default
    "linear". alpha: slope parameter of lrelu, default 0.2. gain: default √2 for relu, lrelu and
    swish, else 1. clamp: absolute bound after the gain.
    impl: "auto", "reference" or the name of a kernel.
    """
    result: Tensor = _OP.choose(x, b, impl=impl, **arguments)(x, b, **arguments)
    return result
