"""Timing calls against each other, fairly."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from vidhair.bench.memory import Peak, PeakMemory

SHORTEST = 0.02  # seconds of a sample; a shorter call is repeated within one


@dataclass(frozen=True)
class Timing:
    """seconds: per call, one number per repeat."""

    seconds: tuple[float, ...]
    calls: int = 1  # per repeat
    peak: Peak | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """From the fastest to the slowest repeat, as a share of the median."""
        return (max(self.seconds) - min(self.seconds)) / self.median if self.median else 0.0


def synchroniser(device: str) -> Callable[[], None]:
    """Waits until the device has done what it was told."""
    return torch.cuda.synchronize if device != "cpu" else lambda: None


def alternate(
    calls: Sequence[Callable[[], object]],
    repeats: int,
    *,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
    shortest: float = SHORTEST,
) -> list[Timing]:
    """Time calls in turns, A B A B …; the caller has run each of them before.

    A turn before them finds out how many calls make a sample of at least `shortest` seconds, and
    how much memory a call needs.
    """
    memory, synchronise = PeakMemory(device), synchroniser(device)

    def sample(call: Callable[[], object], count: int) -> float:
        synchronise()
        began = clock()
        for _ in range(count):
            call()
        synchronise()
        return (clock() - began) / count

    counts, peaks = [], []
    for call in calls:
        memory.start()
        once = sample(call, 1)
        peaks.append(memory.stop())
        counts.append(max(1, math.ceil(shortest / max(once, 1e-9))))
    turns = [[sample(c, n) for c, n in zip(calls, counts, strict=True)] for _ in range(repeats)]
    by_call = zip(*turns, strict=True)
    return [Timing(s, n, p) for s, n, p in zip(by_call, counts, peaks, strict=True)]
