"""What the machine can do at best, measured by torch's own matrix product, convolution and copy."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from vidhair.bench.clock import synchroniser
from vidhair.bench.counting import Work, convolution
from vidhair.bench.options import name_of
from vidhair.precision import native

MATRIX = {"cpu": 2048, "cuda": 8192}  # side
COPIED = {"cpu": 2**28, "cuda": 2**30}  # bytes, beyond every cache
# Channels, side and kernel of convolutions that the generators live on.
CONVOLUTIONS = ((512, 52, 3), (256, 84, 3), (128, 148, 3), (1024, 52, 1))
BATCH = {"cpu": 1, "cuda": 16}
SECONDS = 0.2  # for each, at least
LEAST = 3  # calls, if there is time
MOST = 3.0  # seconds for a ceiling, after which no call begins

Rates = Mapping[torch.dtype, float]


@dataclass
class Roofline:
    """The best rates seen. matrix, convolution: FLOP/s by dtype; copy: bytes/s, read and written.

    A dtype that the device emulates has none. A copy of what fits a cache, and work on it, may well
    be faster than `copy`.
    """

    matrix: dict[torch.dtype, float] = field(default_factory=dict)
    convolution: dict[torch.dtype, float] = field(default_factory=dict)
    copy: float = 0.0

    def has(self, dtype: torch.dtype) -> bool:
        """Whether there are rates of it."""
        return dtype in self.matrix

    def seconds(self, work: Work, dtype: torch.dtype) -> tuple[float, str]:
        """The least that work can take here, and what limits it: "arithmetic" or "memory".

        Filters are held against float32, the dtype that they are computed in.
        """
        arithmetic = 2 * work.convolution / self.matrix[dtype]
        arithmetic += 2 * work.filter / self.matrix[torch.float32]
        memory = work.bytes / self.copy
        return (arithmetic, "arithmetic") if arithmetic >= memory else (memory, "memory")

    def convolution_seconds(self, work: Work, dtype: torch.dtype) -> float:
        """What its convolutions alone take at the best rate of a convolution."""
        return 2 * work.convolution / self.convolution[dtype]

    def measure(
        self,
        device: str,
        dtypes: Iterable[torch.dtype],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Measure (again); the better rates count."""
        kind = torch.device(device).type

        def best(call: Callable[[], object]) -> float:
            return min(_times(call, synchroniser(device), clock))

        with torch.inference_mode():
            self.copy = max(self.copy, 2 * COPIED[kind] / best(_copy(device)))
            for dtype in {torch.float32, *(d for d in dtypes if native(device, d))}:
                took = best(_product(device, dtype))
                self.matrix[dtype] = max(self.matrix.get(dtype, 0), 2 * MATRIX[kind] ** 3 / took)
                began = clock()
                for macs, call in _convolutions(device, dtype):
                    rate = 2 * macs / best(call)
                    self.convolution[dtype] = max(self.convolution.get(dtype, 0), rate)
                    if clock() - began > MOST:
                        break

    def describe(self) -> dict[str, Any]:
        """As plain values: GFLOP/s and GB/s."""

        def rates(of: Rates) -> dict[str, float]:
            return {name_of(dtype): rate / 1e9 for dtype, rate in of.items()}

        return {
            "matrix_product_gflops": rates(self.matrix),
            "convolution_gflops": rates(self.convolution),
            "copy_gbs": self.copy / 1e9,
        }


def _copy(device: str) -> Callable[[], object]:
    source = torch.ones(COPIED[torch.device(device).type] // 4, device=device)
    return partial(torch.zeros_like(source).copy_, source)


def _product(device: str, dtype: torch.dtype) -> Callable[[], object]:
    side = MATRIX[torch.device(device).type]
    factor = torch.ones(side, side, device=device, dtype=dtype)
    return partial(torch.matmul, factor, factor)


def _convolutions(device: str, dtype: torch.dtype) -> Iterator[tuple[int, Callable[[], object]]]:
    """(multiply-accumulates, call), in either memory layout."""
    batch = BATCH[torch.device(device).type]
    for channels, side, kernel in CONVOLUTIONS:
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.ones(batch, channels, side, side, device=device, dtype=dtype)
            weight = torch.ones(channels, channels, kernel, kernel, device=device, dtype=dtype)
            x, weight = x.to(memory_format=layout), weight.to(memory_format=layout)
            yield (
                convolution((batch, channels, side, side), weight),
                partial(F.conv2d, x, weight, padding=kernel // 2),
            )


def _times(
    call: Callable[[], object], synchronise: Callable[[], None], clock: Callable[[], float]
) -> Iterator[float]:
    """Of repeated calls, after a first one."""
    call()
    spent, count = 0.0, 0
    while spent < SECONDS or (count < LEAST and spent < MOST):
        synchronise()
        began = clock()
        call()
        synchronise()
        took = clock() - began
        spent, count = spent + took, count + 1
        yield took
