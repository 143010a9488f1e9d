"""What is kept so that it need not be got or computed again."""

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
KEEP_VARIABLE = "VIDHAIR_KEEP_MEMORY"


@cache
def keep_freed_memory() -> bool:
    """Let the process keep what it frees, up to its peak, instead of handing it back at once.

    Feature maps of 100 MB and more come and go with every layer. glibc maps each one anew, and the
    kernel clears it page by page at the first touch: measured at 1044 pixels, that made a product
    of two tensors six times and a convolution up to three times as slow. Returns whether it was
    done: not without glibc, and not if the environment variable VIDHAIR_KEEP_MEMORY is 0.
    """
    if not sys.platform.startswith("linux") or os.environ.get(KEEP_VARIABLE) == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


class Remembered(Generic[T]):
    """What follows from a tensor, computed anew only after the tensor has changed.

    With gradients for the tensor it is computed every time. compute: gives tensors.
    """

    def __init__(self, compute: Callable[[Tensor], T]):
        self.compute = compute
        self.tensor: Tensor | None = None
        self.state: tuple[int, int] | None = None
        self.value: T | None = None

    def of(self, tensor: Tensor) -> T:
        if tensor.is_inference() or (tensor.requires_grad and torch.is_grad_enabled()):
            return self.compute(tensor)
        state = tensor._version, tensor.data_ptr()
        if self.value is None or self.tensor is not tensor or self.state != state:
            # Not as inference tensors, which a later pass with gradients could not use.
            with torch.inference_mode(False), torch.no_grad():
                self.value = self.compute(tensor)
            self.tensor, self.state = tensor, state
        return self.value
