"""Where the time of a network goes, and how much arithmetic it does."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from types import ModuleType
from typing import Any

from torch.overrides import TorchFunctionMode

from vidhair import ops
from vidhair.bench import counting
from vidhair.bench.counting import NOTHING, Work

WRAPPED = ("filtered_lrelu", "upfirdn2d")


@dataclass
class Spent:
    """seconds: of the calls together."""

    calls: int = 0
    seconds: float = 0.0


class Watch(TorchFunctionMode):
    """Under it every convolution and filter is counted and timed.

    Filters are the ops of vidhair, wherever a module holds them by name, and convolutions whose
    channels do not mix. What a filter calls itself belongs to it, as the smoothing of a convolution
    that doubles the size does to that. Gradients are not seen.
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

    def __enter__(self):
        for name in WRAPPED:
            original = getattr(ops, name)
            wrapper = self._wrapper(original, counting.OPS[name])
            for home, module in list(sys.modules.items()):
                if home.startswith("vidhair.") and vars(module).get(name) is original:
                    setattr(module, name, wrapper)
                    self._replaced.append((module, name, original))
        return super().__enter__()

    def __exit__(self, *failure):
        while self._replaced:
            setattr(*self._replaced.pop())
        return super().__exit__(*failure)

    def _wrapper(self, original, count):
        @wraps(original)
        def wrapper(*args, **kwargs):
            if self._inside:
                return original(*args, **kwargs)
            result = self._timed(self.filters, original, args, kwargs)
            self.work += Work(filter=count(*args, **kwargs).filter)
            return result

        return wrapper

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self._inside or func not in counting.CONVOLUTIONS:
            return func(*args, **kwargs)
        depthwise = kwargs.get("groups", 1) > 1
        spent = self.filters if depthwise else self.convolutions
        result = self._timed(spent, func, args, kwargs)
        work = counting.CONVOLUTIONS[func](args[0], args[1], result)
        self.work += Work(filter=work.convolution) if depthwise else work
        return result

    def _timed(self, spent: Spent, call, args, kwargs):
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
    with Watch() as watch:
        call()
    return watch.work
