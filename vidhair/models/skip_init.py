"""Modules whose weights are going to be replaced, built without filling them first."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

DRAWN = frozenset({torch.randn, torch.rand})
# The functions of `init` arrive whole, with their tensor as a keyword.
FILLED_IN_PLACE = frozenset(
    {Tensor.normal_, Tensor.uniform_, init.normal_, init.uniform_, init.kaiming_uniform_}
)


class SkipInit(TorchFunctionMode):
    """Under it, random tensors are memory that nobody has written to, which costs nothing.

    What is computed (designed filters, say) is as always. `torch.device("meta")` would do the same
    at the price of loading much of torch's compiler.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in DRAWN:
            return torch.empty(*args, **kwargs)
        if func in FILLED_IN_PLACE:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
