"""Who is compared with whom, by what, and whose work counts."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from vidhair.bench.benchmark import Candidate, Case, Row, difference, hold
from vidhair.bench.clock import Timing
from vidhair.bench.counting import Work

pytestmark = pytest.mark.usefixtures("one_thread")

X, WEIGHT = torch.arange(16.0).view(1, 1, 4, 4), torch.ones(1, 1, 1, 1)


def timer(seconds: dict[str, float]) -> Callable[..., Any]:
    """Hands out the times given instead of measuring."""

    def times(calls: list[Callable[..., Any]], repeats: int, *, device: str) -> list[Timing]:
        assert device == "cpu"
        return [Timing((s,) * repeats) for s, _ in zip(seconds.values(), calls, strict=True)]

    return times


def rows(
    *candidates: Candidate, seconds: tuple[float, float, float] = (2.0, 5.0, 1.0), **options: Any
) -> list[Row]:
    times = {c.by: s for c, s in zip(candidates, seconds, strict=False)}
    case = Case("case", lambda: list(candidates), **options)
    return hold(case, 2, timer=timer(times))


def test_times_and_results_are_held_against_the_first() -> None:
    ours, theirs, third = rows(
        Candidate("ours", lambda: X, Work(filter=7)),
        Candidate("theirs", lambda: X * 1.1, third_party=True),
        Candidate("third", lambda: X, Work(filter=9)),
    )
    assert ours.ratio is None and ours.difference is None
    assert (theirs.ratio, third.ratio) == (2.5, 0.5)
    assert theirs.difference is not None and third.difference is not None
    assert theirs.difference.largest == pytest.approx(0.1, rel=1e-4)
    assert third.difference.largest == 0 and third.difference.psnr_db == math.inf
    assert [row.work.filter for row in (ours, theirs, third)] == [7, 7, 9]
    assert ours.timing.seconds == (2.0, 2.0)


@pytest.mark.parametrize(
    ("result", "note"),
    [
        (X[:, :, :2], "returns (1, 1, 2, 4), not (1, 1, 4, 4)"),
        (X * math.nan, "returns numbers that are not finite"),
    ],
    ids=["shape", "nan"],
)
def test_results_that_cannot_be_compared(result: torch.Tensor, note: str) -> None:
    _, other = rows(Candidate("ours", lambda: X, Work()), Candidate("other", lambda: result))
    assert other.difference is None and other.note == note and other.ratio == 2.5


def test_work_is_counted_by_watching_the_first_call() -> None:
    convolve = partial(F.conv2d, X, WEIGHT)
    ours, twice, foreign = rows(
        Candidate("ours", convolve),
        Candidate("twice", lambda: convolve() + convolve()),
        Candidate("foreign", lambda: convolve() + convolve(), third_party=True),
    )
    assert [r.work for r in (ours, twice, foreign)] == [Work(16), Work(32), Work(16)]


def test_where_the_time_goes_is_found_for_those_that_are_watched() -> None:
    convolve = partial(F.conv2d, X, WEIGHT)
    profiled, other = rows(Candidate("a", convolve, profiled=True), Candidate("b", convolve))
    assert other.shares == {}
    assert profiled.shares["filters"] == 0 and 0 < profiled.shares["convolutions"] <= 1


def test_only_what_is_seen_is_compared() -> None:
    wide = F.pad(X, (1, 1, 1, 1), value=99)
    _, wider, narrow = rows(
        Candidate("ours", lambda: X, Work()),
        Candidate("wide", lambda: wide, Work(), seen=lambda y: y[:, :, 1:-1, 1:-1]),
        Candidate("narrow", lambda: X[:, :, :2], Work(), against=lambda y: y[:, :, :2]),
    )
    assert wider.difference is not None and narrow.difference is not None
    assert wider.difference.largest == narrow.difference.largest == 0


@pytest.mark.parametrize("gradients", [False, True])
def test_gradients_are_kept_only_where_they_are_needed(gradients: bool) -> None:
    modes = []

    def call() -> torch.Tensor:
        modes.append(torch.is_inference_mode_enabled())
        return X

    rows(Candidate("ours", call, Work()), gradients=gradients)
    assert modes == [not gradients]


@pytest.mark.parametrize("gradients", [False, True])
def test_networks_are_made_as_packs_make_them(gradients: bool) -> None:
    """Of weights made in inference mode, kernels prepare what they need at every call."""
    weights = []

    def candidates() -> list[Candidate]:
        weights.append(torch.ones(3))
        return [Candidate("ours", lambda: X, Work())]

    hold(Case("case", candidates, gradients=gradients), 1, timer=timer({"ours": 1.0}))
    assert not weights[0].is_inference()


def test_the_measure_of_difference() -> None:
    want = torch.tensor([0.0, 2.0, -2.0, 1.0])
    got = torch.tensor([0.0, 2.0, -2.0, 1.4])
    found = difference(got, want)
    assert found.largest == pytest.approx(0.2)
    assert found.psnr_db == pytest.approx(10 * math.log10(4**2 / 0.04), rel=1e-4)
    assert difference(torch.ones(2), torch.zeros(2)).largest == math.inf
    assert difference(want, want).psnr_db == math.inf
