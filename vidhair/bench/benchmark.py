"""Candidates that do the same work, timed in turns and compared by what they return."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vidhair.bench.clock import Timing, alternate, synchroniser
from vidhair.bench.counting import NOTHING, Work
from vidhair.bench.profiler import Profiler

PROFILED = 2  # calls to find out where the time goes


def _whole(result: Tensor) -> Tensor:
    return result


@dataclass(frozen=True)
class Candidate:
    """One way to do it.

    work: of a call; None: counted by watching the first one. dtype: that convolutions run in.
    seen, against: the parts of its result and of the first one's that are compared. profiled: also
    find out where its time goes.
    foreign: credited with the work of the first candidate, whatever it does.
    """

    by: str
    call: Callable[[], Tensor]
    work: Work | None = None
    dtype: torch.dtype = torch.float32
    seen: Callable[[Tensor], Tensor] = _whole
    against: Callable[[Tensor], Tensor] = _whole
    profiled: bool = False
    third_party: bool = False
    note: str = ""


@dataclass(frozen=True)
class Case:
    """What is timed. candidates: makes them when their turn comes; the first is the reference.
    gradients: whether they need them."""

    name: str
    candidates: Callable[[], Sequence[Candidate]]
    gradients: bool = False


@dataclass(frozen=True)
class Difference:
    """largest: |a − b| as a share of the reference's largest value; psnr_db: with the reference's
    range as the peak, infinite if equal."""

    largest: float
    psnr_db: float


@dataclass(frozen=True)
class Row:
    """What is known of one candidate. ratio: its time over the reference's.

    shares: "filters" and "convolutions" as shares of its time.
    """

    case: str
    by: str
    timing: Timing
    work: Work = NOTHING
    dtype: torch.dtype = torch.float32
    ratio: float | None = None
    difference: Difference | None = None
    shares: dict[str, float] = field(default_factory=dict)
    note: str = ""


def hold(
    case: Case,
    repeats: int,
    device: str = "cpu",
    timer: Callable[..., list[Timing]] = alternate,
) -> list[Row]:
    """Run every candidate once to compare the results, then time them in turns."""
    # Networks are made as packs make them: what kernels prepare of weights that were made in
    # inference mode is not kept.
    with torch.set_grad_enabled(case.gradients):
        candidates = case.candidates()
    with torch.inference_mode(not case.gradients):
        first = _first_calls(candidates)
        timings = timer([c.call for c in candidates], repeats, device=device)
        reference = timings[0].median
        return [
            Row(
                case.name,
                c.by,
                timing,
                work,
                c.dtype,
                ratio=timing.median / reference if c is not candidates[0] and reference else None,
                difference=difference,
                shares=_shares(c, device) if c.profiled else {},
                note="; ".join(filter(None, (c.note, remark))),
            )
            for c, timing, (work, difference, remark) in zip(
                candidates, timings, first, strict=True
            )
        ]


def _first_calls(
    candidates: Sequence[Candidate],
) -> list[tuple[Work, Difference | None, str]]:
    """(work, difference from the first one's result, or why there is none) of each."""
    found: list[tuple[Work, Difference | None, str]] = []
    first: Tensor | None = None
    for c in candidates:
        profiler = Profiler()
        with profiler if c.work is None and not c.third_party else nullcontext():
            result = c.call()
        work = found[0][0] if c.third_party else c.work or profiler.work
        first = result if first is None else first
        got, want = c.seen(result).float(), c.against(first).float()
        if c is candidates[0]:
            found.append((work, None, ""))
        elif got.shape != want.shape:
            found.append((work, None, f"returns {tuple(got.shape)}, not {tuple(want.shape)}"))
        elif not got.isfinite().all():
            found.append((work, None, "returns numbers that are not finite"))
        else:
            found.append((work, difference(got.to(want.device), want), ""))
    return found


def difference(got: Tensor, want: Tensor) -> Difference:
    """Of two results of the same shape."""
    error = (got - want).abs()
    scale, span = float(want.abs().max()), float(want.max() - want.min())
    mean_square = float(error.square().mean(dtype=torch.float64))
    largest = float(error.max())
    if largest == 0:
        return Difference(0.0, math.inf)
    psnr = 10 * math.log10(span**2 / mean_square) if span and mean_square else -math.inf
    return Difference(largest / scale if scale else math.inf, psnr)


def _shares(candidate: Candidate, device: str) -> dict[str, float]:
    profiler = Profiler(synchroniser(device))
    began = profiler.clock()
    with profiler:
        for _ in range(PROFILED):
            candidate.call()
        profiler.synchronise()
    total = profiler.clock() - began
    parts = {"filters": profiler.filters, "convolutions": profiler.convolutions}
    return {name: spent.seconds / total for name, spent in parts.items()}
