"""Turns, medians and spreads, on a clock that only the candidates move."""

from collections.abc import Callable
from typing import Any

import pytest

from vidhair.bench.clock import Timing, alternate


class Stage:
    """A clock, and calls that take the times they are given, one after the other."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def clock(self) -> float:
        return self.now

    def call(self, name: str, *seconds: float) -> Callable[..., Any]:
        times = iter(seconds)

        def call() -> None:
            self.order.append(name)
            self.now += next(times)

        return call


def test_contestants_take_turns_and_the_first_one_does_not_count() -> None:
    stage = Stage()
    calls = [stage.call("A", 9, 1, 3, 2), stage.call("B", 8, 6, 5, 40)]
    a, b = alternate(calls, 3, clock=stage.clock)
    assert "".join(stage.order) == "AB" + "ABABAB"
    assert a.seconds == (1, 3, 2) and b.seconds == (6, 5, 40)
    assert (a.median, b.median) == (2, 6)
    assert (a.spread, b.spread) == pytest.approx((1.0, 35 / 6))


def test_short_calls_are_repeated_within_a_sample() -> None:
    stage = Stage()
    calls = [stage.call("A", *[0.25] * 9), stage.call("B", *[2.0] * 3)]
    a, b = alternate(calls, 2, clock=stage.clock, shortest=1.0)
    assert "".join(stage.order) == "AB" + "AAAAB" * 2
    assert (a.calls, b.calls) == (4, 1)
    assert a.seconds == (0.25, 0.25) and b.seconds == (2.0, 2.0)


def test_a_call_that_takes_no_time_has_no_spread() -> None:
    assert Timing((0.0, 0.0)).spread == 0.0
