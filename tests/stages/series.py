"""What a stage that runs once is given: a value of every frame, in memory."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from vidhair.wiring import Value

V = TypeVar("V", bound=Value)


@dataclass(frozen=True)
class InMemory(Generic[V]):
    """A `Series` over a value. asked: the ranges that were read, in order."""

    value: V
    asked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(getattr(self.value, self.value.ROWS[0]))

    @property
    def frames_asked(self) -> list[int]:
        """Where frames were read one by one: which."""
        assert all(stop == start + 1 for start, stop in self.asked)
        return [start for start, _ in self.asked]

    def rows(self, start: int, stop: int) -> V:
        self.asked.append((start, stop))
        return self.value.rows(start, stop)

    def whole(self) -> V:
        return self.rows(0, self.count)

    def field(self, name: str) -> np.ndarray:
        return getattr(self.value, name)
