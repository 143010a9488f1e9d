"""What counts as the machine's limit."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from vidhair.bench import roofline
from vidhair.bench.counting import Work
from vidhair.bench.roofline import Roofline

F32, BF16 = torch.float32, torch.bfloat16


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "MATRIX", {"cpu": 8})
    monkeypatch.setattr(roofline, "COPIED", {"cpu": 4000})
    monkeypatch.setattr(roofline, "CONVOLUTIONS", ((4, 6, 3), (8, 5, 1)))
    monkeypatch.setattr(roofline, "native", lambda device, dtype: True)


def ticking(step: float) -> Callable[..., Any]:
    """A clock on which every call takes `step` seconds."""
    ticks = itertools.count()
    return lambda: next(ticks) * step


def test_rates_are_work_over_time_and_the_best_one_counts() -> None:
    found = Roofline()
    found.measure("cpu", [BF16], ticking(2.0))
    assert found.copy == 2 * 4000 / 2, "read and written"
    assert found.matrix == {F32: 2 * 8**3 / 2, BF16: 2 * 8**3 / 2}
    largest = 4 * 4 * 9 * 6 * 6  # against 8 · 8 · 5 · 5
    assert found.convolution == {F32: largest, BF16: largest}
    found.measure("cpu", [], ticking(1.0))
    assert found.matrix == {F32: 2 * 8**3, BF16: 8**3}
    found.measure("cpu", [BF16], ticking(4.0))
    assert found.matrix == {F32: 2 * 8**3, BF16: 8**3} and found.copy == 8000, "never less"
    assert found.describe()["matrix_product_gflops"] == {"float32": 1024e-9, "bfloat16": 512e-9}


def test_the_least_time_of_work() -> None:
    limit = Roofline({F32: 100.0, BF16: 400.0}, {F32: 50.0, BF16: 100.0}, copy=10.0)
    assert limit.seconds(Work(convolution=200), F32) == (4.0, "arithmetic")
    assert limit.seconds(Work(convolution=200), BF16) == (1.0, "arithmetic")
    assert limit.seconds(Work(filter=200), BF16) == (4.0, "arithmetic"), "filters run in float32"
    assert limit.seconds(Work(convolution=200, filter=200), BF16) == (5.0, "arithmetic")
    assert limit.seconds(Work(convolution=200, bytes=60), F32) == (6.0, "memory")
    assert limit.convolution_seconds(Work(convolution=200, filter=900), F32) == 8.0


def test_this_machine_has_limits() -> None:
    found = Roofline()
    found.measure("cpu", [])
    assert found.copy > 0 and found.matrix[F32] > 0 and found.convolution[F32] > 0


def test_what_is_emulated_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "native", lambda device, dtype: dtype == F32)
    found = Roofline()
    found.measure("cpu", [BF16])
    assert found.has(F32) and not found.has(BF16)
    assert found.matrix.keys() == found.convolution.keys() == {F32}


def test_no_ceiling_takes_long_on_a_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the calls of each kind, the first is not counted."""
    calls: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        return lambda *_args: lambda: calls.append(name)

    monkeypatch.setattr(roofline, "_copy", noted("copy"))
    monkeypatch.setattr(roofline, "_product", noted("matrix"))
    convolution = noted("convolution")()
    monkeypatch.setattr(roofline, "_convolutions", lambda *_args: [(1, convolution)] * 8)
    Roofline().measure("cpu", [], ticking(10.0))
    assert calls == ["copy"] * 2 + ["matrix"] * 2 + ["convolution"] * 2
    calls.clear()
    Roofline().measure("cpu", [], ticking(2.0))
    assert calls == ["copy"] * 3 + ["matrix"] * 3 + ["convolution"] * 3
