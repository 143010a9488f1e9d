"""Where the time of a network goes, and how much arithmetic it does."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from types import ModuleType
from typing import Any, Self

from torch.overrides import TorchFunctionMode

from vidhair import ops
from vidhair.bench import counting
from vidhair.bench.counting import NOTHING, Work

Call = Callable[..., Any]

# Ops, and which of a profiler's two parts they belong to.
WRAPPED = {
    "filtered_lrelu": "filters",
    "upfirdn2d": "filters",
    "modulated_conv": "convolutions",
    "upsampling_conv": "convolutions",
    "downsampling_conv": "convolutions",
}


@dataclass
class Spent:
    """seconds: of the calls together."""

    calls: int = 0
    seconds: float = 0.0


class Profiler(TorchFunctionMode):
    """Under it every convolution and filter is counted and timed.

    These are the ops of vidhair, wherever a module holds them by name, torch's convolutions, and
    as filters those of them whose channels do not mix. What an op calls belongs to it. Gradients
    are not seen.
    synchronise: waits for the device.
    """

    def __init__(
        self,
        synchronise: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ):
        super().__init__()
        self.synchronise, self.clock = synchronise, clock
        self.work = NOTHING
        self.convolutions, self.filters = Spent(), Spent()
        self._inside = False
        self._replaced: list[tuple[ModuleType, str, Any]] = []

    def __enter__(self) -> Self:
        for name, part in WRAPPED.items():
            original = getattr(ops, name)
            wrapper = self._wrapper(original, counting.COUNTED[name], getattr(self, part))
            for home, module in list(sys.modules.items()):
                if home.startswith("vidhair.") and vars(module).get(name) is original:
                    setattr(module, name, wrapper)
                    self._replaced.append((module, name, original))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *failure: Any) -> None:
        while self._replaced:
            setattr(*self._replaced.pop())
        super().__exit__(*failure)  # type: ignore[no-untyped-call]

    def _wrapper(self, original: Call, count: Callable[..., Work], spent: Spent) -> Call:
        @wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return original(*args, **kwargs)
            result = self._timed(spent, original, args, kwargs)
            work = count(*args, **kwargs)
            self.work += Work(work.convolution, work.filter)
            return result

        return wrapper

    def __torch_function__(
        self,
        func: Call,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside or func not in counting.CONVOLUTIONS:
            return func(*args, **kwargs)
        depthwise = kwargs.get("groups", 1) > 1
        spent = self.filters if depthwise else self.convolutions
        result = self._timed(spent, func, args, kwargs)
        macs = counting.CONVOLUTIONS[func](args[0], args[1], result)
        self.work += Work(filter=macs) if depthwise else Work(convolution=macs)
        return result

    def _timed(
        self, spent: Spent, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self._inside = True
        try:
            self.synchronise()
            began = self.clock()
            result = call(*args, **kwargs)
            self.synchronise()
            spent.seconds += self.clock() - began
            spent.calls += 1
            return result
        finally:
            self._inside = False


def counted(call: Callable[[], Any]) -> Work:
    """The arithmetic of a call, by running it."""
    with Profiler() as profiler:
        call()
    result: Work = profiler.work
    return result
