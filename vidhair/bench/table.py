"""What was measured, as plain values and as a table for people."""

import math
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vidhair.bench.benchmark import Row
from vidhair.bench.roofline import Roofline

MB = 1e6
CPU_FACTS = Path("/proc/cpuinfo")


def machine(device: str) -> dict[str, Any]:
    """What the numbers were measured on."""
    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        lines = CPU_FACTS.read_text().splitlines() if CPU_FACTS.exists() else []
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else platform.machine()
    return {
        "device": device,
        "name": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def facts(row: Row, roofline: Roofline | None) -> dict[str, Any]:
    """A row as plain values; None is unknown. gflops, gbs: GFLOP/s, GB/s.

    of_ceiling: the least time that the work can take, by the roofline, as a share of the time
    taken; bound: which of them decides. of_convolution: the same of the convolutions alone, at the
    best rate measured of a convolution.
    """
    work, seconds = row.work, row.timing.median
    known: dict[str, Any] = {
        "case": row.case,
        "by": row.by,
        "seconds": seconds,
        "spread": row.timing.spread,
        "repeats": len(row.timing.seconds),
        "calls_per_repeat": row.timing.calls,
        "convolution_mac": work.convolution,
        "filter_mac": work.filter,
        "bytes": work.bytes,
        "gflops": work.flop / seconds / 1e9 if work.flop else None,
        "gbs": work.bytes / seconds / 1e9 if work.bytes else None,
        "of_ceiling": None,
        "bound": None,
        "of_convolution": None,
        "peak_bytes": row.timing.peak.total if row.timing.peak else None,
        "peak_above_bytes": row.timing.peak.above if row.timing.peak else None,
        "ratio": row.ratio,
        "largest_difference": _finite(row.difference.largest if row.difference else None),
        "psnr_db": _finite(row.difference.psnr_db if row.difference else None),
        "filters_share": row.shares.get("filters"),
        "convolutions_share": row.shares.get("convolutions"),
        "note": row.note,
    }
    if roofline is not None and not roofline.has(row.dtype):
        roofline = None
    if roofline is not None and (work.flop or work.bytes):
        least, known["bound"] = roofline.seconds(work, row.dtype)
        known["of_ceiling"] = least / seconds
    if roofline is not None and work.convolution:
        known["of_convolution"] = roofline.convolution_seconds(work, row.dtype) / seconds
    return known


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


# heading → text of a row's facts; a column without a value is left out
COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "time": lambda f: duration(f["seconds"]),
    "× first": lambda f: _text(f["ratio"], "{:.2f}"),
    "GFLOP/s": lambda f: _text(f["gflops"], "{:.1f}"),
    "GB/s": lambda f: _text(f["gbs"], "{:.1f}"),
    "of roofline": lambda f: _text(f["of_ceiling"], "{:.0%}"),
    "of conv": lambda f: _text(f["of_convolution"], "{:.0%}"),
    "peak MB": lambda f: _text(f["peak_bytes"], "{:.0f}", MB),
    "+ MB": lambda f: _text(f["peak_above_bytes"], "{:.0f}", MB),
    "in filters": lambda f: _text(f["filters_share"], "{:.0%}"),
    "in conv": lambda f: _text(f["convolutions_share"], "{:.0%}"),
    "differs by": lambda f: _text(f["largest_difference"], "{:.1e}"),
    "PSNR dB": lambda f: _text(f["psnr_db"], "{:.1f}"),
}


def _text(value: float | None, form: str, unit: float = 1.0) -> str:
    return "" if value is None else form.format(value / unit)


def duration(seconds: float) -> str:
    """With the unit that suits it."""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 1e-9:.3g} ns"


def noise(rows: Sequence[Row]) -> dict[str, Any]:
    """How far the repeats of a row lie apart, from the fastest to the slowest, over its median."""
    spread = [row for row in rows if len(row.timing.seconds) > 1]
    if not spread:
        return {"typical": None, "worst": None, "worst_row": None}
    worst = max(spread, key=lambda row: row.timing.spread)
    return {
        "typical": statistics.median(row.timing.spread for row in spread),
        "worst": worst.timing.spread,
        "worst_row": f"{worst.case}, {worst.by}",
    }


def text(report: dict[str, Any]) -> str:
    """The report of `run.bench` as lines."""
    rows = report["rows"]
    cells = [[heading, *(column(f) for f in rows)] for heading, column in COLUMNS.items()]
    cells = [column for column in cells if any(column[1:])]
    columns = [["", *(f"  {f['by']}" for f in rows)], *cells]
    widths = [max(map(len, column)) for column in columns]
    lines = [_line([column[0] for column in columns], widths)]
    case = None
    for index, f in enumerate(rows, 1):
        if f["case"] != case:
            case = f["case"]
            lines.append(case)
        line = _line([column[index] for column in columns], widths)
        lines.append(f"{line}  {f['note']}".rstrip())
    return "\n".join([*lines, "", *_footer(report)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = cells
    right = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
    return "  ".join([first.ljust(widths[0]), *right]).rstrip()


def _footer(report: dict[str, Any]) -> list[str]:
    m, c, n = report["machine"], report["roofline"], report["noise"]
    lines = [f"machine   {m['name']}, {m['device']}, {m['threads']} threads, torch {m['torch']}"]
    if c is not None:
        products = ", ".join(f"{d} {r:.0f}" for d, r in c["matrix_product_gflops"].items())
        convolutions = ", ".join(f"{d} {r:.0f}" for d, r in c["convolution_gflops"].items())
        lines += [
            f"roofline  matrix product {products} GFLOP/s, copy {c['copy_gbs']:.1f} GB/s; best "
            f"convolution {convolutions} GFLOP/s",
            "          of roofline: least time by matrix product and copy over the time taken "
            "(work that stays in a cache may exceed the copy)",
            "          of conv: the convolutions' least time by the best convolution over the time "
            "taken",
        ]
    if report["skipped"]:
        skipped = " ".join(report["skipped"])
        lines.append(f"skipped   {skipped}, emulated on this device; --dtype {skipped} measures it")
    if n["typical"] is None:
        lines.append("noise     unknown: every row was measured once (more with --repeats)")
    else:
        repeats = max(f["repeats"] for f in report["rows"])
        lines.append(
            f"noise     {repeats} repeats in turns; from the fastest to the slowest typically "
            f"{n['typical']:.0%} of the median, at worst {n['worst']:.0%} ({n['worst_row']})"
        )
    return lines
