"""How far a result may lie from its definition, per op and dtype: the one table.

The measure is max |got − want| / scale, where scale is max |want| unless a test knows better.
"""

from typing import Any

import numpy as np
import torch

F16, F32, F64, BF16 = torch.float16, torch.float32, torch.float64, torch.bfloat16

TOLERANCES: dict[tuple[str, torch.dtype], float] = {
    ("bias_act", F64): 1e-12,
    ("bias_act", F32): 1e-6,
    ("bias_act", F16): 1e-3,
    ("bias_act", BF16): 1e-2,
    ("upfirdn2d", F64): 3e-7,  # filters are kept in float32
    ("upfirdn2d", F32): 2e-6,
    ("upfirdn2d", F16): 1e-3,
    ("upfirdn2d", BF16): 1e-2,
    ("conv2d", F32): 2e-6,
    ("conv2d", BF16): 1e-2,
    ("product", F32): 1e-6,
    ("product", BF16): 1e-2,
    ("modulated_conv", F32): 1e-5,  # Winograd's transforms round once more
    ("modulated_conv", F16): 3e-3,
    ("modulated_conv", BF16): 1e-1,  # and in bfloat16 so much in the worst place
    ("downsampling_conv", F32): 1e-5,
    ("downsampling_conv", BF16): 5e-2,
    ("upsampling_conv", F32): 1e-5,
    ("upsampling_conv", BF16): 5e-2,
    ("filtered_lrelu", F64): 3e-7,
    ("filtered_lrelu", F32): 3e-6,
    ("filtered_lrelu", F16): 3e-3,  # the matrix units take it rounded three times
    ("filtered_lrelu", BF16): 5e-3,  # one rounding, of the result
    ("synthesis", F32): 1e-5,
    ("synthesis", BF16): 4e-2,
}


def relative_error(got: torch.Tensor, want: Any, scale: float | None = None) -> float:
    """Largest difference as a share of the scale; infinite if the shapes differ."""
    one, other = (
        np.asarray(a.detach().double() if isinstance(a, torch.Tensor) else a, np.float64)
        for a in (got, want)
    )
    if one.shape != other.shape:
        return float("inf")
    if not other.size:
        return 0.0
    scale = float(np.abs(other).max()) if scale is None else scale
    difference = float(np.abs(one - other).max())
    return difference / scale if scale else difference


def assert_close(op: str, got: torch.Tensor, want: Any, *, scale: float | None = None) -> None:
    """`got` agrees with `want` as well as the table asks of its dtype."""
    error, bound = relative_error(got, want, scale), TOLERANCES[op, got.dtype]
    assert error <= bound, f"{op} in {got.dtype}: off by {error:.1e}, allowed {bound:.0e}"


def gradient(x: torch.Tensor) -> torch.Tensor:
    """That `backward` has left with a tensor."""
    assert x.grad is not None
    return x.grad
