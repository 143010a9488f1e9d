"""What kernels make of weights and filters, kept as long as those stay as they are."""

from collections.abc import Callable, Hashable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

T = TypeVar("T")

_known: "WeakTensorKeyDictionary" = WeakTensorKeyDictionary()


def prepared(tensor: Tensor, what: Hashable, prepare: Callable[[Tensor], T]) -> T:
    """`prepare(tensor)`, remembered by `what` until the tensor changes or goes."""
    if tensor.is_inference():  # changes of these cannot be seen
        return prepare(tensor.detach())
    version, results = _known.get(tensor, (None, {}))
    if version != tensor._version:
        results = {}
        _known[tensor] = tensor._version, results
    if what not in results:
        with torch.inference_mode(False), torch.no_grad():
            results[what] = prepare(tensor.detach())
    return results[what]
