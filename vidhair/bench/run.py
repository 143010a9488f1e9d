"""A whole run: roofline, cases, roofline again, and the report."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vidhair.bench import dye, encode, flow, kernels, long, render, table
from vidhair.bench.benchmark import Row, hold
from vidhair.bench.options import Options, Progress, silent
from vidhair.bench.roofline import Roofline
from vidhair.errors import InvalidSetting
from vidhair.kernels import use_threads

SUITES = {"kernels": kernels, "render": render, "encode": encode, "dye": dye}
WHOLE = {"flow": flow, "long": long}
WHAT = (*SUITES, *WHOLE)
# What not every run can be restricted by.
NOT_FOR: dict[str, tuple[str, ...]] = {
    "kernels": ("seconds",),
    "render": ("ops", "seconds"),
    "encode": ("ops", "seconds"),
    "dye": ("ops", "seconds", "dtypes", "baseline"),
    "flow": ("ops", "sizes", "dtypes", "baseline", "seconds"),
    "long": ("ops", "sizes", "dtypes", "baseline", "configs", "repeats"),
}
SPELLED = {
    "ops": "--op", "sizes": "--size", "dtypes": "--dtype", "baseline": "--vs",
    "seconds": "--seconds", "configs": "--config", "repeats": "--repeats",
}  # fmt: skip


def bench(
    what: str,
    options: Options,
    *,
    threads: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure; returns the report as plain values, which `table.text` prints.

    what: one of WHAT. threads: of torch and of the kernels. Raises InvalidSetting.
    """
    _check(what, options, threads)
    with _threads(threads):
        rows, roofline = _measured(what, options, progress)
        return {
            "what": what,
            "machine": table.machine(options.device),
            "roofline": None if roofline is None else roofline.describe(),
            "skipped": options.emulated(SUITES[what].DTYPES) if what in SUITES else [],
            "rows": [table.facts(row, roofline) for row in rows],
            "noise": table.noise(rows),
        }


def _measured(what: str, options: Options, progress: Progress) -> tuple[list[Row], Roofline | None]:
    if what in WHOLE:
        return WHOLE[what].rows(options, progress), None
    suite = SUITES[what]
    dtypes = options.choose_dtypes(suite.DTYPES)
    cases, rows = suite.cases(options, dtypes), []
    roofline = Roofline()
    # Before and after: a machine that was busy meanwhile must not look like a slow one.
    progress(0, len(cases), "roofline")
    roofline.measure(options.device, dtypes)
    for index, case in enumerate(cases):
        progress(index, len(cases), case.name)
        rows += hold(case, options.turns, options.device)
    if not options.quick:
        progress(len(cases), len(cases), "roofline")
        roofline.measure(options.device, dtypes)
    return rows, roofline


def _check(what: str, options: Options, threads: int | None) -> None:
    if what not in WHAT:
        raise InvalidSetting(f"bench {what!r} must be one of {', '.join(WHAT)}")
    for name in NOT_FOR[what]:
        if getattr(options, name):
            raise InvalidSetting(f"bench {what} has no {SPELLED[name]}; leave it out")
    if any(length <= 0 for length in options.seconds):
        raise InvalidSetting(f"--seconds {min(options.seconds):g} must be more than 0")
    if options.repeats is not None and options.repeats < 1:
        raise InvalidSetting(f"--repeats {options.repeats} must be 1 or more")
    if threads is not None and threads < 1:
        raise InvalidSetting(f"--threads {threads} must be 1 or more")


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        use_threads(count)
    try:
        yield
    finally:
        if count is not None:
            use_threads(before)
