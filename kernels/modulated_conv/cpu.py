"""Modulated 3×3 convolution on CPU by Winograd's minimal filtering, F(4 × 4, 3 × 3).

A tile of 4 × 4 results costs 36 products per pair of channels instead of 144 (Lavin and Gray 2016,
section 4.3):

    y = Aᵀ [Σ_c (G w Gᵀ) ⊙ (Bᵀ d_c B)] A

The sums over channels are 36 matrix products, which the library does; the transforms are ours,
one plane at a time, with the styles and the demodulation on their way in and out. The points of
interpolation 0, ±2/3, ±4/3 and ∞ lose half as much to rounding as the usual 0, ±1, ±2: about 2e-6
of the result's deviation at 512 channels.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

A, B = 2 / 3, 4 / 3
TILE = 4  # results per side
PRODUCTS = 36
# Below so many channels the transforms cost more than they save.
FEWEST_CHANNELS = 48
STRIP_BYTES = 32 << 20  # of transformed input at a time


def refusal(
    x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor | None, *, padding: int = 0
) -> str | None:
    """Why this kernel cannot do the call, or None if it can."""
    if x.device.type != "cpu":
        return f"runs on cpu, not on {x.device.type}"
    if x.dtype != torch.float32 or weight.dtype != torch.float32:
        return f"no kernel for {x.dtype if x.dtype != torch.float32 else weight.dtype}"
    if weight.shape[2:] != (3, 3) or padding > 2:
        return "made for 3 × 3 taps and a padding of at most 2"
    if weight.shape[1] < FEWEST_CHANNELS:
        return f"does not pay below {FEWEST_CHANNELS} channels"
    parts = (x, weight, style, demodulation)
    if torch.is_grad_enabled() and any(p is not None and p.requires_grad for p in parts):
        return "no gradient"
    return None


def empty_result(x: Tensor, weight: Tensor, style, demodulation, padding: int) -> Tensor:
    """[N, C_out, H', W'], allocated as `forward` returns it."""
    n, _, h, w = x.shape
    height, width = h + 2 * padding - 2, w + 2 * padding - 2
    assert height > 0 and width > 0, f"{tuple(x.shape)} is too small for {padding=}"
    return x.new_empty(n, len(weight), height, width)


def forward(
    x: Tensor, weight: Tensor, style: Tensor, demodulation: Tensor | None, padding: int
) -> Tensor:
    """y, for the calls that `refusal` lets through."""
    y = empty_result(x, weight, style, demodulation, padding)
    n, outputs, height, width = y.shape
    inputs = x.shape[1]
    transformed = _transformed(weight)
    rows, columns = -(-height // TILE), -(-width // TILE)
    strip = STRIP_BYTES // (4 * PRODUCTS * max(inputs, outputs) * columns)
    strip = min(rows, max(1, strip))
    before = torch.empty(PRODUCTS * inputs * strip * columns)
    after = torch.empty(PRODUCTS * outputs * strip * columns)
    scale = torch.ones(n, outputs) if demodulation is None else demodulation
    kernels, points = _kernels(), (np.float32(A), np.float32(B))
    for sample in range(n):
        plane, result = _numpy(x[sample]), _numpy(y[sample])
        for first in range(0, rows, strip):
            tiles = min(strip, rows - first) * columns
            v = before[: PRODUCTS * inputs * tiles].view(PRODUCTS, inputs, tiles)
            m = after[: PRODUCTS * outputs * tiles].view(PRODUCTS, outputs, tiles)
            kernels.transform_input(
                plane, _numpy(style[sample]), padding, first, columns, *points, _numpy(v)
            )
            torch.bmm(transformed, v, out=m)
            kernels.transform_output(
                _numpy(m), _numpy(scale[sample]), first, columns, *points, result
            )
    return y


# Weights that stay as they are, as those of a model in use do, are transformed once.
_known: "WeakTensorKeyDictionary" = WeakTensorKeyDictionary()


def _transformed(weight: Tensor) -> Tensor:
    """G w Gᵀ: [36, C_out, C_in]."""
    version = None if weight.is_inference() else weight._version
    found = _known.get(weight)
    if found is not None and version is not None and found[0] == version:
        return found[1]
    with torch.inference_mode(False), torch.no_grad():
        g = _filter_transform()
        plain = weight.detach()
        result = torch.einsum("xi,ocij,yj->xyoc", g, plain, g).flatten(0, 1).contiguous()
    if version is not None:
        _known[weight] = version, result
    return result


@cache
def _filter_transform() -> Tensor:
    """G [6, 3]: the filter as a polynomial at every point, over what the others leave there."""
    points = [0.0, A, -A, B, -B]
    rows = []
    for point in points:
        others = np.prod([point - other for other in points if other != point])
        rows.append([1 / others, point / others, point**2 / others])
    return torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float32)


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


@cache
def _kernels():
    from vidhair.kernels.modulated_conv import _numba

    torch.get_num_threads()  # torch starts its thread pool before Numba starts its own
    return _numba
