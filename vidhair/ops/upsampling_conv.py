"""The convolution of StyleGAN2 that doubles the size (Karras et al. 2020), with its smoothing."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.kernels.cached import prepared
from vidhair.kernels.strided_conv import cpu
from vidhair.ops.dispatch import Implementation, Op
from vidhair.ops.library import define, end_of_gradients
from vidhair.ops.modulated_conv import modulated_conv
from vidhair.ops.upfirdn2d import upfirdn2d

TAPS = (1, 3, 3, 1)


def reference(x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor) -> Tensor:
    """The definition; see `upsampling_conv`."""
    x = x * style[:, :, None, None].to(x.dtype)
    x = F.conv_transpose2d(x, weight.transpose(0, 1).to(x.dtype), stride=2)
    taps = torch.tensor(TAPS, dtype=torch.float32, device=x.device)
    x = upfirdn2d(x, taps / taps.sum(), padding=1, gain=4)
    return x * demodulation[:, :, None, None].to(x.dtype)


def by_phases(x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor) -> Tensor:
    """By one convolution without a stride for the four pixels that each pixel becomes."""
    if weight.requires_grad and torch.is_grad_enabled():
        phases = up_phases(weight)
    else:
        phases = prepared(weight, "phases", up_phases)
    return woven(modulated_conv(x, phases, style, demodulation.repeat(1, 4), padding=1))


def up_phases(weight: Tensor) -> Tensor:
    """[C_out, C_in, 3, 3] → [4·C_out, C_in, 3, 3].

    Inserting zeros, convolving and smoothing is one filter of 6 × 6 taps, and everywhere 3 × 3 of
    them meet pixels. Along an axis, y[2q + p] = Σ_e x[q + e] Σ_k f[2e + k + 1 − p] w[k].
    """
    taps = [2 * tap / sum(TAPS) for tap in TAPS]
    spread = weight.new_zeros(2, 3, 3)
    for p, e, k in itertools.product(range(2), range(3), range(3)):
        if 0 <= (tap := 2 * (e - 1) + k + 1 - p) < len(taps):
            spread[p, e, k] = taps[tap]
    return torch.einsum("pek,qfl,ockl->pqocef", spread, spread, weight).flatten(0, 2)


def woven(phases: Tensor) -> Tensor:
    """[N, 4·C, H, W], the phases of `up_phases` → [N, C, 2·H, 2·W]."""
    pixels = phases.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))
    result: Tensor = pixels.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
    return result


def _phases_refusal(x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor) -> str | None:
    # Minimal filtering takes back the four times larger arithmetic; there is none elsewhere.
    return None if x.device.type == "cpu" else f"pays on cpu, not on {x.device.type}"


_call = define(
    "upsampling_conv(Tensor x, Tensor weight, Tensor style, Tensor demodulation) -> Tensor",
    {"cpu": cpu},
    lambda kernels, *args: kernels.doubling(*args),
    lambda kernels, *args: kernels.upsampling_result(*args),
)
end_of_gradients(_call)


def fast(x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor) -> Tensor:
    """By the kernel for the device of x; see `upsampling_conv`."""
    result: Tensor = _call(x, weight, style, demodulation)
    return result


_OP = Op(
    "upsampling_conv",
    reference,
    [
        Implementation("numba", fast, cpu.upsampling_refusal),
        Implementation("phases", by_phases, _phases_refusal),
    ],
)


def op() -> Op:
    """The op with every implementation that this installation has."""
    return _OP


def upsampling_conv(
    x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor, *, impl: str = "auto"
) -> Tensor:
    """Convolution that inserts zeros between pixels, and smoothing by [1, 3, 3, 1], per sample.

    x: [N, C_in, H, W]. weight: [C_out, C_in, 3, 3]. style: [N, C_in], scales x. demodulation:
    [N, C_out], scales the result. impl: "auto", "reference" or the name of a kernel.
    Returns [N, C_out, 2·H, 2·W] in the dtype of x.
    """
    arguments = x, weight, style, demodulation
    found: Tensor = op().choose(*arguments, impl=impl)(*arguments)
    return found
