"""Random numbers for the kernels, and how near to their definition results have to be."""

import os
from typing import Any

import torch

from tests.tolerances import TOLERANCES, relative_error

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def on(device: str, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to(device)


def assert_near(
    op: str, got: torch.Tensor, want: Any, scale: float | None = None, *, gradient: bool = False
) -> None:
    error, bound = relative_error(got.detach().cpu(), want, scale), TOLERANCES[op, got.dtype]
    if gradient and got.dtype == torch.bfloat16:
        bound *= 2  # the matrix units take gradients in bfloat16, too
    if os.environ.get("TRITON_INTERPRET") == "1" and got.dtype == torch.bfloat16:
        bound *= 2  # the interpreter cuts off what others round
    assert error <= bound, f"{op} in {got.dtype}: off by {error:.1e}, allowed {bound:.0e}"
