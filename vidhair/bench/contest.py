"""Contestants that do the same work, timed in turns and compared by what they return."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vidhair.bench.clock import Timing, alternate, synchroniser
from vidhair.bench.counting import NOTHING, Work
from vidhair.bench.watch import Watch

WATCHED = 2  # calls to find out where the time goes


def _whole(result: Tensor) -> Tensor:
    return result


@dataclass(frozen=True)
class Contestant:
    """One way to do it.

    work: of a call; None: counted by watching the first one. dtype: that convolutions run in.
    seen, against: the parts of its result and of the first one's that are compared. watched: also
    find out where its time goes.
    foreign: credited with the work of the first contestant, whatever it does.
    """

    by: str
    call: Callable[[], Tensor]
    work: Work | None = None
    dtype: torch.dtype = torch.float32
    seen: Callable[[Tensor], Tensor] = _whole
    against: Callable[[Tensor], Tensor] = _whole
    watched: bool = False
    foreign: bool = False
    note: str = ""


@dataclass(frozen=True)
class Case:
    """What is timed. contestants: makes them when their turn comes; the first is the yardstick.
    gradients: whether they need them."""

    name: str
    contestants: Callable[[], Sequence[Contestant]]
    gradients: bool = False


@dataclass(frozen=True)
class Difference:
    """largest: |a − b| as a share of the yardstick's largest value; psnr_db: with the yardstick's
    range as the peak, infinite if equal."""

    largest: float
    psnr_db: float


@dataclass(frozen=True)
class Row:
    """What is known of one contestant. ratio: its time over the yardstick's.

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
    """Run every contestant once to compare the results, then time them in turns."""
    # Networks are made as packs make them: what kernels prepare of weights that were made in
    # inference mode is not kept.
    with torch.set_grad_enabled(case.gradients):
        contestants = case.contestants()
    with torch.inference_mode(not case.gradients):
        first = _first_calls(contestants)
        timings = timer([c.call for c in contestants], repeats, device=device)
        yardstick = timings[0].median
        return [
            Row(
                case.name,
                c.by,
                timing,
                work,
                c.dtype,
                ratio=timing.median / yardstick if c is not contestants[0] and yardstick else None,
                difference=difference,
                shares=_shares(c, device) if c.watched else {},
                note="; ".join(filter(None, (c.note, remark))),
            )
            for c, timing, (work, difference, remark) in zip(
                contestants, timings, first, strict=True
            )
        ]


def _first_calls(
    contestants: Sequence[Contestant],
) -> list[tuple[Work, Difference | None, str]]:
    """(work, difference from the first one's result, or why there is none) of each."""
    found: list[tuple[Work, Difference | None, str]] = []
    first: Tensor | None = None
    for c in contestants:
        watch = Watch()
        with watch if c.work is None and not c.foreign else nullcontext():
            result = c.call()
        work = found[0][0] if c.foreign else c.work or watch.work
        first = result if first is None else first
        got, want = c.seen(result).float(), c.against(first).float()
        if c is contestants[0]:
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


def _shares(contestant: Contestant, device: str) -> dict[str, float]:
    watch = Watch(synchroniser(device))
    began = watch.clock()
    with watch:
        for _ in range(WATCHED):
            contestant.call()
        watch.synchronise()
    total = watch.clock() - began
    parts = {"filters": watch.filters, "convolutions": watch.convolutions}
    return {name: spent.seconds / total for name, spent in parts.items()}
