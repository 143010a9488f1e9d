"""Choosing an implementation of an op, and saying why the others were not chosen.

An op is defined by its reference in plain PyTorch. Faster implementations register beside it with
a `refusal`: given the call's arguments it returns None (it can do this call) or the reason why not.
Nothing is imported, compiled or loaded before the first call that needs it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from vidhair.errors import DeviceUnavailable
from vidhair.forked import about_to_compute

# VIDHAIR_IMPL=reference switches every fast kernel off, for a bisection by the user.
FORCED_BY_ENVIRONMENT = "VIDHAIR_IMPL"
_NAMES: set[str] = set()  # of all implementations of all ops


@dataclass(frozen=True)
class Implementation:
    """One way to compute an op: `call` takes what the reference takes."""

    name: str
    call: Callable[..., Any]
    refusal: Callable[..., str | None]


@dataclass
class Op:
    """A named op: its reference, and faster implementations in order of preference."""

    name: str
    reference: Callable[..., Any]
    fast: list[Implementation] = field(default_factory=list)

    def __post_init__(self) -> None:
        _NAMES.update(i.name for i in self.fast)

    def choose(self, *args: Any, impl: str = "auto", **kwargs: Any) -> Callable[..., Any]:
        """The callable for these arguments.

        impl: "auto", "reference", or the name of a registered implementation.
        Raises DeviceUnavailable if a named implementation refuses the call, and ForkedTooLate in a
        forked process that cannot compute. A name from the environment means the ops that have
        such an implementation.
        """
        if not torch.compiler.is_compiling():
            about_to_compute()
        if impl == "auto":
            impl = os.environ.get(FORCED_BY_ENVIRONMENT, impl)
            if impl in _NAMES and not any(i.name == impl for i in self.fast):
                impl = "auto"
        if impl == "reference":
            return self.reference
        for candidate in self.fast:
            if impl not in ("auto", candidate.name):
                continue
            reason = candidate.refusal(*args, **kwargs)
            if reason is None:
                return candidate.call
            if impl == candidate.name:
                raise DeviceUnavailable(
                    f"{self.name}: {impl} declines ({reason}); use impl='auto' or 'reference'"
                )
        if impl != "auto":
            known = ", ".join(["auto", "reference", *(i.name for i in self.fast)])
            raise DeviceUnavailable(f"{self.name}: no implementation {impl!r}; choose from {known}")
        return self.reference

    def explain(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """(implementation, "used" or the reason it declines) for a call with these arguments."""
        rows: list[tuple[str, str]] = []
        taken = False
        for candidate in self.fast:
            reason = candidate.refusal(*args, **kwargs)
            if reason is None:
                rows.append((candidate.name, "available" if taken else "used"))
                taken = True
            else:
                rows.append((candidate.name, reason))
        return [*rows, ("reference", "available" if taken else "used")]
