"""What is kept so that it need not be computed again."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Remembered(Generic[T]):
    """What follows from a tensor, computed anew only after the tensor has changed.

    With gradients for the tensor it is computed every time, and traced calls compute it too.
    compute: gives tensors.
    """

    def __init__(self, compute: Callable[[Tensor], T]):
        self.compute = compute
        self.tensor: Tensor | None = None
        self.state: tuple[int, int] | None = None
        self.value: T | None = None

    def of(self, tensor: Tensor) -> T:
        if torch.compiler.is_compiling() or tensor.is_inference():
            return self.compute(tensor)
        if tensor.requires_grad and torch.is_grad_enabled():
            return self.compute(tensor)
        state = tensor._version, tensor.data_ptr()
        if self.value is None or self.tensor is not tensor or self.state != state:
            # Not as inference tensors, which a later pass with gradients could not use.
            with torch.inference_mode(False), torch.no_grad():
                self.value = self.compute(tensor)
            self.tensor, self.state = tensor, state
        return self.value
