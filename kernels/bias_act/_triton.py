"""The compiled loop of the GPU kernel."""

import triton
import triton.language as tl

SELU_SCALE = tl.constexpr(1.0507009873554805)
SELU_ALPHA = tl.constexpr(1.6732632423543772)


@triton.jit
def _activated(z, alpha, ACT: tl.constexpr):
    if ACT == "relu":
        return tl.maximum(z, 0.0)
    elif ACT == "lrelu":
        return tl.where(z > 0, z, z * alpha)
    elif ACT == "tanh":
        return 2 * tl.sigmoid(2 * z) - 1
    elif ACT == "sigmoid":
        return tl.sigmoid(z)
    elif ACT == "elu":
        return tl.where(z > 0, z, tl.exp(z) - 1)
    elif ACT == "selu":
        return SELU_SCALE * tl.where(z > 0, z, SELU_ALPHA * (tl.exp(z) - 1))
    elif ACT == "softplus":
        return tl.maximum(z, 0.0) + tl.log(1 + tl.exp(-tl.abs(z)))
    elif ACT == "swish":
        return z * tl.sigmoid(z)
    else:
        return z


@triton.jit
def _steepness(z, alpha, ACT: tl.constexpr):
    """The derivative of the activation."""
    if ACT == "relu":
        return tl.where(z > 0, 1.0, 0.0)
    elif ACT == "lrelu":
        return tl.where(z > 0, 1.0, alpha)
    elif ACT == "tanh":
        y = 2 * tl.sigmoid(2 * z) - 1
        return 1 - y * y
    elif ACT == "sigmoid":
        return tl.sigmoid(z) * tl.sigmoid(-z)
    elif ACT == "elu":
        return tl.where(z > 0, 1.0, tl.exp(z))
    elif ACT == "selu":
        return SELU_SCALE * tl.where(z > 0, 1.0, SELU_ALPHA * tl.exp(z))
    elif ACT == "softplus":
        return tl.sigmoid(z)
    elif ACT == "swish":
        return tl.sigmoid(z) * (1 + z * tl.sigmoid(-z))
    else:
        return z * 0 + 1


@triton.jit(do_not_specialize=["stride", "size"])
def bias_act(
    x, b, dy, out, total, stride, size, alpha, gain, limit,
    ACT: tl.constexpr, BIASED: tl.constexpr, GRADIENT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y, or dx of dy. The bias of an element of memory: its place along a dimension of this stride
    and size."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = at < total
    z = tl.load(x + at, mask=real, other=0.0).to(tl.float32)
    if BIASED:
        z += tl.load(b + at // stride % size, mask=real, other=0.0).to(tl.float32)
    y = _activated(z, alpha, ACT) * gain
    if GRADIENT:
        upstream = tl.load(dy + at, mask=real, other=0.0).to(tl.float32)
        dx = upstream * gain * _steepness(z, alpha, ACT)
        tl.store(out + at, tl.where(tl.abs(y) <= limit, dx, 0.0), mask=real)
    else:
        tl.store(out + at, tl.minimum(tl.maximum(y, -limit), limit), mask=real)
