"""What a stage that runs once is given: a value of every frame, in memory."""

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vidhair.wiring import Value


def means_of(styles: NDArray[Any], present: NDArray[Any], cuts: NDArray[Any]) -> NDArray[Any]:
    """Of the present frames of every frame's shot, as `smooth_styles` takes them: [T, L, D]."""
    shot, means = np.cumsum(cuts), np.zeros_like(styles)
    for index in np.unique(shot[present]):
        means[shot == index] = styles[(shot == index) & present].mean(0)
    return means


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

    def field(self, name: str) -> NDArray[Any]:
        return getattr(self.value, name)
