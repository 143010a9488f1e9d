"""The ops as torch knows them: `torch.ops.vidhair.*`, with shapes for tracing and with gradients.

An op has one kernel per type of device. They are plain functions in a module, imported here but
compiled and loaded only by their first call; the same module says how it lays out results, so that
what is traced has the strides of what is computed. Gradients are of first order.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.library import Library, register_autograd, register_fake

from vidhair.errors import DeviceUnavailable

NAMESPACE = "vidhair"
KEYS = {"cpu": "CPU", "cuda": "CUDA"}  # of torch's dispatcher, by type of device

_library = Library(NAMESPACE, "FRAGMENT")

Kernels = dict[str, ModuleType]  # by type of device
Call = Callable[..., Any]


def define(schema: str, kernels: Kernels, compute: Call, allocate: Call) -> Call:
    """Register an op; the first tensor that a call gives decides about the device.

    schema: as `torch.library.define` takes it, without the namespace. compute, allocate: take the
    module of kernels and the arguments; `allocate` returns what `compute` does, but for the values.
    Returns the op, without a gradient.
    """
    name = schema.partition("(")[0]

    def real(first: Tensor, *args: Any) -> Any:
        if not first.is_cuda:
            return compute(kernels[first.device.type], first, *args)
        with torch.cuda.device(first.device):  # of several, Triton launches on the current one
            return compute(kernels[first.device.type], first, *args)

    def fake(first: Tensor, *args: Any) -> Any:
        return allocate(kernels[first.device.type], first, *args)

    _library.define(schema, tags=(torch.Tag.needs_fixed_stride_order, torch.Tag.pt2_compliant_tag))
    for key in KEYS.values():
        _library.impl(name, real, key)
    register_fake(f"{NAMESPACE}::{name}", fake, lib=_library)
    result: Call = getattr(getattr(torch.ops, NAMESPACE), name).default
    return result


def differentiate(op: Call, backward: Call, remember: Call) -> None:
    """Give an op its gradient: `backward(ctx, *upstream)` and `remember(ctx, inputs, output)`."""
    register_autograd(op.name(), backward, setup_context=remember, lib=_library)  # type: ignore[attr-defined]


def end_of_gradients(op: Call) -> None:
    """Refuse the gradient of an op that is one itself."""
    name = op.name()  # type: ignore[attr-defined]

    def refuse(ctx: Any, *upstream: Tensor) -> Sequence[Tensor]:
        raise DeviceUnavailable(
            f"{name} has no gradient, and so the op no second one; VIDHAIR_IMPL=reference has it"
        )

    register_autograd(name, refuse, lib=_library)
